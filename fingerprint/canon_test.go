package fingerprint

import (
	"encoding"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Types that take encoding/json down its less trodden paths.
type (
	color       string // MarshalText by value
	celsius     float64
	pointerJSON struct { // MarshalJSON by pointer
		n     int
		Shown struct{} `json:"-"` // without an exported field it is refused
	}
	pointerText struct { // MarshalText by pointer
		n     int
		Shown struct{} `json:"-"`
	}
	upper       string
	zeroish     struct{ N int } // its own IsZero
	pointerZero struct{ N int }
	ID          int
	hidden      struct{ A, B int }
	Shared      struct{ X, Y int }
	alsoShared  struct{ X, Z int }
	deepShared  struct{ Shared }
	conflicting struct {
		Shared
		alsoShared
	}
	taggedWins struct {
		Shared
		Other struct{ N int } `json:"X"`
		alsoShared
	}
	tagBreaksTie struct {
		Shared
		named
	}
	left      struct{ Shared }
	right     struct{ Shared }
	bothSides struct {
		left
		right
		N int
	}
	named struct {
		Z int `json:"X"`
	}
	twice struct {
		deepShared
		deeper
	}
	deeper    struct{ deepShared }
	embedsAll struct {
		ID
		hidden
		*Shared
		upper
		fmt.Stringer
	}
	recursive struct {
		Name string                `json:"name"`
		Kids []*recursive          `json:"kids,omitempty"`
		By   map[string]*recursive `json:"by,omitempty"`
	}
	treeList []treeList
	options  struct {
		Skip int `json:"-"`
		//lint:ignore SA5008 what encoding/json makes of it is the point
		Dash int `json:"-,"`
		//lint:ignore SA5008 what encoding/json makes of it is the point
		Bad   int `json:"a\"b"`
		Odd   int `json:"ü.:x"`
		lower int
		E1    string                     `json:"e1,omitempty"`
		E2    []int                      `json:",omitempty"`
		E3    map[string]int             `json:"e3,omitempty"`
		E4    *int                       `json:"e4,omitempty"`
		E5    [0]int                     `json:"e5,omitempty"`
		E6    any                        `json:"e6,omitempty"`
		E7    struct{}                   `json:"e7,omitempty"`
		E8    float64                    `json:"e8,omitempty"`
		E9    bool                       `json:"e9,omitempty"`
		Z1    zeroish                    `json:"z1,omitzero"`
		Z2    *zeroish                   `json:"z2,omitzero"`
		Z3    pointerZero                `json:"z3,omitzero"`
		Z4    interface{ IsZero() bool } `json:"z4,omitzero"`
		Z5    struct{ A int }            `json:"z5,omitzero"`
		Z6    time.Time                  `json:"z6,omitzero"`
		Z7    [2]int                     `json:"z7,omitzero,omitempty"`
	}
	quotedFields struct {
		B  bool        `json:"b,string"`
		I  int         `json:"i,string"`
		U  uint8       `json:"u,string"`
		F  float64     `json:"f,string"`
		F2 float32     `json:"f2,string"`
		S  string      `json:"s,string"`
		N  json.Number `json:"n,string"`
		P  *int        `json:"p,string"`
		Q  *string     `json:"q,string"`
		C  color       `json:"c,string"`
		//lint:ignore SA5008 what encoding/json makes of it is the point
		L []int `json:"l,string"`
		//lint:ignore SA5008 what encoding/json makes of it is the point
		A any            `json:"a,string"`
		T celsius        `json:"t,string"`
		J pointerJSONInt `json:"j,string"`
	}
	pointerJSONInt int
	maps           struct {
		A map[color]int
		B map[upper]int
		C map[int64]string
		D map[uintptr]bool
		E map[string]json.RawMessage
		F map[string]any
		G map[json.Number]float32
		H map[*textKey]int
	}
	marshalers struct {
		A pointerJSON
		B *pointerJSON
		C pointerText
		D *pointerText
		E []pointerJSON
		F [1]pointerText
		G map[string]pointerJSON
		H any
		I json.Marshaler
		J encoding.TextMarshaler
		K []color
		L [2]byte
		M []namedByte
		N []textByte
		O json.RawMessage
		P *json.RawMessage
		Q embeddedTime
	}
	namedByte    byte
	textByte     byte
	embeddedTime struct {
		time.Time
		X int
	}
)

func (c color) MarshalText() ([]byte, error) { return []byte("#" + string(c)), nil }
func (p *pointerJSON) MarshalJSON() ([]byte, error) {
	return fmt.Appendf(nil, ` {"n":%d.0,"a":"\u003c"}`, p.n), nil
}
func (p *pointerText) MarshalText() ([]byte, error)    { return fmt.Appendf(nil, "<%d>", p.n), nil }
func (p *pointerJSONInt) MarshalJSON() ([]byte, error) { return fmt.Appendf(nil, "[%d]", int(*p)), nil }
func (u upper) MarshalText() ([]byte, error)           { return []byte(strings.ToUpper(string(u))), nil }
func (z zeroish) IsZero() bool                         { return z.N == 7 }
func (z *pointerZero) IsZero() bool                    { return z.N == 7 }
func (b textByte) MarshalText() ([]byte, error)        { return []byte{'b', byte(b)}, nil }

// agreeing are values on which Canon must agree with the text that encoding/json makes of them.
func agreeing() map[string]any {
	name := "n<>"
	return map[string]any{
		"options zero": options{}, "options zero pointer": &options{},
		"options": options{
			1, 2, 3, 4, 5, "x", []int{1}, map[string]int{"k": 1}, ptr(0), [0]int{}, 0, struct{}{}, 0.5, true,
			zeroish{1}, &zeroish{1}, pointerZero{1}, zeroish{2}, struct{ A int }{1}, time.Unix(0, 1).UTC(), [2]int{0, 1},
		},
		"options own zero":         &options{Z1: zeroish{7}, Z2: &zeroish{7}, Z3: pointerZero{7}, Z4: &zeroish{7}},
		"options nil in interface": options{Z4: (*zeroish)(nil)},
		"quoted zero":              quotedFields{}, "quoted zero pointer": &quotedFields{},
		"quoted":       quotedFields{true, -5, 200, 1e-7, 0.1, `a"<&>` + "\u2028é", "1.50", ptr(3), &name, "red", []int{1}, 5, 36.6, 8},
		"quoted large": quotedFields{F: 1e21, F2: 1e21, T: 123456789},
		"conflicting":  conflicting{}, "tagged wins": taggedWins{}, "tag breaks tie": tagBreaksTie{Shared{1, 2}, named{3}}, "twice": twice{}, "both sides": bothSides{N: 1},
		"embeds": embedsAll{3, hidden{1, 2}, &Shared{4, 5}, "u", nil}, "embeds nil": embedsAll{},
		"recursive": recursive{"a", []*recursive{{Name: "b"}, nil}, map[string]*recursive{"c": {Name: "d"}}},
		"tree list": treeList{{}, {{}}, nil},
		"maps": maps{
			map[color]int{"red": 1, "blue": 2}, map[upper]int{"x": 1}, map[int64]string{-1: "a", 10: "b", 9: "c"},
			map[uintptr]bool{1: true}, map[string]json.RawMessage{"r": json.RawMessage(`[1.0]`), "n": nil},
			map[string]any{"f": 0.1, "n": nil, "s": []any{nil, 1, "x", true, map[string]any(nil), []any(nil)}},
			map[json.Number]float32{"1": 0.1}, map[*textKey]int{nil: 1, {"k", 1}: 2},
		},
		"maps nil": maps{},
		"marshalers": marshalers{
			B: &pointerJSON{n: 2}, D: &pointerText{n: 3}, E: []pointerJSON{{n: 4}}, F: [1]pointerText{{n: 5}}, G: map[string]pointerJSON{"k": {n: 6}},
			H: &pointerJSON{n: 7}, I: &pointerJSON{n: 8}, J: &pointerText{n: 9}, K: []color{"red"}, M: []namedByte{1}, N: []textByte{'x'},
			O: json.RawMessage(`{"z":1,"a":2e0}`), P: &json.RawMessage{'1'}, Q: embeddedTime{Time: time.Unix(5, 0).UTC()},
		},
		"marshalers zero": marshalers{}, "marshalers pointer": &marshalers{H: pointerText{n: 1}},
		"pointer to interface": ptr(any(&charge{Cents: 5})),
		"numbers":              []any{int8(-1), int16(2), int32(3), int64(math.MinInt64), uint(5), uint16(6), uint32(7), uint64(math.MaxUint64), float32(0.1), float32(16777216), 1e22, -0.5, 1e-10},
		"anonymous": struct {
			A struct{ B []struct{ C *int } }
		}{struct{ B []struct{ C *int } }{[]struct{ C *int }{{ptr(1)}, {}}}},
	}
}

// A struct and the text it marshals to agree, in what is hashed and in what is stored.
func TestAgreesWithEncodingJSON(t *testing.T) {
	h := newHasher(t, Rules{})
	for name, value := range agreeing() {
		t.Run(name, func(t *testing.T) { agree(t, h, value) })
	}
}

func agree(t interface {
	Helper()
	Fatalf(string, ...any)
}, h *Hasher, value any,
) {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatalf("encoding/json: %v", err)
	}
	want, _, err := h.Canon(nil, json.RawMessage(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	got, _, err := h.Canon(nil, value)
	if err != nil || string(got) != string(want) {
		t.Fatalf("canonical\n got %s (%v)\nwant %s\nfrom %s", got, err, want, text)
	}
	wantStored, err1 := h.Stored(nil, json.RawMessage(text))
	gotStored, err2 := h.Stored(nil, value)
	if err1 != nil || err2 != nil || string(gotStored) != string(wantStored) {
		t.Fatalf("stored\n got %s (%v)\nwant %s (%v)", gotStored, err2, wantStored, err1)
	}
}

// Where a time is told in another zone, encoding/json's text differs, and Canon's does not.
func TestTimesInUTC(t *testing.T) {
	h := newHasher(t, Rules{})
	const want = "2026-11-23T09:30:00Z"
	utc := time.Date(2026, 11, 23, 9, 30, 0, 0, time.UTC)
	zoned := utc.In(time.FixedZone("", -7*3600))
	for name, tc := range map[string]struct {
		value any
		want  string
	}{
		"marshaler interface":        {[]json.Marshaler{zoned, &zoned, (*time.Time)(nil)}, `["` + want + `","` + want + `",null]`},
		"text marshaler interface":   {[]encoding.TextMarshaler{&zoned, nil}, `["` + want + `",null]`},
		"map key":                    {map[time.Time]int{zoned: 1}, `{"` + want + `":1}`},
		"array":                      {[1]time.Time{zoned}, `["` + want + `"]`},
		"key":                        {&struct{ At time.Time }{zoned}, `{"At":"` + want + `"}`},
		"embedded, its own spelling": {embeddedTime{Time: zoned}, `"2026-11-23T02:30:00-07:00"`},
	} {
		got, _, err := h.Canon(nil, tc.value)
		if err != nil || string(got) != tc.want {
			t.Errorf("%s: got %s (%v), want %s", name, got, err, tc.want)
		}
	}
	_, _, err := h.Canon(nil, struct{ T ownTime }{ownTime(zoned)})
	wantError(t, err, "args.T", "no exported field")
	for _, year := range []int{-1, 10000} {
		_, _, err := h.Canon(nil, map[string]any{"t": time.Date(year, 1, 2, 0, 0, 0, 0, time.UTC)})
		wantError(t, err, "args.t", "outside the years")
	}
}

type ownTime time.Time

func wantError(t *testing.T, err error, path, reason string) {
	t.Helper()
	var fault *Error
	if !errors.As(err, &fault) {
		t.Errorf("got %v, want an *Error at %s: %s", err, path, reason)
		return
	}
	if fault.Path != path || !strings.Contains(err.Error(), reason) {
		t.Errorf("got %v, want %s: %s", err, path, reason)
	}
}

type (
	failing  struct{ err error }
	panicker struct{ with any }
	badText  struct{}
	noJSON   struct{}
)

var errNoRate = errors.New("no rate for today")

func (f failing) MarshalJSON() ([]byte, error)  { return nil, f.err }
func (p panicker) MarshalText() ([]byte, error) { panic(p.with) }
func (badText) MarshalText() ([]byte, error)    { return []byte("\xff"), nil }
func (noJSON) MarshalJSON() ([]byte, error)     { return nil, nil }
func (p panicker) IsZero() bool                 { panic(p.with) }

func TestErrors(t *testing.T) {
	h := newHasher(t, Rules{MaxBytes: 10_000})
	type item struct {
		Callback func() `json:"callback"`
	}
	deep := any(0)
	for range 101 {
		deep = []any{deep}
	}
	hops := any(0)
	for range 700 {
		hop := hops
		hops = &hop
	}
	self := new(pointerLoop)
	*self = self
	typed := anyList{0}
	typed[0] = typed
	var anyLoop any
	anyLoop = &anyLoop
	long := strings.Repeat("x", 20_000)
	for name, tc := range map[string]struct {
		args         any
		path, reason string
	}{
		"func in a list":      {map[string]any{"items": []item{{}}}, "args.items[0].callback", "is a func(), which has no stable form; leave it out"},
		"channel at the top":  {make(chan int), "args", "chan int"},
		"complex":             {struct{ C complex64 }{}, "args.C", "complex64"},
		"func element":        {[]func(){nil}, "args[0]", "func()"},
		"bad map key type":    {map[bool]int{true: 1}, "args", "map[bool]int"},
		"names are escaped":   {map[string]any{"a.b[0]\\": 1i}, `args.a\.b\[0]\\`, "complex128"},
		"name not printable":  {map[string]any{"a\x00": 1i}, `args."a\x00"`, "complex128"},
		"name empty":          {map[string]any{"": 1i}, `args.""`, "complex128"},
		"name long":           {map[string]any{strings.Repeat("é", 99): 1i}, "args." + strings.Repeat("é", 32) + "…", "complex128"},
		"marshaler fails":     {map[string]any{"rate": failing{errNoRate}}, "args.rate", "MarshalJSON method that failed: no rate for today"},
		"marshaler fails on":  {failing{errors.New(long)}, "args", "x…"},
		"marshaler is silent": {[]any{noJSON{}}, "args[0]", "returned no JSON"},
		"panic with error":    {[]any{panicker{errNoRate}}, "args[0]", "panic: no rate"},
		"panic with string":   {[]any{panicker{"boom"}}, "args[0]", "panic: boom"},
		"panic with value":    {[]any{panicker{42}}, "args[0]", "panic with a int"},
		"panic in a key":      {map[panicker]int{{"boom"}: 1}, "args", "panic: boom"},
		"panic in IsZero": {struct {
			P panicker `json:"p,omitzero"`
		}{panicker{"boom"}}, "args.p", "panic: boom"},
		"text not UTF-8":   {[]any{badText{}}, "args[0]", "MarshalText method whose text is not valid UTF-8"},
		"nil text key":     {map[encoding.TextMarshaler]int{nil: 1}, "args", "nil key"},
		"deep":             {deep, "args" + strings.Repeat("[0]", 100), "deeper than 100 levels"},
		"deep text":        {json.RawMessage(strings.Repeat(`{"a":`, 101) + "1" + strings.Repeat("}", 101)), "args" + strings.Repeat(".a", 100), "deeper"},
		"deep pointers":    {hops, "args", "deeper"},
		"pointer loop":     {self, "args", "contains itself"},
		"list loop":        {typed, "args[0]", "contains itself"},
		"interface loop":   {anyLoop, "args", "contains itself"},
		"quoted NaN":       {quotedFields{F: math.NaN()}, "args.f", "NaN"},
		"quoted UTF-8":     {quotedFields{S: "\xff"}, "args.s", "UTF-8"},
		"quoted number":    {quotedFields{N: "1x"}, "args.n", "not a JSON number"},
		"number":           {[]any{json.Number("1x")}, "args[0]", "not a JSON number"},
		"text at a place":  {rawCall{json.RawMessage(`{"a":[1,{"b":1e-999}]}`)}, "args.r.a[1].b", "float64"},
		"text cut short":   {json.RawMessage(`{"a":[1`), "args.a[1]", "not valid JSON at byte 7"},
		"text goes on":     {json.RawMessage(`1 2`), "args", "more follows"},
		"text blank":       {json.RawMessage(` `), "args", "ends too early"},
		"long string":      {map[string]any{"s": long}, "args.s", "larger than 10000 bytes; raise the limit"},
		"long bytes":       {[]byte(long), "args", "larger"},
		"long list":        {make([]int, 9000), "args", "larger"},
		"long any list":    {make([]any, 9000), "args", "larger"},
		"long text list":   {json.RawMessage("[" + strings.Repeat("1,", 9000) + "1]"), "args", "larger"},
		"long text string": {json.RawMessage(`{"s":"` + strings.Repeat(long, 4) + `"}`), "args.s", "larger"},
		"long text name":   {json.RawMessage(`{"` + strings.Repeat(long, 4) + `":1}`), "args", "larger"},
		"long escapes":     {json.RawMessage(`{"s":"` + strings.Repeat(`\n`, 9000) + `"}`), "args", "larger"},
		"long name":        {map[string]any{long: 1}, "args", "larger"},
		"long name, typed": {map[string]int{long: 1}, "args", "larger"},
		"long MarshalText": {color(long), "args", "larger"},
		"long struct":      {struct{ A, B string }{long[:6000], long[:6000]}, "args.B", "larger"},
		"barely too long":  {long[:9999], "args", "larger"},
	} {
		t.Run(name, func(t *testing.T) {
			canon, _, err := h.Canon([]byte("x"), tc.args)
			if strings.HasPrefix(name, "long") {
				var fault *Error
				if !errors.As(err, &fault) || !strings.Contains(err.Error(), tc.reason) {
					t.Fatalf("got %v", err)
				}
			} else {
				wantError(t, err, tc.path, tc.reason)
			}
			if string(canon) != "x" {
				t.Errorf("canon is %q", canon)
			}
			if stored, err := h.Stored([]byte("x"), tc.args); err == nil || string(stored) != "x" {
				t.Errorf("Stored gave %q, %v", stored, err)
			}
			// The encoder is pooled: an error must leave nothing behind.
			if canon, _, err := h.Canon(nil, map[string]any{"b": 1.00000000001, "a": []any{"x"}}); err != nil || string(canon) != `{"a":["x"],"b":1}` {
				t.Errorf("afterwards: %s, %v", canon, err)
			}
		})
	}
	_, _, err := h.Canon(nil, failing{errNoRate})
	if !errors.Is(err, errNoRate) {
		t.Errorf("%v does not wrap the cause", err)
	}
}

type pointerLoop *pointerLoop

type anyList []any

// What is exactly at a bound is accepted.
func TestBounds(t *testing.T) {
	h := newHasher(t, Rules{MaxBytes: 1000})
	fits := strings.Repeat("x", 998)
	for name, args := range map[string]any{
		"string": fits, "text": json.RawMessage(`"` + fits + `"`), "map": map[string]any{"a": fits[:992]}, "struct": struct{ A string }{fits[:992]},
		"list": []string{fits[:996]}, "bytes": make([]byte, 747), "text with space": json.RawMessage(strings.Repeat(" ", 5000) + "1"),
		"ignored": map[string]any{"i": strings.Repeat(fits, 9)},
	} {
		h := h
		if name == "ignored" {
			h = newHasher(t, Rules{MaxBytes: 1000, Ignore: []string{"i"}})
		}
		if _, _, err := h.Canon(make([]byte, 5000), args); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	depth := any(1)
	for range 100 {
		depth = map[string]any{"a": depth}
	}
	if _, _, err := h.Canon(nil, depth); err != nil {
		t.Error(err)
	}
	// One value in two places is no cycle.
	shared := &charge{}
	if _, _, err := h.Canon(nil, []any{shared, shared, []any{shared}}); err != nil {
		t.Error(err)
	}
}

// Arguments far beyond MaxBytes are refused before they are copied.
func TestStopsEarly(t *testing.T) {
	h := newHasher(t, Rules{MaxBytes: 1000})
	const size = 8 << 20
	long := strings.Repeat("x", size)
	quoted := json.RawMessage(`"` + long + `"`)
	for name, args := range map[string]any{
		"string": long, "bytes": []byte(long), "text": quoted, "name": map[string]any{long: 1}, "typed name": map[string]int{long: 1},
		"text name": json.RawMessage(`{"` + long + `":1}`), "text list": json.RawMessage("[" + strings.Repeat("1,", size/2) + "1]"),
		"list": make([]bool, size), "field": struct{ A string }{long}, "raw": map[string]any{"a": quoted},
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, err := h.Canon(nil, args)
		runtime.ReadMemStats(&after)
		if err == nil {
			t.Errorf("%s: not refused", name)
		}
		if n := after.TotalAlloc - before.TotalAlloc; n > size/8 {
			t.Errorf("%s: %d bytes were allocated", name, n)
		}
	}
}

// Scratch space grown by one large call is not kept for good.
func TestScratchIsGivenBack(t *testing.T) {
	e := &encoder{hasher: newHasher(t, Rules{})}
	m := make(map[string]any)
	for i := range maxScratch + 1 {
		m[strconv.Itoa(i)] = i
	}
	if _, _, err := e.run(nil, m, false); err != nil {
		t.Fatal(err)
	}
	if cap(e.members) > maxScratch || cap(e.scratch) > maxScratch || e.out != nil {
		t.Errorf("kept %d members and %d bytes", cap(e.members), cap(e.scratch))
	}
}

func TestPlansAreBounded(t *testing.T) {
	h := newHasher(t, Rules{})
	for i := range maxPlans + 10 {
		v := reflect.New(reflect.ArrayOf(i, reflect.TypeFor[bool]())).Interface()
		if _, _, err := h.Canon(nil, v); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(*h.plans.plans.Load()); n > maxPlans {
		t.Errorf("%d plans are cached", n)
	}
}

func TestConcurrentUse(t *testing.T) {
	h := newHasher(t, Rules{Ignore: []string{"items.t"}, Redact: []string{"card"}})
	values := agreeing()
	type sums struct{ sum, digest Sum }
	want := make(map[string]sums)
	alone := newHasher(t, Rules{Ignore: []string{"items.t"}})
	for name, value := range values {
		canon, key, err := alone.Canon(nil, value)
		if err != nil {
			t.Fatal(err)
		}
		want[name] = sums{alone.Sum("w", "t", key, canon), alone.Digest(canon)}
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for name, value := range values {
				canon, key, err := h.Canon(nil, value)
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
				sum, digest := h.Sum("w", "t", key, canon), h.Digest(canon)
				if sum != want[name].sum || digest != want[name].digest {
					t.Errorf("%s: sums differ", name)
				}
			}
		})
	}
	wg.Wait()
}
