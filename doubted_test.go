package ledger_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/ledger-once/ledger"
)

// honouring is a downstream that honours tokens: of each it has one effect, and
// answers it again. What it refused it remembers as well, as many do.
type honouring struct {
	answers map[string]error
	effects int
	tokens  []string
}

func (h *honouring) do(token string) error {
	if _, known := h.answers[token]; !known {
		h.effects++
		h.refuse(token, nil)
	}
	h.tokens = append(h.tokens, token)
	return h.answers[token]
}

func (h *honouring) refuse(token string, err error) {
	if h.answers == nil {
		h.answers = map[string]error{}
	}
	h.answers[token] = err
}

// acts, timesOut and panics are tools that use it.
func (h *honouring) acts(ctx context.Context) (int, error) { return h.effects, h.do(ledger.Token(ctx)) }

func (h *honouring) timesOut(ctx context.Context) (int, error) {
	return 0, errors.Join(errors.New("timeout"), h.do(ledger.Token(ctx)))
}

func (h *honouring) panics(ctx context.Context) (int, error) {
	_ = h.do(ledger.Token(ctx))
	panic("after its effect")
}

func refused(context.Context) (int, error) {
	return 0, ledger.NotDone(errors.New("connection refused"))
}

// A NotDone after a doubt does not end the token, however the doubt came about
// and whatever the policy: a downstream that honours it has one effect.
func TestNotDoneAfterDoubt(t *testing.T) {
	for what, doubt := range map[string]func(t *testing.T, h *honouring, m *ledger.Memory, g *ledger.Guard){
		"timed out": func(t *testing.T, h *honouring, _ *ledger.Memory, g *ledger.Guard) {
			if _, err := ledger.Do(t.Context(), g, charge, h.timesOut); err == nil {
				t.Error("it did not time out")
			}
		},
		"panicked": func(t *testing.T, h *honouring, _ *ledger.Memory, g *ledger.Guard) {
			defer func() {
				if recover() == nil {
					t.Error("it did not panic")
				}
			}()
			_, _ = ledger.Do(t.Context(), g, charge, h.panics)
		},
		"died": func(t *testing.T, h *honouring, m *ledger.Memory, g *ledger.Guard) {
			if err := h.do(abandon(t, m, g, charge, ledger.DoubtRetry).Token); err != nil {
				t.Error(err)
			}
		},
		"certainly not done, then timed out": func(t *testing.T, h *honouring, _ *ledger.Memory, g *ledger.Guard) {
			_, first := ledger.Do(t.Context(), g, charge, refused)
			_, second := ledger.Do(t.Context(), g, charge, h.timesOut)
			if first == nil || second == nil {
				t.Errorf("%v, %v; want two failures", first, second)
			}
		},
	} {
		t.Run(what, func(t *testing.T) {
			m, h := ledger.NewMemory(), &honouring{}
			g, other := newGuard(t, m.Session(), nil), newGuard(t, m.Session(), nil)
			doubt(t, h, m, g)
			for _, g := range []*ledger.Guard{g, other, g} {
				if _, err := ledger.Do(t.Context(), g, charge, refused); err == nil {
					t.Error("it was not refused")
				}
				if r := stored(t, m, g, charge); r.State != ledger.StateFailed || !r.Doubted || r.Token != h.tokens[0] {
					t.Errorf("%s, doubted %v, the token is kept: %v; want failed, true, true", r.State, r.Doubted, r.Token == h.tokens[0])
				}
			}
			_, err := ledger.Do(t.Context(), other, charge, h.acts)
			wantErr(t, err)
			wantCount(t, "requests", len(h.tokens), 2)
			wantCount(t, "effects", h.effects, 1)
		})
	}
}

// The same between the tries of one call.
func TestNotDoneAfterDoubtWithBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, try := &honouring{}, 0
		g := newGuard(t, ledger.NewMemory(), withPolicy(ledger.Policy{Backoff: tries(5)}))
		_, err := ledger.Do(t.Context(), g, charge, func(ctx context.Context) (int, error) {
			try++
			return []func(context.Context) (int, error){h.timesOut, refused, refused, h.acts}[try-1](ctx)
		})
		wantErr(t, err)
		wantCount(t, "tries", try, 4)
		wantCount(t, "effects", h.effects, 1)
	})
}

// A reconciliation that finds nothing does not end the doubt: the message that is still on
// its way lands under the same token as the attempt after it.
func TestNotDoneAfterReconciliation(t *testing.T) {
	m, h, a := ledger.NewMemory(), &honouring{}, &asks{verdict: ledger.DidNotHappen()}
	g, late := newGuard(t, m, withPolicy(a.policy())), ""
	_, err := ledger.Do(t.Context(), g, charge, func(ctx context.Context) (int, error) {
		late = ledger.Token(ctx)
		return 0, errTool
	})
	wantErr(t, err, errTool)
	if _, err = ledger.Do(t.Context(), g, charge, refused); err == nil || a.n != 1 {
		t.Errorf("asked %d times, then %v; want once, then refused", a.n, err)
	}
	wantErr(t, h.do(late))
	_, err = ledger.Do(t.Context(), g, charge, h.acts)
	wantErr(t, err)
	wantCount(t, "questions", a.n, 1)
	wantCount(t, "requests", len(h.tokens), 2)
	wantCount(t, "effects", h.effects, 1)
}

// The price: a downstream that remembers its refusal goes on refusing, until
// somebody asks for another run.
func TestRefusalIsRemembered(t *testing.T) {
	for what, another := range map[string]func(t *testing.T, g *ledger.Guard, h *honouring) error{
		"retry": func(t *testing.T, g *ledger.Guard, h *honouring) error {
			wantErr(t, g.Retry(t.Context(), charge))
			_, err := ledger.Do(t.Context(), g, charge, h.acts)
			return err
		},
		"force": func(t *testing.T, g *ledger.Guard, h *honouring) error {
			_, err := ledger.Force(t.Context(), g, charge, h.acts)
			return err
		},
		"resolve": func(t *testing.T, g *ledger.Guard, h *honouring) error {
			_, err := ledger.Do(t.Context(), g, charge, func(context.Context) (int, error) { return 0, errTool }) // a failed call can not be resolved
			wantErr(t, err, errTool)
			id, err := g.ID(t.Context(), charge)
			wantErr(t, err)
			_, err = g.Resolve(t.Context(), id, ledger.Resolution{As: ledger.ResolveDidNotHappen, By: "ann"})
			wantErr(t, err)
			_, err = ledger.Do(t.Context(), g, charge, h.acts)
			return err
		},
	} {
		t.Run(what, func(t *testing.T) {
			m, h := ledger.NewMemory(), &honouring{}
			g, declined := newGuard(t, m, nil), errors.New("declined")
			refuses := func(ctx context.Context) (int, error) {
				h.refuse(ledger.Token(ctx), declined)
				return 0, errTool // the answer is lost
			}
			_, err := ledger.Do(t.Context(), g, charge, refuses)
			wantErr(t, err, errTool)
			for range 3 {
				_, err := ledger.Do(t.Context(), g, charge, func(ctx context.Context) (int, error) { return 0, ledger.NotDone(h.do(ledger.Token(ctx))) })
				wantErr(t, err, declined)
			}
			wantErr(t, another(t, g, h))
			wantCount(t, "effects", h.effects, 1)
			if r := stored(t, m, g, charge); r.State != ledger.StateSucceeded || r.Doubted || r.Token == h.tokens[0] {
				t.Errorf("%s, doubted %v, the token is kept: %v; want another run's success", r.State, r.Doubted, r.Token == h.tokens[0])
			}
		})
	}
}
