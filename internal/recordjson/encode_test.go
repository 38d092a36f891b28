package recordjson

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/ledger-once/ledger"
)

// marshal is Encode by encoding/json.
func marshal(r *ledger.Record) ([]byte, error) {
	s := stored{
		Schema: Schema, Key: r.Key, State: r.State, Fence: r.Fence, Token: r.Token, Nonce: r.Nonce, InDoubt: r.InDoubt,
		Attempt: r.Attempt, Spent: r.Spent, Starts: r.Starts, Executed: r.Executed, Takeovers: r.Takeovers,
		Owner: owner(r.Owner), Args: toText(r.Args), ArgsDigest: r.ArgsDigest, Result: toText(r.Result),
		Omitted: r.ResultOmitted, Error: (*failure)(r.Error), Sealed: r.Sealed,
		Created: clock(r.Created), Started: clock(r.Started), Finished: clock(r.Finished), Succeeded: clock(r.Succeeded), Doubted: r.Doubted,
	}
	if r.State == ledger.StateRunning {
		s.Fence = 0
	}
	if r.Settled != nil {
		settled := settlement(*r.Settled)
		settled.At = clock(settled.At)
		s.Settled = &settled
	}
	for _, a := range r.Log {
		s.Log = append(s.Log, attempt{a.Fence, owner(a.Owner), clock(a.Started), clock(a.Ended), a.Outcome})
	}
	return json.Marshal(&s)
}

func (t text) MarshalJSON() ([]byte, error) {
	if quoted, err := json.Marshal(string(t)); utf8.Valid(t) && (len(t) < 64<<10 || len(quoted) <= (len(t)+2)/3*4) {
		return quoted, err
	}
	return json.Marshal(map[string][]byte{"base64": t})
}

func toText(b []byte) *text {
	if b == nil {
		return nil
	}
	t := text(b)
	return &t
}

// TestEncode compares Encode with what encoding/json writes for the stored struct.
func TestEncode(t *testing.T) {
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(uint64(seed), 0))
	for range 5000 {
		r := randomRecord(rnd)
		want, err := marshal(&r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Encode(&r)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Fatalf("seed %d (-want +got):\n%s", seed, diff)
		}
	}
}

// Text of any size takes at most a third more than its bytes, and little else.
func TestEncodeLarge(t *testing.T) {
	for _, c := range []struct {
		pattern  string
		readable bool
	}{{"x", true}, {`{"amount":1099,"currency":"EUR"},`, true}, {`"`, false}, {"\x00", false}, {"<", false}, {"\xff", false}} {
		r := ledger.Record{ID: ledger.ID{Workflow: "w", Tool: "t", Fingerprint: "f"}, State: ledger.StateSucceeded,
			Result: []byte(strings.Repeat(c.pattern, ledger.MaxRecordBytes/len(c.pattern)))}
		data, err := Encode(&r)
		if err != nil {
			t.Fatal(err)
		}
		if limit := ledger.MaxRecordBytes/3*4 + 1024; len(data) > limit {
			t.Errorf("%q repeated: %d bytes, want at most %d", c.pattern, len(data), limit)
		}
		if got := !strings.Contains(string(data), `"base64"`); got != c.readable {
			t.Errorf("%q repeated: readable is %t, want %t", c.pattern, got, c.readable)
		}
		want, err := marshal(&r)
		if err != nil || string(want) != string(data) {
			t.Errorf("%q repeated: differs from what encoding/json writes (error %v)", c.pattern, err)
		}
		if back, err := Decode(r.ID, 1, data); err != nil || string(back.Result) != string(r.Result) {
			t.Errorf("%q repeated: it does not decode to itself (error %v)", c.pattern, err)
		}
	}
}

// TestCut compares Cut with what Decode makes of what Encode wrote.
func TestCut(t *testing.T) {
	seed := time.Now().UnixNano()
	rnd := rand.New(rand.NewPCG(uint64(seed), 0))
	for range 2000 {
		want := randomRecord(rnd)
		data, err := Encode(&want)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), `\ufffd`) {
			continue // invalid UTF-8 in a name, which does not come back
		}
		got, err := Decode(want.ID, want.Version, data)
		if err != nil {
			t.Fatal(err)
		}
		if Cut(&want); want.State == ledger.StateRunning {
			want.Fence = want.Version
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d (-want +got):\n%s", seed, diff)
		}
	}
}

// TestEveryField: no field of a record is forgotten here, whoever adds one.
func TestEveryField(t *testing.T) {
	want := ledger.Record{ID: ledger.ID{Workflow: "w", Tool: "t", Fingerprint: "f"}, State: ledger.StateSucceeded, Version: 3}
	fillIn(reflect.ValueOf(&want).Elem())
	want.Attempts, want.Blocked, want.Alive = 0, 0, false // filled in on reading
	data, err := Encode(&want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(want.ID, want.Version, data)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// fillIn sets what is zero in v.
func fillIn(v reflect.Value) {
	if v.Type() == reflect.TypeFor[time.Time]() {
		v.Set(reflect.ValueOf(at))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fillIn(v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillIn(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fillIn(v.Index(0))
	case reflect.String:
		if v.IsZero() {
			v.SetString("x")
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8:
		v.SetUint(1)
	default:
		if v.IsZero() {
			v.SetInt(1)
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	for _, r := range []ledger.Record{{InDoubt: 9}, {Error: &ledger.Failure{Class: 9}}} {
		if _, err := Encode(&r); err == nil {
			t.Errorf("%+v: no error, and nobody could decode it", r)
		}
	}
	r := ledger.Record{State: ledger.StateRunning, Created: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)}
	if _, err := Encode(&r); err == nil {
		t.Error("got no error for a year beyond RFC 3339")
	}
}

func FuzzString(f *testing.F) {
	f.Add("plain", "\x00\b\f\n\r\t\x1f\x7f<>&\"\\\u2028\u2029\xff\xe2\x80\U0001F600é")
	f.Fuzz(func(t *testing.T, a, b string) {
		for _, s := range []string{a, b, a + b} {
			want, err := json.Marshal(s)
			if err != nil {
				t.Fatal(err)
			}
			if got := appendString(nil, s); string(got) != string(want) {
				t.Errorf("got %s, want %s", got, want)
			}
			if got := appendString(nil, []byte(s)); string(got) != string(want) {
				t.Errorf("bytes: got %s, want %s", got, want)
			}
		}
	})
}

func randomRecord(rnd *rand.Rand) ledger.Record {
	maybe := func() bool { return rnd.IntN(2) == 0 }
	str := func() string {
		if maybe() {
			return ""
		}
		alphabet := []rune("abc 019{}\"\\/<>&\x00\n\t\u2028\u2029é\U0001F600\x7f")
		s := make([]rune, rnd.IntN(20))
		for i := range s {
			s[i] = alphabet[rnd.IntN(len(alphabet))]
		}
		out := string(s)
		if rnd.IntN(8) == 0 {
			out += "\xff\xe2\x80"
		}
		return out
	}
	raw := func() []byte {
		if maybe() {
			return nil
		}
		return []byte(str())
	}
	at := func() time.Time {
		if maybe() {
			return time.Time{}
		}
		return time.Unix(rnd.Int64N(4e9), rnd.Int64N(1e9)).In(time.FixedZone("", rnd.IntN(7200)))
	}
	own := func() ledger.Owner {
		if maybe() {
			return ledger.Owner{}
		}
		return ledger.Owner{Session: str(), Host: str(), PID: rnd.IntN(3), Caller: str()}
	}
	states := []ledger.State{ledger.StateNone, ledger.StateRunning, ledger.StateSucceeded, ledger.StateFailed, ledger.StateInDoubt}
	r := ledger.Record{
		Key: str(), State: states[rnd.IntN(len(states))], Version: 9, Fence: ledger.Version(rnd.IntN(3)), Token: str(), Nonce: str(),
		InDoubt: ledger.DoubtPolicy(rnd.IntN(3)), Attempt: rnd.IntN(3), Spent: rnd.IntN(2), Starts: rnd.Int64N(3), Executed: rnd.Int64N(2), Takeovers: rnd.IntN(2),
		Owner: own(), Args: raw(), ArgsDigest: str(), Result: raw(), ResultOmitted: maybe(), Sealed: maybe(),
		Created: at(), Started: at(), Finished: at(), Succeeded: at(), Doubted: maybe(),
	}
	if maybe() {
		r.Error = &ledger.Failure{Message: str(), Class: ledger.Class(rnd.IntN(3))}
	}
	if maybe() {
		r.Settled = &ledger.Settlement{How: str(), By: str(), Reason: str(), At: at()}
	}
	for range rnd.IntN(4) {
		r.Log = append(r.Log, ledger.Attempt{Fence: ledger.Version(rnd.IntN(9)), Owner: own(), Started: at(), Ended: at(), Outcome: ledger.Outcome(str())})
	}
	return r
}

func BenchmarkEncode(b *testing.B) {
	r := records()["full"]
	b.Run("by hand", func(b *testing.B) {
		for b.Loop() {
			if _, err := Encode(&r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		for b.Loop() {
			if _, err := marshal(&r); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	r := records()["full"]
	data, err := Encode(&r)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := Decode(r.ID, r.Version, data); err != nil {
			b.Fatal(err)
		}
	}
}
