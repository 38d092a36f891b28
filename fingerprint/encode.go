package fingerprint

import (
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strconv"
	"time"
	"unicode/utf8"
)

const redacted = `"[redacted]"`

// An encoder writes one canonical text. It is pooled with its scratch space.
type encoder struct {
	hasher *Hasher
	out    []byte
	limit  int  // of len(out)
	stored bool // write what a record keeps, rather than what is hashed
	exact  bool // do not round
	depth  int  // of arrays and objects

	members  []member // of the objects being written, outermost first
	seen     []visit  // the way down, to find cycles
	scratch  []byte
	digits   []byte
	shortest [32]byte // decimal of a Go float
}

// maxScratch is how much of each buffer a pooled encoder keeps, in elements.
const maxScratch = 64 << 10

func (e *encoder) reset() {
	e.out, e.depth, e.members, e.seen = nil, 0, e.members[:0], e.seen[:0]
	if cap(e.members) > maxScratch {
		e.members = nil
	}
	if cap(e.scratch) > maxScratch {
		e.scratch = nil
	}
}

// dynamic encodes a value whose type is known only now. The types that decoded
// JSON is made of need no plan.
func (e *encoder) dynamic(value any, n *node) *Error {
	switch x := value.(type) {
	case nil:
		e.out = append(e.out, "null"...)
		return nil
	case string:
		return e.string(x)
	case bool:
		e.out = strconv.AppendBool(e.out, x)
		return nil
	case int:
		e.out = strconv.AppendInt(e.out, int64(x), 10)
		return nil
	case float64:
		return e.float(x, 64)
	case json.Number:
		return e.jsonNumber(string(x))
	case json.RawMessage:
		return e.text(x, n)
	case time.Time:
		return e.time(x)
	case map[string]any:
		return e.mapAny(x, n)
	case []any:
		return e.sliceAny(x, reflect.ValueOf(value).Pointer(), n) // of x would allocate
	}
	t := reflect.TypeOf(value)
	entry := e.hasher.plans.get(t, n)
	if entry.nestedFault != nil {
		return entry.nestedFault.copy()
	}
	return e.value(entry.plan, reflect.ValueOf(value))
}

// value encodes v, whose type p is for.
func (e *encoder) value(p *plan, v reflect.Value) *Error {
	switch p.op {
	case opString:
		return e.string(v.String())
	case opInt:
		e.out = strconv.AppendInt(e.out, v.Int(), 10)
		return nil
	case opUint:
		e.out = strconv.AppendUint(e.out, v.Uint(), 10)
		return nil
	case opBool:
		e.out = strconv.AppendBool(e.out, v.Bool())
		return nil
	case opFloat64:
		return e.float(v.Float(), 64)
	case opFloat32:
		return e.float(v.Float(), 32)
	case opTime:
		return e.time(timeOf(v))
	case opStruct:
		return e.structure(p, v)
	case opNumber:
		return e.jsonNumber(v.String())
	case opRaw:
		return e.text(v.Bytes(), p.node)
	case opBytes:
		return e.base64(v)
	case opSlice, opArray:
		return e.list(p, v)
	case opMap:
		return e.mapping(p, v)
	case opMapAny:
		return e.mapAny(v.Interface().(map[string]any), p.node)
	case opPointer:
		return e.pointer(p, v)
	case opInterface:
		return e.dynamic(v.Interface(), p.node)
	case opAddressable:
		if v.CanAddr() {
			return e.value(p.addr, v)
		}
		return e.value(p.elem, v)
	case opQuoted:
		return e.quoted(p.elem, v)
	case opMarshaler, opAddrMarshaler:
		return e.marshaler(p, v)
	case opTexter, opAddrTexter:
		return e.texter(p, v)
	}
	return refuse("is a " + p.typ.String() + ", which has no stable form")
}

func (e *encoder) string(s string) *Error {
	if len(e.out)+len(s) > e.limit {
		return e.tooLarge()
	}
	var valid bool
	if e.out, valid = appendString(e.out, s); !valid {
		return &Error{Reason: badUTF8, advice: "make it valid UTF-8, or pass bytes as []byte"}
	}
	return nil
}

func (e *encoder) jsonNumber(s string) *Error {
	if s == "" {
		s = "0" // as encoding/json has it
	}
	e.scratch = append(e.scratch[:0], s...)
	return e.number(e.scratch)
}

func (e *encoder) base64(v reflect.Value) *Error {
	if v.IsNil() {
		e.out = append(e.out, "null"...)
		return nil
	}
	data := v.Bytes()
	if len(e.out)+base64.StdEncoding.EncodedLen(len(data)) > e.limit {
		return e.tooLarge()
	}
	e.out = append(e.out, '"')
	e.out = base64.StdEncoding.AppendEncode(e.out, data)
	e.out = append(e.out, '"')
	return nil
}

// timeOf reads a time without a copy on the heap.
func timeOf(v reflect.Value) time.Time {
	if v.CanAddr() {
		return *v.Addr().Interface().(*time.Time)
	}
	return v.Interface().(time.Time)
}

func (e *encoder) time(t time.Time) (fault *Error) {
	e.out = append(e.out, '"')
	if e.out, fault = appendTime(e.out, t); fault != nil {
		return fault
	}
	e.out = append(e.out, '"')
	return nil
}

// appendTime writes the instant, whatever zone it is told in.
func appendTime(dst []byte, t time.Time) ([]byte, *Error) {
	start := len(dst)
	dst = t.UTC().AppendFormat(dst, time.RFC3339Nano)
	// A year outside 0 to 9999 has a sign, or a fifth digit.
	if year := dst[start:]; year[0] == '-' || year[4] != '-' {
		return dst, refuse("is a time outside the years 0 to 9999 of RFC 3339")
	}
	return dst, nil
}

func validUTF8(s string) bool { return utf8.ValidString(s) }
