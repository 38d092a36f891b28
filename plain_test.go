package ledger

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"
)

type plainResult struct {
	ID     string `json:"id"`
	Amount int64
	Rates  []float64
	Inner  struct{ OK bool }
	Sum    [4]byte
	Raw    []byte
	hidden chan int
	Left   func() `json:"-"`
}

type (
	deepResult     struct{ Kids []deepResult }
	embeddedResult struct{ plainResult }
	quotedResult   struct {
		N int `json:",string"`
	}
	saysResult struct{}
)

func (*saysResult) UnmarshalJSON([]byte) error { return nil }

func TestPlainTypes(t *testing.T) {
	var p plainTypes
	for _, c := range []struct {
		value any
		want  bool
	}{
		{plainResult{hidden: nil}, true}, {0, true}, {"", true}, {[]string{}, true}, {[]byte{}, true}, {struct{}{}, true},
		{deepResult{}, false}, {embeddedResult{}, false}, {quotedResult{}, false}, {saysResult{}, false}, {[]saysResult{}, false}, {struct{ S saysResult }{}, false},
		{time.Time{}, false}, {json.Number(""), false}, {json.RawMessage{}, false}, {map[string]int{}, false},
		{&plainResult{}, false}, {struct{ V any }{}, false}, {make(chan int), false}, {complex(1, 1), false},
	} {
		for range 2 { // it is remembered
			if got := p.has(reflect.TypeOf(c.value)); got != c.want {
				t.Errorf("%T: got %v, want %v", c.value, got, c.want)
			}
		}
	}
	if p.has(reflect.TypeFor[any]()) {
		t.Error("an interface is taken for plain")
	}
}

// FuzzPlain checks the claim of plainTypes.
func FuzzPlain(f *testing.F) {
	f.Add("\xff\u2028<", int64(-1), 1e300, []byte{0, 255})
	f.Fuzz(func(t *testing.T, s string, n int64, x float64, b []byte) {
		in := plainResult{ID: s, Amount: n, Rates: []float64{x, 0}, Raw: b}
		data, err := json.Marshal(in)
		if err != nil {
			return // it is not recorded
		}
		var out plainResult
		if err := json.Unmarshal(data, &out); err != nil {
			t.Errorf("%s: %v", data, err)
		}
	})
}
