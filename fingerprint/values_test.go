package fingerprint

import (
	"encoding"
	"encoding/json"
	"math"
	"math/big"
	"net/netip"
	"time"
)

type (
	embeddedBase struct {
		ID   int    `json:"id"`
		Name string `json:"name"`
	}
	embedder        struct{ embeddedBase }
	pointerEmbedder struct {
		*embeddedBase
		hidden func()
	}
	keyed struct {
		N  int    `json:"n"`
		ID string `json:"id" ledger:"key"`
	}
	keyedInt struct {
		ID uint16 `json:"id" ledger:"key"`
	}
	tagged struct {
		SentAt time.Time `json:"sent_at" ledger:"ignore"`
		A      int       `json:"a"`
	}
	money     struct{ cents int }
	moneyCall struct {
		M money `json:"m"`
	}
	moneyPointerCall struct {
		M *money `json:"m"`
	}
	listItem struct {
		ID       int    `json:"id"`
		T        string `json:"t,omitempty"`
		Callback func() `json:"callback,omitzero"`
	}
	loop struct {
		Next any `json:"next"`
	}
	rawCall struct {
		R json.RawMessage `json:"r"`
	}
	bytesCall struct {
		B []byte `json:"b"`
	}
)

func (m money) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]any{"unit": "EUR", "cents": m.cents})
}

func ptr[T any](x T) *T { return &x }

// goValues are the Go values that vectors name.
func goValues() map[string]any {
	utc := time.Date(2026, 11, 23, 9, 30, 0, 1, time.UTC)
	zoned := utc.In(time.FixedZone("X", 5400))
	when := time.Date(2026, 11, 23, 10, 30, 0, 0, time.FixedZone("", 3600))
	sum := 0.0
	for range 10 {
		sum += 0.1
	}
	x, y := 0.1, 0.2
	cycle := map[string]any{}
	cycle["list"] = []any{cycle}
	list := []any{0}
	list[0] = list
	chain := &loop{}
	chain.Next = chain
	return map[string]any{
		"nil": nil, "nil map": map[string]int(nil), "nil pointer": (*charge)(nil),
		"nil raw": json.RawMessage(nil), "empty raw": json.RawMessage{},
		"empty struct": struct{}{}, "empty map": map[string]any{}, "empty slice": []string{}, "empty array": [0]int{},
		"true":   true,
		"map ab": map[string]any{"b": 2, "a": 1},
		"struct ba": struct {
			B int `json:"b"`
			A int `json:"a"`
		}{2, 1},

		"map of emoji":   map[string]int{"\U0001F600": 1, "\uE000": 2},
		"escaped string": "a/b\u00e9<&>\u2028",
		"struct with nil": struct {
			A int  `json:"a"`
			B *int `json:"b"`
			C int  `json:"c"`
		}{1, nil, 2},
		"struct string option": struct {
			ID int `json:"id,string"`
		}{1},
		"charge":         charge{"cus_1", 4999, 0.0825, true, when},
		"charge pointer": &charge{"cus_1", 4999, 0.0825, true, when},
		"charge map":     map[string]any{"customer": "cus_1", "cents": 4999, "rate": 0.0825, "capture": true, "due": when},
		"embedded":       embedder{embeddedBase{7, "n"}}, "embedded pointer": pointerEmbedder{&embeddedBase{7, "n"}, nil},
		"keyed": keyed{1, "from-tag"}, "keyed int": keyedInt{77}, "keyed zero": keyedInt{},

		"zero float": 0.0, "minus zero float": math.Copysign(0, -1), "zero int": int8(0), "empty number": json.Number(""),
		"float 100": 100.0, "int 100": uint8(100), "float32 100": float32(100), "number 1e2": json.Number("1e2"),
		"int 2^53+1": int64(9007199254740993), "float 2^53": float64(1 << 53), "max uint64": uint64(math.MaxUint64),
		"float 1e21": 1e21, "big int": must(new(big.Int).SetString("12345678901234567890", 10)),
		"float 2^60": float64(1 << 60), "int 2^60": int64(1 << 60), "max float64": math.MaxFloat64,

		"0.1+0.2": x + y, "float 99.99": 99.99, "float 12345678901.23": 12345678901.23, "0.1 ten times": sum,
		"float32 0.1": float32(0.1), "smallest float64": math.SmallestNonzeroFloat64,
		"exact struct": struct {
			Amount float64 `json:"amount" ledger:"exact"`
		}{x + y},

		"time utc": utc, "time zoned": zoned, "time pointer": &zoned, "time later": utc.Add(1), "time whole": when,
		"time field": struct {
			At time.Time `json:"at"`
		}{zoned},
		"time any": struct {
			At any `json:"at"`
		}{zoned},
		"time map": map[string]time.Time{"at": zoned},
		"time pointer field": struct {
			At **time.Time `json:"at"`
		}{ptr(&zoned)},
		"time interface": struct {
			At encoding.TextMarshaler `json:"at"`
		}{zoned},
		"bytes": []byte{0, 255, 254}, "bytes pointer": &[]byte{0, 255, 254}, "byte array": [3]byte{0, 255, 254},
		"nil bytes": bytesCall{}, "empty bytes": bytesCall{[]byte{}},
		"map of ints":      map[int8]bool{10: true, 9: true, -1: true},
		"map of addresses": map[netip.Addr]int{netip.MustParseAddr("1.2.3.4"): 1},
		"raw field":        rawCall{json.RawMessage(` {"b":0.30000000000000004,"a":1.0}`)},
		"marshaler":        moneyCall{money{5}}, "marshaler pointer": &moneyPointerCall{&money{5}},
		"address":            map[string]any{"m": netip.MustParseAddr("1.2.3.4")},
		"pointer":            map[string]any{"p": ptr(5)},
		"pointer to pointer": map[string]**int{"p": ptr(ptr(5))},

		"ignored by tag": tagged{utc, 1},
		"items":          map[string]any{"items": []listItem{{ID: 1, T: "x"}, {ID: 2}}},
		"redacted": struct {
			Card string `json:"card" ledger:"redact"`
		}{"4242"},

		"map of clashing keys": map[textKey]int{{"same", 1}: 1, {"same", 2}: 2},
		"bad string":           map[string]string{"s": "\xff"},
		"bad key":              map[string]any{"\xff": 1},
		"nan":                  map[string]any{"f": math.NaN()}, "inf": map[string]float64{"f": math.Inf(1)},
		"minus inf": struct {
			F float64 `json:"f"`
		}{math.Inf(-1)},
		"nan32":   map[string]any{"f": float32(math.NaN())},
		"channel": map[string]any{"c": make(chan int)},
		"complex": map[string]any{"c": 1i},
		"function": map[string]any{"items": []listItem{{}, {Callback: func() {
		}}}},
		"nil function": map[string]any{"items": []any{0, map[string]func(){"callback": nil}}},
		"map cycle":    cycle, "slice cycle": list, "pointer cycle": chain,
	}
}

func must[T any](x T, ok bool) T {
	if !ok {
		panic("bad literal")
	}
	return x
}

// textKey has more in it than its text says.
type textKey struct {
	text  string
	other int
}

func (k textKey) MarshalText() ([]byte, error) { return []byte(k.text), nil }
