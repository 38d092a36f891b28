package ledger_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"testing"

	"github.com/ledger-once/ledger"
)

// aesSealer seals with AES-GCM.
type aesSealer struct {
	key    [32]byte
	aads   map[string]bool
	broken error
}

func (s *aesSealer) aead() cipher.AEAD {
	block, err := aes.NewCipher(s.key[:])
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return aead
}

func (s *aesSealer) Seal(plain, aad []byte) ([]byte, error) {
	if s.broken != nil {
		return nil, s.broken
	}
	if s.aads != nil {
		s.aads[string(aad)] = true
	}
	return s.aead().Seal(nil, nil, plain, aad), nil
}

func (s *aesSealer) Open(sealed, aad []byte) ([]byte, error) {
	if s.broken != nil {
		return nil, s.broken
	}
	return s.aead().Open(nil, nil, sealed, aad)
}

func newSealer() *aesSealer {
	s := &aesSealer{aads: map[string]bool{}}
	_, _ = rand.Read(s.key[:])
	return s
}

const secret = "4111 1111 1111 1111"

var secretCall = ledger.Call{Tool: "charge_card", Args: map[string]string{"card": secret}}

func returnsSecret(context.Context) (string, error) { return secret, nil }

func TestSealer(t *testing.T) {
	m, sealer := ledger.NewMemory(), newSealer()
	opts := &ledger.Options{Sealer: sealer, Default: ledger.Policy{Replay: true}}
	g, other := newGuard(t, m.Session(), opts), newGuard(t, m.Session(), opts)
	res, err := ledger.Do(t.Context(), g, secretCall, returnsSecret)
	if err != nil || res.Value != secret {
		t.Errorf("got %q, %v", res.Value, err)
	}
	r := stored(t, m, g, secretCall)
	if !r.Sealed || len(r.Args) == 0 || len(r.Result) == 0 || bytes.Contains(r.Args, []byte("4111")) || bytes.Contains(r.Result, []byte("4111")) {
		t.Errorf("stored %q, %q", r.Args, r.Result)
	}
	if len(sealer.aads) != 1 || !sealer.aads[r.ID.String()] {
		t.Errorf("sealed with %v, want the ID %s", sealer.aads, r.ID)
	}
	for what, g := range map[string]*ledger.Guard{"here": g, "another worker": other} {
		res, err := ledger.Do(t.Context(), g, secretCall, returnsSecret)
		if err != nil || !res.Replayed || res.Value != secret {
			t.Errorf("%s: got %q, %v", what, res.Value, err)
		}
	}
	for r, err := range g.History(t.Context(), ledger.Filter{}) {
		if err != nil || r.Sealed || !bytes.Contains(r.Args, []byte(secret)) || string(r.Result) != `"`+secret+`"` {
			t.Errorf("history: %s, %s, %v; want it opened", r.Args, r.Result, err)
		}
	}

	// Another key, or none: the result can not be replayed, and the call still is a duplicate.
	for what, o := range map[string]ledger.Sealer{"another key": newSealer(), "no sealer": nil} {
		g := newGuard(t, m.Session(), &ledger.Options{Sealer: o, Default: ledger.Policy{Replay: true}})
		res, err := ledger.Do(t.Context(), g, secretCall, returnsSecret)
		blocked(t, err, ledger.ErrResultOmitted)
		if res.Value != "" {
			t.Errorf("%s: got %q", what, res.Value)
		}
		for r, err := range g.History(t.Context(), ledger.Filter{}) {
			if err != nil || !r.Sealed {
				t.Errorf("%s: history: %v, sealed %v", what, err, r.Sealed)
			}
		}
	}
}

// A sealed text is bound to its record.
func TestSealedTextIsBound(t *testing.T) {
	m, sealer := ledger.NewMemory(), newSealer()
	opts := &ledger.Options{Sealer: sealer, Default: ledger.Policy{Replay: true}}
	g := newGuard(t, m.Session(), opts)
	_, err := ledger.Do(t.Context(), g, secretCall, returnsSecret)
	wantErr(t, err)
	victim := ledger.Call{Tool: "charge_card", Args: 2}
	moved := stored(t, m, g, secretCall)
	if moved.ID, err = g.ID(t.Context(), victim); err != nil {
		t.Fatal(err)
	}
	moved.State, moved.Nonce = ledger.StateRunning, "thief"
	moved, _, err = m.Claim(t.Context(), ledger.Claim{Next: moved})
	wantErr(t, err)
	moved.State = ledger.StateSucceeded
	wantErr(t, m.Finish(t.Context(), moved))
	_, err = ledger.Do(t.Context(), g, victim, returnsSecret)
	blocked(t, err, ledger.ErrResultOmitted)
}

// A Sealer that fails: before the claim nothing runs, after it the success counts.
func TestSealerFails(t *testing.T) {
	m, sealer, ran := ledger.NewMemory(), newSealer(), 0
	g := newGuard(t, m, &ledger.Options{Sealer: sealer, Default: ledger.Policy{Replay: true}})
	broken := errors.New("the key service is down")
	run := func(context.Context) (string, error) {
		ran++
		sealer.broken = broken
		return secret, nil
	}
	sealer.broken = broken
	_, err := ledger.Do(t.Context(), g, secretCall, run)
	wantErr(t, err, broken)
	wantCount(t, "runs", ran, 0)

	sealer.broken = nil
	res, err := ledger.Do(t.Context(), g, secretCall, run)
	if err != nil || res.Value != secret {
		t.Errorf("got %q, %v; want the value", res.Value, err)
	}
	sealer.broken = nil
	_, err = ledger.Do(t.Context(), g, secretCall, run)
	blocked(t, err, ledger.ErrResultOmitted)
	wantCount(t, "runs", ran, 1)
}

// Workers with and without a Sealer meet: nothing sealed is passed off as plain, nor the other way.
func TestSealerMeetsNone(t *testing.T) {
	m, sealer := ledger.NewMemory(), newSealer()
	policy := ledger.Policy{Replay: true}
	sealing, plain := newGuard(t, m.Session(), &ledger.Options{Sealer: sealer, Default: policy}), newGuard(t, m.Session(), withPolicy(policy))
	for i, c := range []struct{ first, second *ledger.Guard }{{sealing, plain}, {plain, sealing}} {
		call := ledger.Call{Tool: "charge_card", Args: i}
		_, err := ledger.Do(t.Context(), c.first, call, func(context.Context) (string, error) { return "", notDone })
		wantErr(t, err, errTool)
		_, err = ledger.Do(t.Context(), c.second, call, returnsSecret)
		wantErr(t, err)
		r := stored(t, m, c.first, call)
		if r.Sealed != (c.second == sealing) || bytes.Contains(r.Result, []byte("4111")) == r.Sealed {
			t.Errorf("%d: sealed %v, %q", i, r.Sealed, r.Result)
		}
		res, err := ledger.Do(t.Context(), c.second, call, returnsSecret)
		if err != nil || res.Value != secret || !res.Replayed {
			t.Errorf("%d: got %q, %v", i, res.Value, err)
		}
	}
	// A reconciliation or resolution by the other kind seals what is to be sealed, and only drops what it can not.
	for _, from := range []*ledger.Guard{sealing, plain} {
		for _, by := range []*ledger.Guard{sealing, plain} {
			call := ledger.Call{Tool: "charge_card", Args: []bool{from == sealing, by == sealing}}
			_, err := ledger.Do(t.Context(), from, call, func(context.Context) (string, error) { return "", errTool })
			wantErr(t, err, errTool)
			_, err = by.Resolve(t.Context(), stored(t, m, from, call).ID, ledger.Resolution{As: ledger.ResolveHappened, Result: []byte(`"4111"`), By: "ann"})
			wantErr(t, err)
			r := stored(t, m, from, call)
			if r.State != ledger.StateSucceeded || r.Sealed && bytes.Contains(r.Result, []byte("4111")) || !r.Sealed && by == sealing {
				t.Errorf("from %v by %v: %s, sealed %v, %q", from == sealing, by == sealing, r.State, r.Sealed, r.Result)
			}
			res, err := ledger.Do(t.Context(), sealing, call, returnsSecret)
			if from == sealing && by == plain {
				blocked(t, err, ledger.ErrResultOmitted)
			} else if err != nil || res.Value != "4111" {
				t.Errorf("from %v by %v: replayed %q, %v", from == sealing, by == sealing, res.Value, err)
			}
		}
	}
}
