package fingerprint

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

type charge struct {
	Customer string    `json:"customer"`
	Cents    int       `json:"cents"`
	Rate     float64   `json:"rate"`
	Capture  bool      `json:"capture"`
	Due      time.Time `json:"due"`
}

var benchCharge = charge{"cus_9s6XKzkNRiz8i3", 4999, 0.0825, true, time.Date(2026, 11, 23, 10, 30, 0, 123456789, time.FixedZone("", 3600))}

func benchmark(b *testing.B, hmacKey []byte, args any) {
	h, err := New(Rules{}, hmacKey)
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 0, 8192)
	b.ReportAllocs()
	for b.Loop() {
		canon, key, err := h.Canon(buf[:0], args)
		if err != nil {
			b.Fatal(err)
		}
		h.Sum("order-42", "charge_card", key, canon)
	}
}

func BenchmarkStruct(b *testing.B)        { benchmark(b, nil, benchCharge) }
func BenchmarkStructPointer(b *testing.B) { benchmark(b, nil, &benchCharge) }
func BenchmarkStructHMAC(b *testing.B)    { benchmark(b, []byte("0123456789abcdef"), benchCharge) }

func BenchmarkMap(b *testing.B) {
	benchmark(b, nil, map[string]any{
		"customer": "cus_9s6XKzkNRiz8i3", "cents": 4999, "rate": 0.0825, "capture": true, "due": benchCharge.Due,
	})
}

func BenchmarkText4KiB(b *testing.B) {
	var s strings.Builder
	s.WriteString(`{"items":[`)
	for i := 0; s.Len() < 4000; i++ {
		if i > 0 {
			s.WriteByte(',')
		}
		fmt.Fprintf(&s, `{"sku":"A-%d","qty":%d,"price":%d.99,"note":"handle with \"care\""}`, i, i%7, i)
	}
	s.WriteString(`]}`)
	b.SetBytes(int64(s.Len()))
	benchmark(b, nil, json.RawMessage(s.String()))
}

// What the plan saves: the same struct by way of encoding/json.
func BenchmarkStructByWayOfText(b *testing.B) {
	h, _ := New(Rules{}, nil)
	buf := make([]byte, 0, 1024)
	b.ReportAllocs()
	for b.Loop() {
		text, err := json.Marshal(&benchCharge)
		if err != nil {
			b.Fatal(err)
		}
		canon, key, err := h.Canon(buf[:0], json.RawMessage(text))
		if err != nil {
			b.Fatal(err)
		}
		h.Sum("order-42", "charge_card", key, canon)
	}
}

// Canon alone and Sum alone, to see where the time goes.
func BenchmarkCanonOnly(b *testing.B) {
	h, _ := New(Rules{}, nil)
	buf := make([]byte, 0, 1024)
	var args any = benchCharge
	b.ReportAllocs()
	for b.Loop() {
		_, _, _ = h.Canon(buf[:0], args)
	}
}
