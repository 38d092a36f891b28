package fingerprint

import (
	"reflect"
	"strconv"
)

func (e *encoder) structure(p *plan, v reflect.Value) *Error {
	if p.opaque {
		return refuse("is a " + p.typ.String() + ", which has no exported field: all its values would look the same")
	}
	if fault := e.enter(); fault != nil {
		return fault
	}
	e.out = append(e.out, '{')
	first := len(e.out)
	for i := range p.fields {
		f := &p.fields[i]
		if f.ignore && !e.stored {
			continue
		}
		fv, ok := v, true
		if len(f.index) == 1 {
			fv = v.Field(f.index[0])
		} else if fv, ok = walk(v, f.index); !ok {
			continue
		}
		if f.omitEmpty && isEmpty(fv) || f.omitZero != nil && f.omitZero(fv) {
			continue
		}
		start := len(e.out)
		e.out = append(e.out, f.label...)
		switch {
		case e.stored && f.redact:
			e.out = append(e.out, redacted...)
		case e.stored && f.ignore:
			m := e.mark()
			m.out = start // the name goes, too
			if !e.kept(m, e.value(f.plan, fv)) {
				continue
			}
		default:
			saved := e.exact
			e.exact = saved || f.exact
			if fault := e.value(f.plan, fv); fault != nil {
				return fault.in(f.name)
			}
			e.exact = saved
		}
		e.out = append(e.out, ',')
		if len(e.out) > e.limit+1 {
			return e.tooLarge()
		}
	}
	e.depth--
	e.closeSorted(first)
	return nil
}

// A mark is where an ignored field begins that is encoded for storing.
type mark struct {
	out, members, seen, depth int
	exact                     bool
}

func (e *encoder) mark() mark {
	return mark{len(e.out), len(e.members), len(e.seen), e.depth, e.exact}
}

// kept reports whether what follows m was encoded. If not it leaves no trace of
// it: what does not count must not make a call fail.
func (e *encoder) kept(m mark, fault *Error) bool {
	if fault == nil && len(e.out) <= e.limit {
		return true
	}
	e.out, e.members, e.seen, e.depth, e.exact = e.out[:m.out], e.members[:m.members], e.seen[:m.seen], m.depth, m.exact
	return false
}

func (e *encoder) list(p *plan, v reflect.Value) *Error {
	if p.op == opSlice {
		if v.IsNil() {
			e.out = append(e.out, "null"...)
			return nil
		}
		if p.refs && v.Len() > 0 {
			if fault := e.push(visit{v.Pointer(), v.Len(), p.typ}); fault != nil {
				return fault
			}
			defer e.pop()
		}
	}
	if fault := e.enter(); fault != nil {
		return fault
	}
	e.out = append(e.out, '[')
	for i := range v.Len() {
		if i > 0 {
			e.out = append(e.out, ',')
		}
		if fault := e.value(p.elem, v.Index(i)); fault != nil {
			return fault.at(i)
		}
		if len(e.out) > e.limit {
			return e.tooLarge()
		}
	}
	e.out = append(e.out, ']')
	e.depth--
	return nil
}

func (e *encoder) sliceAny(list []any, pointer uintptr, n *node) *Error {
	if list == nil {
		e.out = append(e.out, "null"...)
		return nil
	}
	if len(list) > 0 {
		if fault := e.push(visit{pointer, len(list), nil}); fault != nil {
			return fault
		}
		defer e.pop()
	}
	if fault := e.enter(); fault != nil {
		return fault
	}
	e.out = append(e.out, '[')
	for i, x := range list {
		if i > 0 {
			e.out = append(e.out, ',')
		}
		if fault := e.dynamic(x, n); fault != nil {
			return fault.at(i)
		}
		if len(e.out) > e.limit {
			return e.tooLarge()
		}
	}
	e.out = append(e.out, ']')
	e.depth--
	return nil
}

func (e *encoder) pointer(p *plan, v reflect.Value) *Error {
	if v.IsNil() {
		e.out = append(e.out, "null"...)
		return nil
	}
	if fault := e.push(visit{v.Pointer(), 0, p.typ}); fault != nil {
		return fault
	}
	fault := e.value(p.elem, v.Elem())
	e.pop()
	return fault
}

// A visit is a pointer, map or slice on the way down.
type visit struct {
	pointer uintptr
	len     int
	typ     reflect.Type
}

// maxVisits bounds chains of pointers, which add no level of JSON.
const maxVisits = 5 * maxDepth

func (e *encoder) push(to visit) *Error {
	for _, s := range e.seen {
		if s == to {
			return refuse("contains itself")
		}
	}
	if len(e.seen) == maxVisits {
		return tooDeep()
	}
	e.seen = append(e.seen, to)
	return nil
}

func (e *encoder) pop() { e.seen = e.seen[:len(e.seen)-1] }

// enter begins an array or object. Leaving is e.depth--, and on an error nothing:
// the whole text is given up.
func (e *encoder) enter() *Error {
	if e.depth == maxDepth {
		return tooDeep()
	}
	e.depth++
	return nil
}

func tooDeep() *Error {
	return refuse("nests deeper than " + strconv.Itoa(maxDepth) + " levels")
}

func (e *encoder) tooLarge() *Error {
	return &Error{
		Reason: "makes the arguments larger than " + strconv.Itoa(e.hasher.maxBytes) + " bytes",
		advice: "raise the limit (MaxArgs of the guard's Options), pass a reference instead of the data, or " + usualAdvice,
	}
}
