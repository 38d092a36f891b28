package powercut

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/failpoint"
	"github.com/ledger-once/ledger/sqlitestore"
)

// errTool is a tool's that may have done something.
var errTool = errors.New("the downstream did not answer")

// Serve is the worker: it makes guarded calls on a ledger, and says on standard output what its
// store acknowledges. It returns in the middle of its work, with the store open, as a power cut finds it: the
// process has to end then. When its standard input ends before, the harness is gone, and so is the process, with exit code 3.
func Serve(ctx context.Context, specText string) error {
	var s spec
	if err := json.Unmarshal([]byte(specText), &s); err != nil {
		return fmt.Errorf("powercut: the spec: %w", err)
	}
	go func() { // ends with the process
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3)
	}()
	if s.Mutant != "" {
		if err := failpoint.Enable(s.Mutant); err != nil {
			return err
		}
	}
	// Half of the work, then the store is closed, which removes its log, and opened again.
	close, err := work(ctx, s, 0, s.Ops/2)
	if err == nil {
		err = close()
	}
	if err == nil {
		_, err = work(ctx, s, s.Ops/2, s.Ops)
	}
	if err != nil {
		return fmt.Errorf("powercut: %w", err)
	}
	return (&teller{}).tell(say{Op: opEnd})
}

func work(ctx context.Context, s spec, from, to int) (close func() error, err error) {
	store, err := sqlitestore.Open(ctx, s.Path, &sqlitestore.Options{CheckpointPages: s.Checkpoint})
	if err != nil {
		return nil, err
	}
	t := &teller{Store: store}
	guard, err := ledger.New(t, &ledger.Options{
		Policies: map[string]ledger.Policy{
			"charge": {Replay: true}, "flaky": {}, "doubtful": {InDoubt: ledger.DoubtBlock}, "forgotten": {},
		},
		OnInDoubt: func(ledger.Record) {},
	})
	if err != nil {
		return nil, err
	}
	var next atomic.Int64
	next.Store(int64(from))
	var group sync.WaitGroup
	errs := make([]error, s.Callers)
	for c := range s.Callers {
		group.Go(func() {
			for errs[c] == nil {
				n := int(next.Add(1)) - 1
				if n >= to {
					return
				}
				errs[c] = operate(ctx, guard, s.Seed, n)
			}
		})
	}
	group.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return func() error {
		closing, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		return errors.Join(guard.Close(closing), store.Close())
	}, nil
}

// operate makes the nth call, in a way that the seed chooses.
func operate(ctx context.Context, g *ledger.Guard, seed uint64, n int) error {
	r := rand.New(rand.NewPCG(seed, uint64(n)))
	call := ledger.Call{Key: fmt.Sprintf("call-%d", n), Args: map[string]int{"n": n}}
	value := fmt.Sprintf("result %d %s", n, strings.Repeat("x", r.IntN(100)))
	if r.IntN(8) == 0 {
		value += strings.Repeat("long ", r.IntN(4000)) // over several pages
	}
	do := func(result error) error {
		_, err := ledger.Do(ctx, g, call, func(context.Context) (string, error) { return value, result })
		return err
	}
	var steps []error // what the tool returns, time by time
	switch r.IntN(8) {
	case 0:
		call.Tool, steps = "flaky", []error{ledger.NotDone(errTool), ledger.NotDone(errTool), nil}
	case 1:
		call.Tool, steps = "doubtful", []error{errTool}
	case 2:
		call.Tool, steps = "forgotten", []error{nil}
		if err := do(nil); err != nil {
			return err
		}
		if err := g.Retry(ctx, call); err != nil {
			return err
		}
		if r.IntN(2) == 0 { // it stays forgotten
			return nil
		}
	default:
		call.Tool, steps = "charge", []error{nil}
		if r.IntN(4) == 0 {
			steps = append(steps, nil) // a duplicate, which writes nothing
		}
	}
	for _, want := range steps {
		if err := do(want); want == nil && err != nil || want != nil && !errors.Is(err, errTool) {
			return fmt.Errorf("call %d of %s: %w", n, call.Tool, err)
		}
	}
	return nil
}

// A teller says on standard output what its store is asked for and what it acknowledges, with one write(2) each.
type teller struct{ *sqlitestore.Store }

func (t *teller) tell(s say) error {
	line, err := json.Marshal(s)
	if err == nil {
		_, err = os.Stdout.Write(append(line, '\n'))
	}
	return err
}

// write tells of a write, before it and, if it was acknowledged, after it.
func (t *teller) write(s *say, do func() (bool, error)) error {
	asked := *s
	asked.Asked = true
	if err := t.tell(asked); err != nil {
		return err
	}
	done, err := do()
	if err == nil && done {
		err = t.tell(*s)
	}
	return err
}

// Claim implements ledger.Store.
func (t *teller) Claim(ctx context.Context, c ledger.Claim) (stands ledger.Record, won bool, err error) {
	s := say{Op: opClaim, ID: c.Next.ID.String(), Nonce: c.Next.Nonce}
	err = t.write(&s, func() (bool, error) {
		stands, won, err = t.Store.Claim(ctx, c)
		s.At = int64(stands.Fence)
		return won, err
	})
	return stands, won, err
}

// Finish implements ledger.Store.
func (t *teller) Finish(ctx context.Context, done ledger.Record) error {
	s := say{Op: opFinish, ID: done.ID.String(), Nonce: done.Nonce, At: int64(done.Fence), State: string(done.State), Result: string(done.Result)}
	if done.State == ledger.StateNone {
		s.Op = opRemove
	}
	return t.write(&s, func() (bool, error) { return true, t.Store.Finish(ctx, done) })
}

// Delete implements ledger.Store.
func (t *teller) Delete(ctx context.Context, id ledger.ID, seen ledger.Version) error {
	s := say{Op: opRemove, ID: id.String(), At: int64(seen)}
	return t.write(&s, func() (bool, error) { return true, t.Store.Delete(ctx, id, seen) })
}
