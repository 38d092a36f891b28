package ledger

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
)

// plainTypes knows the types of which package encoding/json reads again whatever it wrote: booleans, numbers, strings, and
// structs, arrays and slices of them, without methods or tags that have a say in it. Results of such types
// need no trial whether they can be replayed.
type plainTypes struct{ known sync.Map } // reflect.Type to bool

func (p *plainTypes) has(t reflect.Type) bool {
	if known, ok := p.known.Load(t); ok {
		return known.(bool)
	}
	plain := isPlain(t, nil)
	p.known.Store(t, plain)
	return plain
}

// isPlain looks at t, which is inside the types around it.
func isPlain(t reflect.Type, around []reflect.Type) bool {
	for _, outer := range around {
		if outer == t { // its values can be nested deeper than can be decoded
			return false
		}
	}
	for _, says := range []reflect.Type{
		reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.Unmarshaler](),
		reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](),
	} {
		if t.Implements(says) || reflect.PointerTo(t).Implements(says) {
			return false
		}
	}
	around = append(around, t)
	switch t.Kind() {
	case reflect.Bool, reflect.Float32, reflect.Float64,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return true
	case reflect.String:
		return t != reflect.TypeFor[json.Number]()
	case reflect.Slice, reflect.Array:
		return isPlain(t.Elem(), around)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			tag := f.Tag.Get("json")
			switch {
			case tag == "-" || !f.IsExported() && !f.Anonymous:
			case f.Anonymous || strings.Contains(tag, ","), !isPlain(f.Type, around):
				return false
			}
		}
		return true
	}
	return false
}
