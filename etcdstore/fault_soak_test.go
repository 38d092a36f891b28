package etcdstore_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
)

var (
	soakSeed = flag.Uint64("fault.seed", 0, "seed of the soak test; 0: another one each time")
	soakFor  = flag.Duration("fault.for", 0, "how long the soak test goes on; 0: 3s, or 1s with -short")
)

// A dice is a source of chance for many.
type dice struct {
	mu  sync.Mutex
	rng *rand.Rand
}

func newDice(t testing.TB) *dice {
	seed := *soakSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("repeat with: go test ./etcdstore -run '^%s$' -fault.seed=%d", t.Name(), seed)
	return &dice{rng: rand.New(rand.NewPCG(seed, 0))}
}

func (d *dice) n(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rng.IntN(n)
}

func (d *dice) up(to time.Duration) time.Duration { return time.Duration(d.n(int(to))) }

// storm is a fate that loses, repeats and delays a fifth of all messages. late counts
// what is delivered after the store was told that it is lost.
func (d *dice) storm(late *sync.WaitGroup) fate {
	lost := make([]error, 0, len(ambiguousAnswers))
	for _, name := range answerNames(true) {
		if name != "no space" { // which a store does not wait for the end of, everywhere
			lost = append(lost, ambiguousAnswers[name])
		}
	}
	return func(n int, r *rpc, deliver func() error) error {
		err := lost[d.n(len(lost))]
		switch d.n(25) {
		case 0:
			return loseAnswer(err)(n, r, deliver)
		case 1:
			return err
		case 2:
			return delay(d.up(20*time.Millisecond))(n, r, deliver)
		case 3:
			return twice(n, r, deliver)
		case 4:
			if _, ok := r.req.(*pb.TxnRequest); ok {
				wait := d.up(200 * time.Millisecond)
				late.Go(func() {
					time.Sleep(wait)
					_ = r.again()
				})
				return err
			}
		}
		return deliver()
	}
}

// A model is what is known of one ID by those who use it.
type model struct {
	t      *testing.T
	mu     sync.Mutex
	id     ledger.ID
	holder string         // the nonce of the claim that was granted and is not being finished
	fence  ledger.Version // the greatest that was granted
	acked  ledger.Version // the fence of the last success that was acknowledged and not removed since
	grants int
}

func (m *model) granted(r ledger.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.holder != "" {
		m.t.Errorf("%s: claim %s was granted with fence %d while %s holds one", m.id, r.Nonce, r.Fence, m.holder)
	}
	if r.Fence <= m.fence {
		m.t.Errorf("%s: a claim was granted with fence %d after one with %d", m.id, r.Fence, m.fence)
	}
	m.holder, m.fence = r.Nonce, r.Fence
	m.grants++
}

// releasing is called before a finish is sent: from then on others may be granted.
func (m *model) releasing() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.holder = ""
}

// finished is called when a finish was acknowledged.
func (m *model) finished(done ledger.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if done.Fence < m.fence {
		return // somebody was granted since
	}
	m.acked = 0
	if done.State == ledger.StateSucceeded {
		m.acked = done.Fence
	}
}

// read is told of a record that was read after acked was known.
func (m *model) ackedNow() ledger.Version {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.acked
}

// enoughGrants is how many claims must be granted for the soak to show anything.
const enoughGrants = 20

func granted(models []*model) int {
	n := 0
	for _, m := range models {
		m.mu.Lock()
		n += m.grants
		m.mu.Unlock()
	}
	return n
}

// TestFaultSoak has many callers of several stores claim, finish and remove a few
// records while messages are lost, repeated, delayed and delivered long after.
func TestFaultSoak(t *testing.T) {
	st := newStage(t)
	d := newDice(t)
	length := *soakFor
	switch {
	case length > 0:
	case testing.Short():
		length = time.Second
	default:
		length = 3 * time.Second
	}
	var models []*model
	for range 4 {
		models = append(models, &model{t: t, id: freshID()})
	}
	var late sync.WaitGroup
	var wires [3]wire
	var stores []*etcdstore.Store
	for i := range wires {
		// What a lost session held is free after its TTL.
		stores = append(stores, st.open(t, &wires[i], &etcdstore.Options{TTL: 5 * time.Second}))
		wires[i].set(d.storm(&late))
	}
	began := time.Now()
	over := func() bool { // a busy machine takes longer to show as much
		return t.Failed() || time.Since(began) > length && (granted(models) >= enoughGrants || time.Since(began) > time.Minute)
	}
	var callers sync.WaitGroup
	for i := range 24 {
		callers.Go(func() {
			for !over() {
				soakOne(t, stores[i%len(stores)], models[d.n(len(models))], d)
			}
		})
	}
	callers.Go(func() {
		for !over() {
			select {
			case <-time.After(d.up(400 * time.Millisecond)):
				etcdstore.LoseSessions(stores[d.n(len(stores))])
			case <-t.Context().Done():
			}
		}
	})
	callers.Wait()
	late.Wait()
	for i := range wires {
		wires[i].set(nil)
	}
	for _, m := range models {
		r, err := st.rival.Get(t.Context(), m.id)
		switch {
		case err != nil && !errors.Is(err, ledger.ErrNotFound):
			t.Error(err)
		case m.acked != 0 && (err != nil || r.State != ledger.StateSucceeded || r.Fence != m.acked):
			t.Errorf("%s: an acknowledged success with fence %d is lost: %+v, %v", m.id, m.acked, r, err)
		case r.State == ledger.StateRunning:
			t.Errorf("%s: %+v is left running", m.id, r)
		}
		if left := st.leftovers(t, m.id); len(left) > 1 {
			t.Errorf("%q are left", left)
		}
	}
	grants := granted(models)
	t.Logf("%d claims were granted", grants)
	if grants < enoughGrants {
		t.Errorf("%d claims were granted within a minute; want %d", grants, enoughGrants)
	}
}

// soakOne is what one caller does with one record, as a guard would.
func soakOne(t *testing.T, s *etcdstore.Store, m *model, d *dice) {
	acked := m.ackedNow()
	r, err := s.Get(t.Context(), m.id)
	switch {
	case err != nil && !errors.Is(err, ledger.ErrNotFound):
		t.Errorf("get: %v", err)
		return
	case acked != 0 && err == nil && r.Fence < acked:
		t.Errorf("%s: read a record with fence %d after a success with %d was acknowledged", m.id, r.Fence, acked)
	}
	if r.Alive {
		time.Sleep(d.up(2 * time.Millisecond))
		return
	}
	c := claimOf(m.id, r.Version)
	c.Next.Nonce = uuid.NewString()
	ctx, cancel := t.Context(), context.CancelFunc(func() {})
	impatient := d.n(4) == 0
	if impatient {
		ctx, cancel = context.WithTimeout(ctx, d.up(10*time.Millisecond))
	}
	claimed, won, err := s.Claim(ctx, c)
	cancel()
	for tries := 0; err != nil; tries++ {
		if !impatient || tries > 0 {
			t.Errorf("claim: %v", err)
			return
		}
		if errors.Is(err, ledger.ErrNotWritten) {
			return
		}
		// It may have been granted, or may still be: it is settled, and given back.
		claimed, won, err = s.Claim(t.Context(), c)
	}
	if !won {
		return
	}
	m.granted(claimed)
	time.Sleep(d.up(3 * time.Millisecond))
	m.releasing()
	done := claimed
	switch n := d.n(10); {
	case n < 2 || impatient:
		done.State = ledger.StateNone
	case n < 5:
		done = retryable(done)
	default:
		done = sampleDone(done)
		done.Result = []byte(fmt.Sprint(claimed.Fence))
	}
	switch err := s.Finish(t.Context(), done); {
	case err == nil:
		m.finished(done)
	case !errors.Is(err, ledger.ErrFenced):
		t.Errorf("finish: %v", err)
	default:
		// A copy of it was written, and another has claimed since. It must not stand as if nothing was.
		if r, err := s.Get(t.Context(), m.id); err == nil && r.Fence <= done.Fence {
			t.Errorf("%s: the finish with fence %d is fenced by %+v", m.id, done.Fence, r)
		}
	}
}
