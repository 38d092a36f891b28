package fingerprint

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"
)

type (
	line struct {
		SKU    string      `json:"sku"`
		Price  float64     `json:"price" ledger:"exact"`
		SentAt any         `json:"sent_at,omitempty" ledger:"ignore"`
		Card   any         `json:"card,omitempty" ledger:"redact"`
		Rate   float64     `json:"rate"`
		Sub    *line       `json:"sub,omitempty"`
		Done   chan int    `json:"done,omitzero" ledger:"ignore"`
		Meta   map[int]any `json:"meta,omitempty" ledger:"ignore,redact,exact"`
	}
	order struct {
		ID    string          `json:"id" ledger:"key"`
		Lines []line          `json:"lines"`
		By    map[string]line `json:"by,omitempty"`
		Any   any             `json:"any,omitempty"`
	}
	audit struct {
		At  time.Time `json:"at"`
		Who string    `json:"who" ledger:"exact"`
	}
	audited struct {
		audit `ledger:"ignore"`
		A     int `json:"a"`
	}
)

const drift = 0.30000000000000004

// Tags and rules say the same, in structs, slices, maps and interfaces; and
// what is stored keeps everything but secrets.
func TestTagsAndRules(t *testing.T) {
	l := line{SKU: "a", Price: drift, SentAt: "now", Card: 4242, Rate: drift, Done: make(chan int), Meta: map[int]any{1: func() {}}}
	sub := l
	sub.Sub = &line{SKU: "b", SentAt: func() {}}
	args := order{"o-1", []line{sub}, map[string]line{"k": l}, []any{&l}}

	const (
		hashed  = `{"card":4242,"price":0.30000000000000004,"rate":0.3,"sku":"a"}`
		hashed2 = `{"card":4242,"price":0.30000000000000004,"rate":0.3,"sku":"a","sub":{"price":0,"rate":0,"sku":"b"}}`
		kept    = `{"card":"[redacted]","meta":"[redacted]","price":0.30000000000000004,"rate":0.30000000000000004,"sent_at":"now","sku":"a"}`
		kept2   = `{"card":"[redacted]","meta":"[redacted]","price":0.30000000000000004,"rate":0.30000000000000004,"sent_at":"now","sku":"a","sub":{"price":0,"rate":0,"sku":"b"}}`
	)
	whole := func(l, l2 string) string {
		return `{"any":[` + l + `],"by":{"k":` + l + `},"id":"o-1","lines":[` + l2 + `]}`
	}
	h := newHasher(t, Rules{})
	canon, key, err := h.Canon(nil, &args)
	if err != nil || key != "o-1" || string(canon) != whole(hashed, hashed2) {
		t.Errorf("key %q, err %v, canonical\n got %s\nwant %s", key, err, canon, whole(hashed, hashed2))
	}
	stored, err := h.Stored(nil, &args)
	if err != nil || string(stored) != whole(kept, kept2) {
		t.Errorf("err %v, stored\n got %s\nwant %s", err, stored, whole(kept, kept2))
	}

	// The same by path, on a map, on other maps, on text, and on a marshaler's output.
	rules := Rules{
		Ignore: []string{"l.sent_at", "l.meta", "l.done"},
		Redact: []string{"l.card", "l.meta"},
		Exact:  []string{"l.price"},
	}
	m := map[string]any{"sku": "a", "price": drift, "rate": drift, "sent_at": "now", "card": 4242, "meta": 1i, "done": 1i}
	text := json.RawMessage(`{"l":{"sku":"a","price":0.30000000000000004,"rate":0.30000000000000004,"sent_at":"now","card":4242,"meta":[1e999999],"done":[{"a":1,"a":2}]}}`)
	for name, args := range map[string]any{
		"map": map[string]any{"l": m}, "typed map": map[string]map[string]any{"l": m}, "map of any key type": map[textKey]any{{"l", 1}: m},
		"list": map[string]any{"l": []any{m}}, "text": text, "marshaler": json.Marshaler(opaque{text}), "pointer": ptr(map[string]any{"l": m}),
		"struct": struct {
			L any `json:"l"`
		}{map[textKey]any{{"sku", 1}: "a", {"price", 1}: drift, {"rate", 1}: drift, {"sent_at", 0}: "now", {"card", 1}: 4242, {"meta", 1}: 1i, {"done", 1}: 1i}},
	} {
		h := newHasher(t, rules)
		wrap := func(s string) string { return `{"l":` + s + `}` }
		if name == "list" {
			wrap = func(s string) string { return `{"l":[` + s + `]}` }
		}
		if canon, _, err := h.Canon(nil, args); err != nil || string(canon) != wrap(hashed) {
			t.Errorf("%s: canonical %s (%v)", name, canon, err)
		}
		if stored, err := h.Stored(nil, args); err != nil || string(stored) != wrap(kept) {
			t.Errorf("%s: stored %s (%v)", name, stored, err)
		}
	}

	// A tag on an embedded struct covers its fields.
	if canon, _, err := h.Canon(nil, audited{A: 1}); err != nil || string(canon) != `{"a":1}` {
		t.Errorf("embedded: %s (%v)", canon, err)
	}
	if stored, err := h.Stored(nil, audited{A: 1}); err != nil || string(stored) != `{"a":1,"at":"0001-01-01T00:00:00Z","who":""}` {
		t.Errorf("embedded: stored %s (%v)", stored, err)
	}
	// An ignored field that is too large is left out; others are not its victims.
	small := newHasher(t, Rules{MaxBytes: 64, Ignore: []string{"big"}})
	big := map[string]any{"big": strings.Repeat("x", 100), "a": 1}
	if stored, err := small.Stored(nil, big); err != nil || string(stored) != `{"a":1}` {
		t.Errorf("stored %s (%v)", stored, err)
	}
	if stored, err := small.Stored(nil, json.RawMessage(`{"a":1,"big":`)); err == nil {
		t.Errorf("stored %s", stored)
	}
}

type opaque struct{ text json.RawMessage }

func (o opaque) MarshalJSON() ([]byte, error) { return o.text, nil }

type (
	baseKey struct {
		ID *string `ledger:"key"`
	}
	inherits  struct{ *baseKey }
	hiddenKey struct {
		ID string `json:"-" ledger:"key"`
		N  int
	}
	addrKey struct {
		A netip.Addr `ledger:"key"`
	}
	pointerKey struct {
		A *pointerText `ledger:"key"`
	}
	valueKey struct {
		A pointerText `ledger:"key"`
	}
	timeKey struct {
		A time.Time `ledger:"key"`
	}
	timePtrKey struct {
		A *time.Time `ledger:"key"`
	}
	intKey struct {
		A int64 `ledger:"key"`
	}
	intPtrKey struct {
		A **int `ledger:"key"`
	}
	uintKey struct {
		A uint8 `ledger:"key"`
	}
	ignoredKey struct {
		A string `ledger:"key,ignore"`
	}
	panicKey struct {
		A panicker `ledger:"key"`
	}
	withFunc struct {
		A string `ledger:"key"`
		F func()
	}
)

func (p *pointerKeyed) MarshalJSON() ([]byte, error) { return []byte("1"), nil }

type pointerKeyed struct {
	A string `ledger:"key"`
}

func TestKey(t *testing.T) {
	h := newHasher(t, Rules{})
	zoned := time.Date(2026, 1, 1, 1, 0, 0, 0, time.FixedZone("", 3600))
	for name, tc := range map[string]struct {
		args  any
		key   string
		canon string
	}{
		"none":            {charge{}.Customer, "", `""`},
		"nil struct":      {(*keyed)(nil), "", "null"},
		"empty":           {keyed{}, "", `{"id":"","n":0}`},
		"embedded":        {inherits{&baseKey{ptr("k")}}, "k", `{"ID":"k"}`},
		"embedded nil":    {inherits{}, "", `{}`},
		"embedded, empty": {inherits{&baseKey{}}, "", `{"ID":null}`},
		"not marshalled":  {hiddenKey{"k", 1}, "k", `{"N":1}`},
		"ignored":         {ignoredKey{"k"}, "k", `{}`},
		"text":            {addrKey{netip.MustParseAddr("::1")}, "::1", `{"A":"::1"}`},
		"text by pointer": {pointerKey{&pointerText{n: 5}}, "<5>", `{"A":"<5>"}`},
		"text, nil":       {pointerKey{}, "", `{"A":null}`},
		"text of address": {&valueKey{pointerText{n: 5}}, "<5>", `{"A":"<5>"}`},
		"text of a copy":  {valueKey{pointerText{n: 5}}, "<5>", `{"A":{}}`},
		"time":            {timeKey{zoned}, "2026-01-01T00:00:00Z", `{"A":"2026-01-01T00:00:00Z"}`},
		"time pointer":    {timePtrKey{&zoned}, "2026-01-01T00:00:00Z", `{"A":"2026-01-01T00:00:00Z"}`},
		"negative":        {intKey{-5}, "-5", `{"A":-5}`},
		"zero":            {intKey{}, "", `{"A":0}`},
		"pointer to zero": {intPtrKey{ptr(ptr(0))}, "0", `{"A":0}`},
		"pointer to nil":  {intPtrKey{ptr((*int)(nil))}, "", `{"A":null}`},
		"unsigned":        {uintKey{200}, "200", `{"A":200}`},
		"pointers":        {ptr(ptr(uintKey{200})), "200", `{"A":200}`},
		"interface":       {ptr(any(&uintKey{200})), "200", `{"A":200}`},
		"opaque":          {&pointerKeyed{"k"}, "", "1"},
		"not opaque":      {pointerKeyed{"k"}, "k", `{"A":"k"}`},
	} {
		canon, key, err := h.Canon(nil, tc.args)
		if err != nil || key != tc.key || string(canon) != tc.canon {
			t.Errorf("%s: got key %q, %s (%v); want %q, %s", name, key, canon, err, tc.key, tc.canon)
		}
	}

	// The key is there though the arguments can not be fingerprinted.
	if _, key, err := h.Canon(nil, withFunc{A: "k"}); err == nil || key != "k" {
		t.Errorf("got key %q, %v", key, err)
	}
	_, _, err := h.Canon(nil, keyed{ID: "\xff"})
	wantError(t, err, "args.ID", "valid UTF-8")
	_, _, err = h.Canon(nil, panicKey{panicker{"boom"}})
	wantError(t, err, "args.A", "panic: boom")
	_, _, err = h.Canon(nil, timeKey{time.Date(-5, 1, 1, 1, 1, 1, 1, time.UTC)})
	wantError(t, err, "args.A", "outside the years")
}

// A mistake in a tag shows with the first call, even behind an empty list.
func TestTagMistakes(t *testing.T) {
	h := newHasher(t, Rules{})
	type word struct {
		A int `ledger:"ignored"`
	}
	type space struct {
		A int `ledger:"ignore, redact"`
	}
	type two struct {
		A string `ledger:"key"`
		B string `ledger:"key"`
	}
	type kind struct {
		A float64 `ledger:"key"`
	}
	type unexported struct {
		a string `ledger:"key"`
	}
	type twoEmbedded struct {
		baseKey
		B string `ledger:"key"`
	}
	type parent struct {
		ID   string `ledger:"key"`
		Kids []*parent
	}
	type loopKey struct {
		A pointerLoop `ledger:"key"`
	}
	type quiet struct {
		A []keyed `ledger:"ignore"`
	}
	for name, tc := range map[string]struct {
		args         any
		path, reason string
	}{
		"word":            {word{}, "args.A", "unknown word in its ledger tag, \"ignored\"; write"},
		"space":           {space{}, "args.A", `" redact"`},
		"two keys":        {two{}, "args.B", "second key beside A"},
		"two, embedded":   {twoEmbedded{}, "args.ID", "second key"},
		"kind":            {kind{}, "args.A", "is a float64; tag a string"},
		"unexported":      {unexported{a: ""}, "args.a", "not exported"},
		"pointer loop":    {loopKey{}, "args.A", "is the key, but"},
		"behind a list":   {[]word(nil), "args[].A", "unknown word"},
		"behind a map":    {struct{ M map[string]*word }{}, "args.M[].A", "unknown word"},
		"key in a list":   {[]keyed{}, "args[].ID", "only a field at the top"},
		"key below":       {struct{ K keyed }{}, "args.K.ID", "only a field at the top"},
		"key below, any":  {struct{ K any }{keyed{}}, "args.K.ID", "only a field at the top"},
		"key in children": {parent{ID: "x"}, "args.Kids[].ID", "only a field at the top"},
		"in any":          {map[string]any{"w": &word{}}, "args.w.A", "unknown word"},
	} {
		for range 2 { // the second time from the cache
			_, key, err := h.Canon(nil, tc.args)
			if key != "" {
				t.Errorf("%s: got key %q", name, key)
			}
			wantError(t, err, tc.path, tc.reason)
		}
	}
	if _, _, err := h.Canon(nil, quiet{}); err != nil {
		t.Errorf("below an ignored field: %v", err)
	}
}

func TestNew(t *testing.T) {
	for _, tc := range []struct{ path, want string }{
		{"", "empty; name a field"}, {"a..b", "empty name"}, {".a", "empty name"}, {"a.", "empty name"}, {".", "empty name"},
		{`a\`, "backslash"}, {`a\b`, "backslash"}, {"\xff", "UTF-8"}, {"items[].id", "leave out []"}, {"items[3]", "leave out [3]"}, {"items[*].id", "leave out [*]"},
	} {
		for field, rules := range map[string]Rules{
			"Ignore": {Ignore: []string{"ok", tc.path}}, "Redact": {Redact: []string{tc.path}}, "Exact": {Exact: []string{tc.path}},
		} {
			if h, err := New(rules, nil); h != nil || err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), field) {
				t.Errorf("%s path %q: %v", field, tc.path, err)
			}
		}
	}
	if _, err := New(Rules{MaxBytes: -1}, nil); err == nil {
		t.Error("a negative MaxBytes was taken")
	}
	if _, err := New(Rules{}, []byte{}); err == nil {
		t.Error("an empty HMAC key was taken")
	}
	h := newHasher(t, Rules{Ignore: []string{`a\.b`, `c\[0]`, `d\\e`, "f[x", "g.h", "g.i", "f[x"}})
	text := `{"a.b":1,"c[0]":1,"d\\e":1,"f[x":1,"g":{"h":1,"i":1}}`
	if canon, _, err := h.Canon(nil, json.RawMessage(text)); err != nil || string(canon) != `{"g":{}}` {
		t.Errorf("got %s (%v)", canon, err)
	}
	// The HMAC key is copied.
	secret := []byte("0123456789abcdef")
	keyed, err := New(Rules{}, secret)
	if err != nil {
		t.Fatal(err)
	}
	before := keyed.Digest([]byte("1"))
	clear(secret)
	for range 10 {
		if keyed.Digest([]byte("1")) != before {
			t.Fatal("the digest follows the caller's key")
		}
	}
}
