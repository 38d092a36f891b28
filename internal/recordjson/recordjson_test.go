package recordjson

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ledger-once/ledger"
)

var update = flag.Bool("update", false, "write testdata anew")

var at = time.Date(2026, 1, 2, 3, 4, 5, 678901000, time.UTC)

func records() map[string]ledger.Record {
	id := ledger.ID{Workflow: "order-42", Tool: "charge_card", Fingerprint: "00112233445566778899aabbccddeeff"}
	full := ledger.Record{
		ID: id, Key: "order-42/charge", State: ledger.StateSucceeded, Version: 12, Fence: 11, Token: "tok", Nonce: "nonce",
		InDoubt: ledger.DoubtBlock, Attempt: 2, Spent: 1, Starts: 3, Executed: 1, Takeovers: 1,
		Owner: ledger.Owner{Session: "s2", Host: "h", PID: 7, Caller: "agent-A"},
		Args:  []byte(`{"amount":99,"note":"<b>"}`), ArgsDigest: "ffff", Result: []byte{0xff, 0x00}, Sealed: true,
		Error: &ledger.Failure{Message: "card declined", Class: ledger.ClassPermanent}, Settled: &ledger.Settlement{How: "happened", By: "ops", Reason: "seen in Stripe", At: at},
		Created: at, Started: at.Add(time.Second), Finished: at.Add(2 * time.Second),
		Log: []ledger.Attempt{{Fence: 9, Owner: ledger.Owner{Session: "s1", Host: "h", PID: 6}, Started: at, Outcome: ledger.OutcomeLost}},
	}
	return map[string]ledger.Record{
		"full":    full,
		"running": {ID: id, State: ledger.StateRunning, Version: 5, Fence: 5, Token: "t", Nonce: "n", Attempt: 1, Starts: 1, Started: at, Created: at},
		"empty":   {ID: id, State: ledger.StateSucceeded, Version: 6, Fence: 5, Result: []byte{}},
		"omitted": {ID: id, State: ledger.StateSucceeded, Version: 6, Fence: 5, ResultOmitted: true},
		"doubted": {ID: id, State: ledger.StateFailed, Version: 6, Fence: 5, Token: "t", Attempt: 2, Starts: 2, Error: &ledger.Failure{Message: "connection refused", Class: ledger.ClassNotDone}, Finished: at, Doubted: true},
	}
}

func TestGolden(t *testing.T) {
	for name, want := range records() {
		t.Run(name, func(t *testing.T) {
			data, err := Encode(&want)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".json")
			if *update {
				if err := os.WriteFile(file, data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			golden, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(golden), string(data)); diff != "" {
				t.Errorf("the stored form changed; it is append-only (-want +got):\n%s", diff)
			}
			got, err := Decode(want.ID, want.Version, golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeRefuses(t *testing.T) {
	id := ledger.ID{Workflow: "w", Tool: "t", Fingerprint: "f"}
	for name, data := range map[string]string{
		"newer":             `{"v":2,"state":"running"}`,
		"newer, other form": `{"v":2,"state":{"name":"running"}}`,
	} {
		if _, err := Decode(id, 1, []byte(data)); !errors.Is(err, ErrNewer) {
			t.Errorf("%s: got %v, want ErrNewer", name, err)
		}
	}
	for name, data := range map[string]string{"not JSON": "x", "foreign": `{"a":1}`, "empty": ""} {
		if _, err := Decode(id, 1, []byte(data)); err == nil || errors.Is(err, ErrNewer) {
			t.Errorf("%s: got %v, want another error", name, err)
		}
	}
}

// TestDecodeLenient: what somebody's program did to a record costs no more than what it changed.
func TestDecodeLenient(t *testing.T) {
	id := ledger.ID{Workflow: "w", Tool: "t", Fingerprint: "f"}
	for name, tt := range map[string]struct {
		data string
		want ledger.Record
	}{
		"a name twice":      {`{"v":1,"state":"failed","key":"a","key":"b"}`, ledger.Record{ID: id, Version: 1, State: ledger.StateFailed, Key: "b"}},
		"an unknown name":   {`{"v":1,"state":"failed","colour":{"red":[1]}}`, ledger.Record{ID: id, Version: 1, State: ledger.StateFailed}},
		"null":              {`{"v":1,"state":"failed","args":null,"error":null,"log":null}`, ledger.Record{ID: id, Version: 1, State: ledger.StateFailed}},
		"no UTF-8":          {"{\"v\":1,\"state\":\"failed\",\"key\":\"a\xff\",\"args\":\"b\xff\"}", ledger.Record{ID: id, Version: 1, State: ledger.StateFailed, Key: "a\uFFFD", Args: []byte("b\uFFFD")}},
		"spaces":            {"{ \"v\" : 1 ,\n\"state\":\"failed\" }\n", ledger.Record{ID: id, Version: 1, State: ledger.StateFailed}},
		"escapes":           {`{"v":1,"state":"failed","args":"{\"a\":\"\u00e9\ud83d\ude00\"}"}`, ledger.Record{ID: id, Version: 1, State: ledger.StateFailed, Args: []byte(`{"a":"é😀"}`)}},
		"empty text":        {`{"v":1,"state":"failed","args":"","result":{"base64":""}}`, ledger.Record{ID: id, Version: 1, State: ledger.StateFailed, Args: []byte{}, Result: []byte{}}},
		"an old clock, UTC": {`{"v":1,"state":"failed","created":"2026-01-02T05:04:05.678901+02:00"}`, ledger.Record{ID: id, Version: 1, State: ledger.StateFailed, Created: at.Truncate(time.Microsecond)}},
	} {
		got, err := Decode(id, 1, []byte(tt.data))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
