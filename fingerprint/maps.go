package fingerprint

import (
	"encoding"
	"reflect"
	"strconv"
	"time"
)

// mapAny encodes the usual map, without reflection.
func (e *encoder) mapAny(m map[string]any, n *node) *Error {
	if m == nil {
		e.out = append(e.out, "null"...)
		return nil
	}
	if fault := e.push(visit{reflect.ValueOf(m).Pointer(), 0, nil}); fault != nil {
		return fault
	}
	defer e.pop()
	if fault := e.enter(); fault != nil {
		return fault
	}
	e.out = append(e.out, '{')
	base, start := len(e.members), len(e.out)
	for name, x := range m {
		at, fault := e.label(name)
		if fault != nil {
			return fault
		}
		child := n.child(name)
		keep := true
		switch {
		case e.stored && child.redacted():
			e.out = append(e.out, redacted...)
		case e.stored && child.ignored():
			m := e.mark()
			keep = e.kept(m, e.dynamic(x, child))
		case child.ignored():
			keep = false
		default:
			saved := e.exact
			e.exact = saved || child.isExact()
			fault = e.dynamic(x, child)
			e.exact = saved
		}
		if fault == nil {
			fault = e.endMember(at, keep)
		}
		if fault != nil {
			return fault.in(name)
		}
	}
	e.depth--
	return e.close(base, start)
}

// mapping encodes any other map.
func (e *encoder) mapping(p *plan, v reflect.Value) *Error {
	if v.IsNil() {
		e.out = append(e.out, "null"...)
		return nil
	}
	if fault := e.push(visit{v.Pointer(), 0, p.typ}); fault != nil {
		return fault
	}
	defer e.pop()
	if fault := e.enter(); fault != nil {
		return fault
	}
	e.out = append(e.out, '{')
	base, start := len(e.members), len(e.out)
	for iter := v.MapRange(); iter.Next(); {
		name, fault := mapKey(iter.Key())
		if fault != nil {
			return fault
		}
		at, fault := e.label(name)
		if fault != nil {
			return fault
		}
		keep, fault := e.mapMember(p, iter.Value(), p.node.child(name))
		if fault == nil {
			fault = e.endMember(at, keep)
		}
		if fault != nil {
			return fault.in(name)
		}
	}
	e.depth--
	return e.close(base, start)
}

func (e *encoder) mapMember(p *plan, v reflect.Value, n *node) (keep bool, fault *Error) {
	elem := p.elem
	if n != nil {
		elem = e.hasher.plans.get(p.typ.Elem(), n).plan
	}
	switch {
	case e.stored && n.redacted():
		e.out = append(e.out, redacted...)
		return true, nil
	case e.stored && n.ignored():
		m := e.mark()
		return e.kept(m, e.value(elem, v)), nil
	case n.ignored():
		return false, nil
	}
	saved := e.exact
	e.exact = saved || n.isExact()
	fault = e.value(elem, v)
	e.exact = saved
	return true, fault
}

// label begins a member with its name.
func (e *encoder) label(name string) (member, *Error) {
	m := member{start: len(e.out)}
	if len(e.out)+len(name) > e.limit {
		return m, e.tooLarge()
	}
	var valid bool
	if e.out, valid = appendString(e.out, name); !valid {
		return m, &Error{Reason: "has a key that " + badUTF8, advice: "make it valid UTF-8"}
	}
	m.nameEnd = len(e.out)
	e.out = append(e.out, ':')
	return m, nil
}

// endMember ends what label began.
func (e *encoder) endMember(m member, keep bool) *Error {
	e.out = append(e.out, ',')
	m.end, m.drop = len(e.out), !keep
	e.members = append(e.members, m)
	if len(e.out) > e.limit+1 {
		return e.tooLarge()
	}
	return nil
}

// mapKey is what encoding/json makes of a key, with times in UTC.
func mapKey(k reflect.Value) (string, *Error) {
	if k.Kind() == reflect.String {
		return k.String(), nil
	}
	if k.Type().Implements(texterType) {
		switch x := k.Interface().(type) {
		case time.Time:
			text, fault := appendTime(nil, x)
			return string(text), fault
		case encoding.TextMarshaler:
			if k.Kind() == reflect.Pointer && k.IsNil() {
				return "", nil
			}
			text, fault := callTexter(k)
			return string(text), fault
		}
		return "", refuse("has a nil key")
	}
	switch k.Kind() {
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return strconv.FormatUint(k.Uint(), 10), nil
	}
	return strconv.FormatInt(k.Int(), 10), nil
}
