package fingerprint

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"time"
)

// marshaler encodes what the value's own MarshalJSON returns.
func (e *encoder) marshaler(p *plan, v reflect.Value) *Error {
	switch {
	case p.op == opAddrMarshaler:
		v = v.Addr()
	case v.Kind() == reflect.Pointer && v.IsNil(), v.Kind() == reflect.Interface && v.IsNil():
		e.out = append(e.out, "null"...)
		return nil
	}
	if v.Kind() == reflect.Interface {
		if fault, ok := e.timeInside(v.Interface()); ok {
			return fault
		}
	}
	text, err := callMarshaler(v.Interface().(json.Marshaler))
	if err != nil {
		return marshalerFailed("MarshalJSON", err)
	}
	if len(text) == 0 {
		return marshalerFailed("MarshalJSON", fmt.Errorf("it returned no JSON"))
	}
	return e.text(text, p.node)
}

// texter encodes what the value's own MarshalText returns, as a string.
func (e *encoder) texter(p *plan, v reflect.Value) *Error {
	switch {
	case p.op == opAddrTexter:
		v = v.Addr()
	case v.Kind() == reflect.Pointer && v.IsNil(), v.Kind() == reflect.Interface && v.IsNil():
		e.out = append(e.out, "null"...)
		return nil
	}
	if v.Kind() == reflect.Interface {
		if fault, ok := e.timeInside(v.Interface()); ok {
			return fault
		}
	}
	text, fault := callTexter(v)
	if fault != nil {
		return fault
	}
	if len(e.out)+len(text) > e.limit {
		return e.tooLarge()
	}
	var valid bool
	if e.out, valid = appendString(e.out, text); !valid {
		return &Error{Reason: "has a MarshalText method whose text " + badUTF8, advice: usualAdvice}
	}
	return nil
}

// timeInside encodes a time that is held by an interface with methods.
func (e *encoder) timeInside(x any) (fault *Error, ok bool) {
	switch t := x.(type) {
	case time.Time:
		return e.time(t), true
	case *time.Time:
		if t == nil {
			e.out = append(e.out, "null"...)
			return nil, true
		}
		return e.time(*t), true
	}
	return nil, false
}

func callMarshaler(m json.Marshaler) (text []byte, err error) {
	defer recovered(&err)
	return m.MarshalJSON()
}

func callTexter(v reflect.Value) (text []byte, fault *Error) {
	text, err := func() (text []byte, err error) {
		defer recovered(&err)
		return v.Interface().(encoding.TextMarshaler).MarshalText()
	}()
	if err != nil {
		return nil, marshalerFailed("MarshalText", err)
	}
	return text, nil
}

// recovered turns a panic in a method of the arguments into an error. A tool's
// caller must not lose its worker over a value that can not be spelt.
func recovered(err *error) {
	switch r := recover().(type) {
	case nil:
	case error:
		*err = fmt.Errorf("panic: %w", r)
	case string:
		*err = fmt.Errorf("panic: %s", r)
	default:
		*err = fmt.Errorf("panic with a %T", r)
	}
}

// quoted encodes a field with the ",string" option: its JSON text, as a string.
// Strings are never reinterpreted, so nothing is rounded in it.
func (e *encoder) quoted(p *plan, v reflect.Value) *Error {
	switch p.op {
	case opBool:
		return e.string(strconv.FormatBool(v.Bool()))
	case opInt:
		return e.string(strconv.FormatInt(v.Int(), 10))
	case opUint:
		return e.string(strconv.FormatUint(v.Uint(), 10))
	case opNumber:
		s := v.String()
		if s == "" {
			s = "0"
		}
		if _, reason := parseDecimal([]byte(s), nil); reason != "" {
			return refuse(reason)
		}
		return e.string(s)
	case opFloat32, opFloat64:
		if f := v.Float(); math.IsNaN(f) || math.IsInf(f, 0) {
			return refuse(notFinite)
		}
	case opString:
		if !validUTF8(v.String()) {
			return e.string(v.String()) // refuses it
		}
	default:
		return e.value(p, v)
	}
	// encoding/json has spellings of its own for floats, and escapes HTML in strings.
	text, err := json.Marshal(v.Interface())
	if err != nil {
		return refuse("can not be marshalled")
	}
	return e.string(string(text))
}
