package fingerprint

import (
	"bytes"
	"cmp"
	"slices"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// A member is one `"name":value,` of an object whose keys arrive in any order.
// It is written where it arrives; close puts the members in order.
type member struct {
	start, nameEnd, end int
	drop                bool // ignored; only here to find a duplicate
}

// close sorts the members from base on, which fill e.out from start on, and ends
// the object. It refuses a name that comes twice.
func (e *encoder) close(base, start int) *Error {
	members := e.members[base:]
	defer func() { e.members = e.members[:base] }()
	name := func(m member) []byte { return e.out[m.start+1 : m.nameEnd-1] }

	sorted, dropped := true, false
	for i, m := range members {
		dropped = dropped || m.drop
		sorted = sorted && (i == 0 || compareQuoted(name(members[i-1]), name(m)) < 0)
	}
	if !sorted {
		slices.SortFunc(members, func(a, b member) int { return compareQuoted(name(a), name(b)) })
		for i := 1; i < len(members); i++ {
			if bytes.Equal(name(members[i-1]), name(members[i])) {
				f := &Error{Reason: "appears twice in its object", advice: "name each argument once"}
				return f.in(unquoted(name(members[i])))
			}
		}
	}
	if !sorted || dropped {
		e.scratch = append(e.scratch[:0], e.out[start:]...)
		e.out = e.out[:start]
		for _, m := range members {
			if !m.drop {
				e.out = append(e.out, e.scratch[m.start-start:m.end-start]...)
			}
		}
	}
	e.closeSorted(start)
	return nil
}

// closeSorted ends an object whose members are in order, each with its comma.
func (e *encoder) closeSorted(start int) {
	if len(e.out) == start {
		e.out = append(e.out, '}')
	} else {
		e.out[len(e.out)-1] = '}'
	}
}

// compareQuoted orders the insides of two canonical JSON strings by the UTF-16
// code units of what they say (RFC 8785 section 3.2.3).
func compareQuoted(a, b []byte) int {
	if bytes.IndexByte(a, '\\') >= 0 || bytes.IndexByte(b, '\\') >= 0 {
		return compareNames(unquoted(a), unquoted(b))
	}
	return compareNames(a, b)
}

// compareNames orders two valid UTF-8 texts by UTF-16 code units. That is the
// order of their bytes, except that U+E000 to U+FFFF (which begin with 0xEE or
// 0xEF) come after the surrogate pairs that encode U+10000 and up (0xF0 to 0xF4).
func compareNames[T []byte | string](a, b T) int {
	for i := range min(len(a), len(b)) {
		if x, y := a[i], b[i]; x != y {
			if x >= 0xEE && y >= 0xEE && (x >= 0xF0) != (y >= 0xF0) {
				return cmp.Compare(y, x)
			}
			return cmp.Compare(x, y)
		}
	}
	return cmp.Compare(len(a), len(b))
}

// unquoted returns what the inside of a canonical JSON string says.
func unquoted(inside []byte) string {
	if bytes.IndexByte(inside, '\\') < 0 {
		return string(inside)
	}
	quoted := make([]byte, 0, len(inside)+2)
	quoted = append(append(append(quoted, '"'), inside...), '"')
	text, _ := jsontext.AppendUnquote(nil, quoted) // we wrote it: it is valid
	return string(text)
}

const badUTF8 = "is not valid UTF-8"

// appendString quotes s as RFC 8785 section 3.2.2.2 does. It reports whether s is valid UTF-8.
func appendString[T []byte | string](dst []byte, s T) ([]byte, bool) {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			dst, err := jsontext.AppendQuote(dst, s)
			return dst, err == nil
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"'), true
}
