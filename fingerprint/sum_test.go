package fingerprint

import (
	"slices"
	"strings"
	"testing"
)

func TestParseSum(t *testing.T) {
	h := newHasher(t, Rules{})
	sum := h.Sum("w", "t", "k", nil)
	if got, err := ParseSum(sum.String()); err != nil || got != sum {
		t.Errorf("got %v (%v), want %v", got, err, sum)
	}
	for _, text := range []string{"", "0", strings.Repeat("0", 31), strings.Repeat("0", 33), strings.Repeat("g", 32), strings.Repeat("A", 32), strings.Repeat("0", 31) + "\n"} {
		if got, err := ParseSum(text); err == nil || got != (Sum{}) {
			t.Errorf("%q gave %v", text, got)
		}
	}
}

// Names that are not valid UTF-8 stay apart, too.
func TestSumNames(t *testing.T) {
	h := newHasher(t, Rules{})
	seen := map[Sum]string{}
	for _, name := range []string{"\xff", "\xfe", "\ufffd", "/w==", `["/w=="]`, "a\xff", ""} {
		for _, sum := range []Sum{h.Sum(name, "t", "", []byte("1")), h.Sum("t", name, "", []byte("1")), h.Sum("w", "t", "k"+name, nil)} {
			if other, ok := seen[sum]; ok {
				t.Errorf("%q and %q have one sum", name, other)
			}
			seen[sum] = name
		}
	}
}

func TestDiff(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		max  int
		want []string
	}{
		{`{"a":1}`, `{"a":1}`, 9, nil},
		{`{"a":1}`, `{"a":2}`, 0, nil},
		{`{"a":1,"sent_at":"x"}`, `{"a":1,"sent_at":"y"}`, 9, []string{"sent_at"}},
		{`{"a":1,"b":2,"c":3}`, `{"a":2,"b":3,"c":4}`, 2, []string{"a", "b"}},
		{`{"a":1}`, `{"b":1}`, 9, []string{"a", "b"}},
		{`{"a":1}`, `{"b":1}`, 1, []string{"a"}},
		{`{}`, `{"a":1,"b":null}`, 9, []string{"a", "b"}},
		{`{"items":[{"id":1},{"id":2},{"id":3}]}`, `{"items":[{"id":1},{"id":2},{"id":4}]}`, 9, []string{"items[2].id"}},
		{`{"items":[1,2]}`, `{"items":[1,2,3]}`, 9, []string{"items"}},
		{`{"items":[1,2]}`, `{"items":[9,2,3]}`, 9, []string{"items"}},
		{`{"o":{"a.b":{"c":1}}}`, `{"o":{"a.b":{"c":2}}}`, 9, []string{`o.a\.b.c`}},
		{`{"o":{}}`, `{"o":[]}`, 9, []string{"o"}},
		{`{"o":{}}`, `{"o":null}`, 9, []string{"o"}},
		{`[1,[2,3]]`, `[1,[2,4]]`, 9, []string{"[1][1]"}},
		{`1`, `2`, 9, []string{"args"}},
		{``, `1`, 9, []string{"args"}},
		{`[1`, `[2`, 9, []string{"args"}},
		{`{"a"`, `{"a":1}`, 9, []string{"args"}},
		{`{1:2}`, `{"a":1}`, 9, []string{"args"}},
		{`{"a":}`, `{"a":1}`, 9, []string{"args"}},
		{`[1] `, `[2] x`, 9, []string{"args"}},
		{`[`, `]`, 9, []string{"args"}},
		{`["\xff"]`, `[1]`, 9, []string{"args"}},
		{"{\"\ue000\":1,\"😀\":1}", "{\"\ue000\":2,\"😀\":1}", 9, []string{"\"\\ue000\""}},
		{"{\"😀\":1,\"\uffee\":1}", "{\"\uffee\":1}", 9, []string{"😀"}},
	} {
		if tc.a == `{"a":1}` && tc.b == tc.a && Diff(nil, nil, 1) != nil {
			t.Error("nothing differs from nothing")
		}
		if got := Diff([]byte(tc.a), []byte(tc.b), tc.max); !slices.Equal(got, tc.want) {
			t.Errorf("Diff(%s, %s): got %q, want %q", tc.a, tc.b, got, tc.want)
		}
	}
}
