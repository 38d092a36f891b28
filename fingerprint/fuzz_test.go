package fingerprint

import (
	"bytes"
	"encoding/json"
	"math/big"
	"math/rand/v2"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

func newHasher(t testing.TB, rules Rules) *Hasher {
	t.Helper()
	h, err := New(rules, nil)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// decode is the oracle's reader of JSON text, with numbers as they were spelt.
func decode(t *testing.T, text []byte) any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var x any
	if err := dec.Decode(&x); err != nil {
		t.Fatalf("encoding/json can not read %q: %v", text, err)
	}
	return x
}

// oracle makes a number what the rules say, by exact fractions. ok is false
// where the number is refused.
func oracle(text string) (value *big.Rat, ok bool) {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	if strings.Trim(mantissa, "-0.") == "" {
		return new(big.Rat), true
	}
	if exp, err := strconv.Atoi(exponent); exponent != "" && (err != nil || exp > 5000 || exp < -5000) {
		return nil, false
	}
	digits := strings.TrimRight(strings.TrimLeft(strings.ReplaceAll(strings.TrimPrefix(mantissa, "-"), ".", ""), "0"), "0")
	value, ok = new(big.Rat).SetString(text)
	if !ok || len(digits) > 1000 {
		return nil, false
	}
	if value.IsInt() {
		return value, len(new(big.Int).Abs(value.Num()).String()) <= 1000
	}
	if f, err := strconv.ParseFloat(text, 64); err != nil || f == 0 {
		return nil, false
	}
	abs := new(big.Rat).Abs(value)
	decimals := maxDecimals
	if abs.Cmp(big.NewRat(1, 1)) >= 0 {
		whole := new(big.Int).Quo(abs.Num(), abs.Denom())
		decimals = min(decimals, maxSignificant-len(whole.String()))
	} else {
		// The least k with |value| × 10^k >= 1, from the number of digits of num and denom.
		k := max(len(abs.Denom().String())-len(abs.Num().String())-1, 0)
		for power := pow10(k); new(big.Int).Mul(abs.Num(), power).Cmp(abs.Denom()) < 0; power = pow10(k) {
			k++
		}
		decimals = k + smallDigits - 1
	}
	// Round |value| × 10^decimals half up, with the sign put back: half away from zero.
	scale := new(big.Rat).SetInt(pow10(max(decimals, -decimals)))
	if decimals < 0 {
		scale.Inv(scale)
	}
	scaled := new(big.Rat).Mul(new(big.Rat).Abs(value), scale)
	scaled.Add(scaled, big.NewRat(1, 2))
	rounded := new(big.Rat).SetInt(new(big.Int).Quo(scaled.Num(), scaled.Denom()))
	rounded.Quo(rounded, scale)
	if value.Sign() < 0 {
		rounded.Neg(rounded)
	}
	return rounded, true
}

func pow10(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

var numberSeeds = []string{
	"0", "-0", "-0.0e5", "1", "100.0", "1e2", "1e1000000000", "1e-1000000000", "1e999", "1e1000", "9007199254740993",
	"0.1", "0.30000000000000004", "99.9900000001", "3e-9", "12345678901.23", "1234567890123456.5", "0.9999999999999",
	"0.999999999499", "0.9999999995", "9.999999995", "1.000000005", "1.000000015", "-2.5e-9", "1e-6", "1e-7", "5e-324", "2e-324", "3e-324", "1.7976931348623157e308",
	"123456789.123456789123456789", "0.00000000000000001e17", "1E+2", "1e-0", "01", "1.", ".5", "-", "1e", "+1", "0x1", "1_0", "0E10000000000000000000", "NaN", "",
	"1797693134862315700" + strings.Repeat("0", 290) + ".5", "1" + strings.Repeat("0", 998) + ".5",
}

func FuzzNumber(f *testing.F) {
	for _, s := range numberSeeds {
		f.Add(s)
	}
	h, err := New(Rules{}, nil)
	if err != nil {
		f.Fatal(err)
	}
	exactly, err := New(Rules{Exact: []string{"n"}}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) { checkNumber(t, h, exactly, text) })
}

func checkNumber(t *testing.T, h, exactly *Hasher, text string) {
	canon, _, err := h.Canon(nil, json.Number(text))
	if text == "" {
		text = "0" // as encoding/json reads the zero json.Number
	}
	v := jsontext.Value(text)
	if !v.IsValid() || v.Kind() != '0' || strings.TrimSpace(text) != text {
		if err == nil {
			t.Fatalf("%q is not a number, but became %q", text, canon)
		}
		return
	}
	want, ok := oracle(text)
	if ok != (err == nil) {
		t.Fatalf("%q: got %v, want acceptance %v", text, err, ok)
	}
	if !ok {
		return
	}
	got, valid := new(big.Rat).SetString(string(canon))
	if !valid || got.Cmp(want) != 0 {
		t.Fatalf("%q became %s, want %s", text, canon, want.RatString())
	}
	// One spelling: as a fixpoint, and as the rules describe it.
	again, _, err := h.Canon(nil, json.RawMessage(canon))
	if err != nil || !bytes.Equal(again, canon) {
		t.Fatalf("%q became %s, and that %s (%v)", text, canon, again, err)
	}
	if got.IsInt() && string(canon) != got.Num().String() {
		t.Fatalf("%q became %s, an integer not in plain digits", text, canon)
	}
	if small := new(big.Rat).Abs(got).Cmp(big.NewRat(1, 1_000_000)) < 0; !got.IsInt() && small != bytes.ContainsRune(canon, 'e') {
		t.Fatalf("%q became %s, with or without an exponent", text, canon)
	}
	// Exact: the same value.
	exact, _, err := exactly.Canon(nil, map[string]any{"n": json.Number(text)})
	if err != nil {
		t.Fatal(err)
	}
	value := new(big.Rat)
	if want.Sign() != 0 { // math/big expands the exponent of zero, too
		value.SetString(text)
	}
	spelt := strings.TrimSuffix(strings.TrimPrefix(string(exact), `{"n":`), "}")
	if got, _ := new(big.Rat).SetString(spelt); got.Cmp(value) != 0 {
		t.Fatalf("%q became, exactly, %s", text, spelt)
	}
	// A Go float is its shortest decimal.
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		fromFloat, _, err1 := h.Canon(nil, f)
		fromText, _, err2 := h.Canon(nil, json.RawMessage(strconv.FormatFloat(f, 'e', -1, 64)))
		if err1 != nil || err2 != nil || !bytes.Equal(fromFloat, fromText) {
			t.Fatalf("float64 %v became %s (%v), its text %s (%v)", f, fromFloat, err1, fromText, err2)
		}
	}
}

// shuffled writes x as JSON text with keys in random order and white space about.
func shuffled(r *rand.Rand, x any, out *bytes.Buffer) {
	space := func() { out.WriteString([]string{"", " ", "\n\t"}[r.IntN(3)]) }
	space()
	defer space()
	switch x := x.(type) {
	case map[string]any:
		names := make([]string, 0, len(x))
		for name := range x {
			names = append(names, name)
		}
		r.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		out.WriteByte('{')
		for i, name := range names {
			if i > 0 {
				out.WriteByte(',')
			}
			quoted, _ := json.Marshal(name) // escapes HTML: another spelling
			out.Write(quoted)
			out.WriteByte(':')
			shuffled(r, x[name], out)
		}
		out.WriteByte('}')
	case []any:
		out.WriteByte('[')
		for i := range x {
			if i > 0 {
				out.WriteByte(',')
			}
			shuffled(r, x[i], out)
		}
		out.WriteByte(']')
	case json.Number:
		out.WriteString(x.String())
	default:
		text, _ := json.Marshal(x)
		out.Write(text)
	}
}

// rounded replaces numbers by their values under the rules, to compare by.
func rounded(t *testing.T, x any) any {
	switch x := x.(type) {
	case map[string]any:
		for name := range x {
			x[name] = rounded(t, x[name])
		}
	case []any:
		for i := range x {
			x[i] = rounded(t, x[i])
		}
	case json.Number:
		value, ok := oracle(x.String())
		if !ok {
			t.Fatalf("%s was accepted", x)
		}
		return "number " + value.RatString()
	case string:
		return "string " + x
	}
	return x
}

func FuzzCanon(f *testing.F) {
	for _, s := range []string{
		`{}`, `[]`, `null`, `"a"`, `{"b":1,"a":[1.0,{"z":null,"y":true}]}`, `{"\u00e9":"\ud83d\ude00","é2":1e-9}`,
		`{"a":1,"a":2}`, `["\ud800"]`, "\"\xff\"", `[0.1,0.30000000000000004]`, `{"":{"":{"":[]}}}`, `1 2`, `{"a":`, `"\u0000\u001f/\/"`,
		strings.Repeat("[", 101) + strings.Repeat("]", 101), `{"😀":1,"":2,"a\"":3,"a":4}`,
	} {
		f.Add([]byte(s), []byte(`{"a":1}`))
	}
	h, err := New(Rules{}, nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, a, b []byte) {
		if paths := Diff(a, b, 3); len(paths) > 3 || (len(paths) == 0) != bytes.Equal(a, b) {
			t.Fatalf("Diff(%q, %q) is %q", a, b, paths)
		}
		ca, okA := checkCanon(t, h, a)
		cb, okB := checkCanon(t, h, b)
		if !okA || !okB {
			return
		}
		same := reflect.DeepEqual(rounded(t, decode(t, a)), rounded(t, decode(t, b)))
		if same != bytes.Equal(ca, cb) || same != (h.Digest(ca) == h.Digest(cb)) || same != (len(Diff(ca, cb, 1)) == 0) {
			t.Fatalf("%q and %q: equal %v, but canonical\n%s\n%s\ndiffer at %q", a, b, same, ca, cb, Diff(ca, cb, 5))
		}
	})
}

func checkCanon(t *testing.T, h *Hasher, text []byte) (canon []byte, ok bool) {
	canon, key, err := h.Canon(nil, json.RawMessage(text))
	if key != "" {
		t.Fatalf("text gave the key %q", key)
	}
	if err != nil {
		if len(canon) != 0 {
			t.Fatalf("%q was refused and still gave %q", text, canon)
		}
		return nil, false
	}
	if len(text) == 0 {
		return nil, false
	}
	// The same value: nothing lost, nothing added.
	if v := jsontext.Value(text); !v.IsValid() {
		t.Fatalf("%q is not valid JSON, but became %q", text, canon)
	}
	x := decode(t, text)
	if got, want := rounded(t, decode(t, canon)), rounded(t, decode(t, text)); !reflect.DeepEqual(got, want) {
		t.Fatalf("%q became %q: another value", text, canon)
	}
	// The order and the escapes are those of RFC 8785.
	rfc := jsontext.Value(bytes.Clone(canon))
	if err := rfc.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false)); err != nil || !bytes.Equal(rfc, canon) {
		t.Fatalf("%q became %q, which RFC 8785 has as %q (%v)", text, canon, rfc, err)
	}
	// A fixpoint; and other spellings of the value agree, as text and as Go values.
	var respelt bytes.Buffer
	shuffled(rand.New(rand.NewPCG(1, uint64(len(text)))), x, &respelt)
	for name, args := range map[string]any{
		"itself": json.RawMessage(canon), "another spelling": json.RawMessage(respelt.Bytes()), "decoded": x,
	} {
		if again, _, err := h.Canon(nil, args); err != nil || !bytes.Equal(again, canon) {
			t.Fatalf("%q became %q, but %s became %q (%v)", text, canon, name, again, err)
		}
	}
	stored, err := h.Stored(nil, json.RawMessage(text))
	if err != nil {
		t.Fatal(err)
	}
	if again, _, err := h.Canon(nil, json.RawMessage(stored)); err != nil || !bytes.Equal(again, canon) {
		t.Fatalf("%q is stored as %q, which became %q and not %q (%v)", text, stored, again, canon, err)
	}
	return canon, true
}
