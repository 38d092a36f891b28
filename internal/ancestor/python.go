package ancestor

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// fingerprint32 returns the id that the ancestor gave a call without a key: the
// first 32 hex digits of the SHA-256 of
//
//	json.dumps({"t": tool, "a": args, "w": workflow}, sort_keys=True, separators=(",", ":"))
//
// in which every float of args was rounded to 8 decimals. args is JSON that
// Python wrote. Python that had a dict with keys other than strings sorted it otherwise: the id is another one then.
func fingerprint32(tool, workflow string, args []byte) (string, error) {
	dec := json.NewDecoder(bytes.NewReader(args))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return "", err
	}
	if _, err := dec.Token(); err != io.EOF {
		return "", errors.New("something follows the JSON value")
	}
	b := append(make([]byte, 0, len(args)+len(tool)+len(workflow)+32), `{"a":`...)
	b, err := dumps(b, v)
	if err != nil {
		return "", err
	}
	b = quote(append(b, `,"t":`...), tool)
	b = append(quote(append(b, `,"w":`...), workflow), '}')
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])[:32], nil
}

// dumps appends v as Python's json.dumps writes it, its floats rounded. The decoder has bounded its depth.
func dumps(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case string:
		return quote(b, v), nil
	case json.Number:
		return number(b, v.String())
	case []any:
		b = append(b, '[')
		for i, item := range v {
			if i > 0 {
				b = append(b, ',')
			}
			var err error
			if b, err = dumps(b, item); err != nil {
				return b, err
			}
		}
		return append(b, ']'), nil
	case map[string]any:
		b = append(b, '{')
		for i, name := range slices.Sorted(maps.Keys(v)) { // UTF-8 sorts as Python's code points do
			if i > 0 {
				b = append(b, ',')
			}
			b = append(quote(b, name), ':')
			var err error
			if b, err = dumps(b, v[name]); err != nil {
				return b, err
			}
		}
		return append(b, '}'), nil
	}
	return b, fmt.Errorf("unknown JSON value %T", v) // unreachable unless program bug
}

// number appends a number as Python would, which has an int wherever there is neither point nor exponent.
func number(b []byte, text string) ([]byte, error) {
	if !strings.ContainsAny(text, ".eE") {
		return append(b, text...), nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return b, fmt.Errorf("number %.40s: %w", text, err)
	}
	// round(f, 8): both round the exact decimal value, half to even.
	f, err = strconv.ParseFloat(strconv.FormatFloat(f, 'f', 8, 64), 64)
	if err != nil {
		return b, fmt.Errorf("number %.40s: %w", text, err)
	}
	// repr(f): the shortest digits that read back, with an exponent from 1e16 and below 1e-4.
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.AppendFloat(b, f, 'e', -1, 64), nil
	}
	from := len(b)
	b = strconv.AppendFloat(b, f, 'f', -1, 64)
	if bytes.IndexByte(b[from:], '.') < 0 {
		b = append(b, ".0"...)
	}
	return b, nil
}

// quote appends s as Python's json.dumps does by default: in ASCII.
func quote(b []byte, s string) []byte {
	b = append(b, '"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', byte(c))
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c == '\f':
			b = append(b, `\f`...)
		case c == '\b':
			b = append(b, `\b`...)
		case c >= ' ' && c < utf8.RuneSelf-1:
			b = append(b, byte(c))
		case c > 0xffff:
			c -= 0x10000
			b = fmt.Appendf(b, `\u%04x\u%04x`, 0xd800|c>>10, 0xdc00|c&0x3ff)
		default:
			b = fmt.Appendf(b, `\u%04x`, c)
		}
	}
	return append(b, '"')
}
