package ledger_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ledger-once/ledger"
)

type order struct {
	Customer struct {
		Email string `json:"email"`
		Card  string `json:"card" ledger:"redact"`
	} `json:"customer"`
	Cents   int     `json:"cents"`
	Rate    float64 `json:"rate" ledger:"exact"`
	Traced  string  `json:"traced" ledger:"ignore"`
	Ordered string  `json:"ordered"`
}

// Fields that policies and tags treat in their own way; both say the same.
func TestFields(t *testing.T) {
	base := `{"customer":{"email":"a@x","card":"4111"},"cents":4200,"rate":0.1,"traced":"t1","ordered":"monday"}`
	rules := ledger.Policy{Ignore: []string{"traced"}, Redact: []string{"customer.card"}, Exact: []string{"rate"}}
	for _, typed := range []bool{false, true} {
		policy := rules
		if typed {
			policy = ledger.Policy{}
		}
		m := ledger.NewMemory()
		g := newGuard(t, m, withPolicy(policy))
		call := func(old, new string) ledger.Call {
			text := strings.Replace(base, old, new, 1)
			if !typed {
				return ledger.Call{Tool: "buy", Args: json.RawMessage(text)}
			}
			var o order
			if err := json.Unmarshal([]byte(text), &o); err != nil {
				t.Fatal(err)
			}
			return ledger.Call{Tool: "buy", Args: o}
		}
		n := &counter{}
		_, err := ledger.Do(t.Context(), g, call("", ""), n.run)
		wantErr(t, err)
		r := stored(t, m, g, call("", ""))
		if args := string(r.Args); strings.Contains(args, "4111") || !strings.Contains(args, "a@x") || r.ArgsDigest == "" {
			t.Errorf("typed %v: stored %s", typed, args)
		}
		for _, c := range []struct {
			what, old, new string
			same           bool
		}{
			{"ignored", "t1", "t2", true},
			{"redacted", "4111", "4242", false},
			{"exact", "0.1,", "0.1000000001,", false},
			{"a float that drifts", "4200", "4200.0000000001", !typed},
			{"another", "monday", "sunday", false},
		} {
			if typed && c.what == "a float that drifts" {
				continue // an int has no drift
			}
			_, err := ledger.Do(t.Context(), g, call(c.old, c.new), n.run)
			if (err != nil) != c.same {
				t.Errorf("typed %v, %s: %v; the same call: want %v", typed, c.what, err, c.same)
			}
		}
	}
}

// The same key with other arguments is visible, and with Strict refused.
func TestKeyReused(t *testing.T) {
	for _, strict := range []bool{false, true} {
		m, n := ledger.NewMemory(), &counter{}
		policy := ledger.Policy{Strict: strict, Replay: true, Ignore: []string{"at"}}
		g, other := newGuard(t, m.Session(), withPolicy(policy)), newGuard(t, m.Session(), withPolicy(policy))
		call := func(args string) ledger.Call {
			return ledger.Call{Tool: "send_mail", Key: "welcome-7", Args: json.RawMessage(args)}
		}
		var told []*ledger.BlockedError
		hooked := newGuard(t, m.Session(), &ledger.Options{Default: policy, OnBlock: func(b *ledger.BlockedError) { told = append(told, b) }})
		_, err := ledger.Do(t.Context(), g, call(`{"to":"ann","at":1}`), n.run)
		wantErr(t, err)
		for _, g := range []*ledger.Guard{g, g, other, hooked} {
			res, err := ledger.Do(t.Context(), g, call(`{"to":"ann","at":2}`), n.run) // what is ignored does not differ
			if err != nil || !res.Replayed {
				t.Errorf("strict %v: %+v, %v", strict, res, err)
			}
			res, err = ledger.Do(t.Context(), g, call(`{"to":"bob","at":1}`), n.run)
			if strict {
				if b := blocked(t, err, ledger.ErrKeyReused); !b.ArgsDiffer || !strings.Contains(b.Error(), "differ") {
					t.Errorf("%+v", b)
				}
			} else if err != nil || !res.Replayed {
				t.Errorf("not strict: %+v, %v", res, err)
			}
		}
		if len(told) != 2 || told[0].ArgsDiffer || !told[1].ArgsDiffer {
			t.Errorf("strict %v: OnBlock was told of %+v", strict, told)
		}
		wantCount(t, "effects", n.count(), 1)
	}
	// Without Replay the mismatch is on the error.
	g, n := newGuard(t, ledger.NewMemory(), nil), &counter{}
	_, err := ledger.Do(t.Context(), g, ledger.Call{Tool: "t", Key: "k", Args: 1}, n.run)
	wantErr(t, err)
	_, err = ledger.Do(t.Context(), g, ledger.Call{Tool: "t", Key: "k", Args: 2}, n.run)
	if b := blocked(t, err, ledger.ErrDuplicate); !b.ArgsDiffer {
		t.Error("the arguments differ, and nobody says so")
	}
}

// Keyed fingerprints: other records under another key, the same under the same.
func TestFingerprintKey(t *testing.T) {
	m, n := ledger.NewMemory(), &counter{}
	ids := map[string]bool{}
	for _, key := range [][]byte{nil, []byte("one secret of 32 bytes, or so ..."), []byte("another secret of 32 bytes ......")} {
		for i := range 2 {
			g := newGuard(t, m.Session(), &ledger.Options{FingerprintKey: key})
			res, err := ledger.Do(t.Context(), g, charge, n.run)
			if (err == nil) != (i == 0) {
				t.Errorf("key %q, worker %d: %v", key, i, err)
			}
			ids[res.Record.ID.Fingerprint] = true
			ids[res.Record.ArgsDigest] = true
		}
	}
	wantCount(t, "effects", n.count(), 3)
	wantCount(t, "distinct fingerprints and digests", len(ids), 6)
}
