package recordjson

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/ledger-once/ledger"
)

// Encode returns the stored form of r; see Append.
func Encode(r *ledger.Record) ([]byte, error) {
	return Append(make([]byte, 0, 768+len(r.Args)+len(r.Args)/8+len(r.Result)+len(r.Result)/8+192*len(r.Log)), r)
}

// Append appends the stored form of r without its ID and version and
// without what is filled in on reading. Times are cut to microseconds.
//
// It writes by hand what json.Marshal would write for the stored struct, byte
// for byte (a test compares them), at a fraction of the time: every claim and finish pays for it.
func Append(dst []byte, r *ledger.Record) ([]byte, error) {
	e := encoder{buf: dst}
	e.buf = append(e.buf, '{')
	e.int("v", Schema)
	e.text("key", r.Key)
	e.string("state", string(r.State))
	if r.State != ledger.StateRunning {
		e.intIf("fence", int64(r.Fence))
	}
	e.text("token", r.Token)
	e.text("nonce", r.Nonce)
	if r.InDoubt > ledger.DoubtBlock { // it could not be decoded
		e.err = fmt.Errorf("unknown in-doubt policy %d", uint8(r.InDoubt))
	}
	e.string("in_doubt", r.InDoubt.String())
	e.intIf("attempt", int64(r.Attempt))
	e.intIf("spent", int64(r.Spent))
	e.intIf("starts", r.Starts)
	e.intIf("executed", r.Executed)
	e.intIf("takeovers", int64(r.Takeovers))
	e.owner(&r.Owner)
	e.bytes("args", r.Args)
	e.text("args_digest", r.ArgsDigest)
	e.bytes("result", r.Result)
	e.flag("result_omitted", r.ResultOmitted)
	if f := r.Error; f != nil {
		e.open("error", '{')
		e.string("message", f.Message)
		if f.Class > ledger.ClassPermanent {
			e.err = fmt.Errorf("unknown error class %d", uint8(f.Class))
		}
		e.string("class", f.Class.String())
		e.close('}')
	}
	if s := r.Settled; s != nil {
		e.open("settled", '{')
		e.string("how", s.How)
		e.text("by", s.By)
		e.text("reason", s.Reason)
		e.time("at", s.At)
		e.close('}')
	}
	e.flag("sealed", r.Sealed)
	e.time("created", r.Created)
	e.time("started", r.Started)
	e.time("finished", r.Finished)
	if len(r.Log) > 0 {
		e.open("log", '[')
		for i := range r.Log {
			a := &r.Log[i]
			e.comma()
			e.buf = append(e.buf, '{')
			e.int("fence", int64(a.Fence))
			e.owner(&a.Owner)
			e.time("started", a.Started)
			e.time("ended", a.Ended)
			e.string("outcome", string(a.Outcome))
			e.close('}')
		}
		e.close(']')
	}
	e.time("succeeded", r.Succeeded)
	e.flag("doubted", r.Doubted)
	e.close('}')
	return e.buf, e.err
}

type encoder struct {
	buf []byte
	err error
}

func (e *encoder) comma() {
	if last := e.buf[len(e.buf)-1]; last != '{' && last != '[' {
		e.buf = append(e.buf, ',')
	}
}

// name begins a member; names need no escapes.
func (e *encoder) name(s string) {
	e.comma()
	e.buf = append(e.buf, '"')
	e.buf = append(e.buf, s...)
	e.buf = append(e.buf, '"', ':')
}

func (e *encoder) open(name string, bracket byte) {
	e.name(name)
	e.buf = append(e.buf, bracket)
}

func (e *encoder) close(bracket byte) { e.buf = append(e.buf, bracket) }

func (e *encoder) int(name string, n int64) {
	e.name(name)
	e.buf = strconv.AppendInt(e.buf, n, 10)
}

func (e *encoder) intIf(name string, n int64) {
	if n != 0 {
		e.int(name, n)
	}
}

func (e *encoder) flag(name string, b bool) {
	if b {
		e.name(name)
		e.buf = append(e.buf, "true"...)
	}
}

func (e *encoder) string(name, s string) {
	e.name(name)
	e.buf = appendString(e.buf, s)
}

// text leaves an empty string out.
func (e *encoder) text(name, s string) {
	if s != "" {
		e.string(name, s)
	}
}

// largeBytes is the length from which text is no longer kept readable at any
// price: its escapes, up to six bytes for one, could exceed what a store takes for a record.
const largeBytes = 64 << 10

// bytes writes what type text describes.
func (e *encoder) bytes(name string, b []byte) {
	if b == nil {
		return
	}
	e.name(name)
	if start := len(e.buf); utf8.Valid(b) {
		e.buf = appendString(e.buf, b)
		if len(b) < largeBytes || len(e.buf)-start <= base64.StdEncoding.EncodedLen(len(b)) {
			return
		}
		e.buf = e.buf[:start]
	}
	e.buf = append(e.buf, `{"base64":"`...)
	e.buf = base64.StdEncoding.AppendEncode(e.buf, b)
	e.buf = append(e.buf, `"}`...)
}

func (e *encoder) time(name string, t time.Time) {
	if t.IsZero() {
		return
	}
	e.name(name)
	e.buf = append(e.buf, '"')
	buf, err := clock(t).AppendText(e.buf) // like MarshalJSON: an error for years that RFC 3339 can not write
	if err != nil {
		e.err = err
		return
	}
	e.buf = append(buf, '"')
}

func (e *encoder) owner(o *ledger.Owner) {
	if *o == (ledger.Owner{}) {
		return
	}
	e.open("owner", '{')
	e.text("session", o.Session)
	e.text("host", o.Host)
	e.intIf("pid", int64(o.PID))
	e.text("caller", o.Caller)
	e.close('}')
}

const hex = "0123456789abcdef"

// appendString appends s as encoding/json quotes it, HTML's and JavaScript's
// special characters escaped.
func appendString[S string | []byte](buf []byte, s S) []byte {
	buf = append(buf, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if plain[c] {
				i++
				continue
			}
			buf = append(buf, s[start:i]...)
			switch c {
			case '"', '\\':
				buf = append(buf, '\\', c)
			case '\b':
				buf = append(buf, '\\', 'b')
			case '\f':
				buf = append(buf, '\\', 'f')
			case '\n':
				buf = append(buf, '\\', 'n')
			case '\r':
				buf = append(buf, '\\', 'r')
			case '\t':
				buf = append(buf, '\\', 't')
			default:
				buf = append(buf, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
			}
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(string(s[i:min(len(s), i+utf8.UTFMax)]))
		switch {
		case r == utf8.RuneError && size == 1:
			buf = append(buf, s[start:i]...)
			buf = append(buf, `\ufffd`...)
			start = i + size
		case r == '\u2028' || r == '\u2029':
			buf = append(buf, s[start:i]...)
			buf = append(buf, `\u202`...)
			buf = append(buf, hex[r&15])
			start = i + size
		}
		i += size
	}
	buf = append(buf, s[start:]...)
	return append(buf, '"')
}

// plain holds the ASCII characters that are written as they are.
var plain = func() (t [utf8.RuneSelf]bool) {
	for c := byte(' '); c < utf8.RuneSelf; c++ {
		t[c] = c != '"' && c != '\\' && c != '<' && c != '>' && c != '&'
	}
	return t
}()
