//go:build !race

package fingerprint

import (
	"encoding/json"
	"testing"
	"time"
)

// The race detector makes sync.Pool drop items at random, so that allocations
// can be counted only without it.
func TestAllocations(t *testing.T) {
	h := newHasher(t, Rules{Ignore: []string{"sent_at"}})
	dst := make([]byte, 0, 1024)
	m := map[string]any{"a": 1.5, "sent_at": time.Now(), "l": []any{"x", json.Number("1.50"), nil}, "o": map[string]any{"b": true}}
	for name, args := range map[string]any{
		"struct": benchCharge, "pointer": &benchCharge, "key": keyed{1, "k"}, "map": m,
		"text": json.RawMessage(`{"b":[1,2.50,{"d":null,"c":"\u00e9"}],"a":"x"}`),
	} {
		allocs := testing.AllocsPerRun(200, func() {
			canon, key, err := h.Canon(dst[:0], args)
			if err != nil {
				t.Fatal(err)
			}
			h.Sum("order-42", "charge_card", key, canon)
			h.Digest(canon)
		})
		if allocs != 0 {
			t.Errorf("%s: %v allocations for Canon, Sum and Digest, want 0", name, allocs)
		}
	}
}
