package fingerprint

import (
	"reflect"
	"strconv"
	"strings"
	"time"
)

// A fieldTag is what the ledger tag of a struct field says.
type fieldTag struct {
	key, ignore, redact, exact bool
}

const tagWords = "write `ledger:\"ignore\"`, \"redact\", \"exact\" or \"key\", joined by commas"

func parseTag(sf reflect.StructField) (tag fieldTag, fault *Error) {
	text := sf.Tag.Get("ledger")
	if text == "" {
		return tag, nil
	}
	for word := range strings.SplitSeq(text, ",") {
		switch word {
		case "key":
			tag.key = true
		case "ignore":
			tag.ignore = true
		case "redact":
			tag.redact = true
		case "exact":
			tag.exact = true
		default:
			return tag, tagFault(sf, "has an unknown word in its ledger tag, "+strconv.Quote(word), tagWords)
		}
	}
	return tag, nil
}

func tagFault(sf reflect.StructField, reason, advice string) *Error {
	f := &Error{Reason: reason, advice: advice}
	return f.in(sf.Name)
}

// A keyField is the field whose value is the call's key.
type keyField struct {
	name  string
	index []int
	text  bool // has a MarshalText method, or its address has
}

// newKeyField accepts strings, integers, and what has a text form, and pointers to these.
func newKeyField(sf reflect.StructField, index []int) (*keyField, *Error) {
	const words = "tag a string, an integer or a type with a MarshalText method"
	if !sf.IsExported() {
		return nil, tagFault(sf, "is the key, but is not exported", "export the field, or pass the key with the call")
	}
	k := &keyField{name: sf.Name, index: index}
	t := sf.Type
	for t.Kind() == reflect.Pointer && !t.Implements(texterType) {
		if t = t.Elem(); t == sf.Type { // type T *T
			break
		}
	}
	if t == timeType || t.Implements(texterType) || reflect.PointerTo(t).Implements(texterType) {
		k.text = true
		return k, nil
	}
	switch t.Kind() {
	case reflect.String,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return k, nil
	}
	return nil, tagFault(sf, "is the key, but is a "+t.String(), words)
}

// keyOf returns the key of the arguments v, or "".
func keyOf(p *plan, v reflect.Value) (string, *Error) {
	for hops := 0; hops < maxDepth; hops++ {
		switch p.op {
		case opPointer:
			if v.IsNil() {
				return "", nil
			}
			p, v = p.elem, v.Elem()
		case opAddressable:
			if v.CanAddr() {
				return "", nil // opaque
			}
			p = p.elem
		case opStruct:
			if p.key == nil {
				return "", nil
			}
			return p.key.of(v)
		default:
			return "", nil
		}
	}
	return "", nil
}

func (k *keyField) of(v reflect.Value) (string, *Error) {
	v, ok := walk(v, k.index)
	if !ok || v.IsZero() {
		return "", nil
	}
	key, fault := k.value(v)
	if fault == nil && !validUTF8(key) {
		fault = &Error{Reason: badUTF8, advice: "make the key valid UTF-8"}
	}
	if fault != nil {
		return "", fault.in(k.name)
	}
	return key, nil
}

func (k *keyField) value(v reflect.Value) (string, *Error) {
	for v.Kind() == reflect.Pointer && !(k.text && v.Type().Implements(texterType)) {
		if v.IsNil() {
			return "", nil
		}
		v = v.Elem()
	}
	if k.text {
		return keyText(v)
	}
	switch v.Kind() {
	case reflect.String:
		return v.String(), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return strconv.FormatUint(v.Uint(), 10), nil
	}
	return strconv.FormatInt(v.Int(), 10), nil
}

func keyText(v reflect.Value) (string, *Error) {
	switch x := v.Interface().(type) {
	case time.Time:
		text, fault := appendTime(nil, x)
		return string(text), fault
	case *time.Time:
		text, fault := appendTime(nil, *x)
		return string(text), fault
	}
	if !v.Type().Implements(texterType) { // its address does
		if !v.CanAddr() {
			boxed := reflect.New(v.Type())
			boxed.Elem().Set(v)
			v = boxed.Elem()
		}
		v = v.Addr()
	}
	text, fault := callTexter(v)
	return string(text), fault
}

// An auditor finds a mistake in the tags of every struct that a plan leads to, so
// that it shows with the first call, and not with the first list that is not empty.
type auditor map[auditKey]bool

type auditKey struct {
	plan *plan
	top  bool
}

func (a auditor) audit(p *plan, top bool) *Error {
	if p == nil || a[auditKey{p, top}] {
		return nil
	}
	a[auditKey{p, top}] = true
	if p.fault != nil {
		return p.fault.copy()
	}
	if p.key != nil && !top {
		f := &Error{
			Reason: "has the tag `ledger:\"key\"`, but only a field at the top of the arguments can be the key",
			advice: "move the tag, or pass the key with the call",
		}
		return f.in(p.key.name)
	}
	switch p.op {
	case opPointer, opAddressable, opQuoted:
		return a.audit(p.elem, top)
	case opSlice, opArray, opMap:
		if f := a.audit(p.elem, false); f != nil {
			f.Path = "[]" + f.Path
			return f
		}
	case opStruct:
		for i := range p.fields {
			if p.fields[i].ignore {
				continue
			}
			if f := a.audit(p.fields[i].plan, false); f != nil {
				return f.in(p.fields[i].name)
			}
		}
	}
	return nil
}
