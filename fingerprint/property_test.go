package fingerprint

import (
	"encoding/json"
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The law: for any type that encoding/json accepts, the plan of the type and the
// text it marshals to have one canonical form. rapid prints the seed of a failure
// and the flag that repeats it.
func TestPlanPathEqualsTextPath(t *testing.T) {
	h := newHasher(t, Rules{})
	rapid.Check(t, func(t *rapid.T) {
		typ := drawType(t, 4)
		v := reflect.New(typ)
		for range 3 {
			drawValue(t, v.Elem(), 4)
			agree(t, h, v.Interface())        // can be addressed
			agree(t, h, v.Elem().Interface()) // can not
		}
	})
}

var leafTypes = []reflect.Type{
	reflect.TypeFor[bool](), reflect.TypeFor[int](), reflect.TypeFor[int8](), reflect.TypeFor[uint64](), reflect.TypeFor[uintptr](),
	reflect.TypeFor[float32](), reflect.TypeFor[float64](), reflect.TypeFor[string](), reflect.TypeFor[celsius](),
	reflect.TypeFor[[]byte](), reflect.TypeFor[[3]byte](), reflect.TypeFor[time.Time](), reflect.TypeFor[json.Number](),
	reflect.TypeFor[json.RawMessage](), reflect.TypeFor[color](), reflect.TypeFor[pointerJSON](), reflect.TypeFor[pointerText](),
	reflect.TypeFor[zeroish](), reflect.TypeFor[any](), reflect.TypeFor[Shared](), reflect.TypeFor[map[string]any](),
}

var keyTypes = []reflect.Type{reflect.TypeFor[string](), reflect.TypeFor[int16](), reflect.TypeFor[uint](), reflect.TypeFor[color]()}

func drawType(t *rapid.T, depth int) reflect.Type {
	kind := rapid.IntRange(0, 9).Draw(t, "kind")
	if depth == 0 || kind < 4 {
		return rapid.SampledFrom(leafTypes).Draw(t, "leaf")
	}
	switch kind {
	case 4:
		return reflect.PointerTo(drawType(t, depth-1))
	case 5:
		return reflect.SliceOf(drawType(t, depth-1))
	case 6:
		return reflect.ArrayOf(rapid.IntRange(0, 2).Draw(t, "len"), drawType(t, depth-1))
	case 7:
		return reflect.MapOf(rapid.SampledFrom(keyTypes).Draw(t, "key"), drawType(t, depth-1))
	}
	var fields []reflect.StructField
	for i := range rapid.IntRange(0, 5).Draw(t, "fields") {
		if i == 0 && rapid.Bool().Draw(t, "embed") {
			fields = append(fields, reflect.StructField{Name: "Shared", Type: reflect.TypeFor[Shared](), Anonymous: true})
			continue
		}
		name := rapid.SampledFrom([]string{"", "a", "X", "é", "\U0001F600", "\uffee", "b c", "-"}).Draw(t, "name")
		options := rapid.SampledFrom([]string{"", ",omitempty", ",omitzero", ",string", ",omitempty,string", ",omitzero,string,other"}).Draw(t, "options")
		fields = append(fields, reflect.StructField{
			Name: fmt.Sprintf("F%d", i), Type: drawType(t, depth-1), Tag: reflect.StructTag(`json:"` + name + options + `"`),
		})
	}
	return reflect.StructOf(fields)
}

var texts = rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{"", "<&>", "\u2028", "\"\\\n\x00", "a.b"}))

func drawValue(t *rapid.T, v reflect.Value, depth int) {
	v.SetZero()
	if rapid.IntRange(0, 5).Draw(t, "zero") == 0 {
		if v.Type() == numberType { // "" in a map key or a field is zero already
			v.SetString("0")
		}
		return
	}
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = time.Unix(rapid.Int64Range(-1<<35, 1<<35).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds")).UTC()
		return
	case *json.Number:
		*x = json.Number(rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,12})?([eE][+-]?[0-9]{1,2})?`).Draw(t, "number"))
		return
	case *json.RawMessage:
		*x = json.RawMessage(rapid.SampledFrom([]string{`null`, ` {"b":1.0,"a":"\u003c"}`, `[1,-0.0]`}).Draw(t, "raw"))
		return
	case *any:
		*x = rapid.SampledFrom([]any{nil, 1, 0.1, "x", true, []any{1.5}, map[string]any{"b": nil, "a": 1}, &Shared{}, color("c"), json.Number("1e2")}).Draw(t, "any")
		return
	case *pointerJSON:
		x.n = rapid.Int().Draw(t, "n")
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(rapid.Int64().Draw(t, "int"))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		v.SetUint(rapid.Uint64().Draw(t, "uint"))
	case reflect.Float32:
		v.SetFloat(float64(rapid.Float32().Draw(t, "float32")))
	case reflect.Float64:
		v.SetFloat(rapid.Float64().Draw(t, "float64"))
	case reflect.String:
		v.SetString(texts.Draw(t, "string"))
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		drawValue(t, v.Elem(), depth-1)
	case reflect.Slice:
		n := rapid.IntRange(0, 3).Draw(t, "len")
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			drawValue(t, v.Index(i), depth-1)
		}
	case reflect.Array:
		for i := range v.Len() {
			drawValue(t, v.Index(i), depth-1)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range rapid.IntRange(0, 3).Draw(t, "len") {
			key, elem := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			drawValue(t, key, depth-1)
			drawValue(t, elem, depth-1)
			v.SetMapIndex(key, elem)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				drawValue(t, v.Field(i), depth-1)
			}
		}
	}
}
