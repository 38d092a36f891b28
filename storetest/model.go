package storetest

import (
	"errors"
	"fmt"
	"io"
	"time"

	"pgregory.net/rapid"

	"github.com/ledger-once/ledger"
)

// modelBudget bounds how long random sequences are tried on a slow store.
const modelBudget = 8 * time.Second

func modelCases() []testCase {
	return []testCase{
		{"random operations of three owners agree with the oracle", func(e *env) {
			if _, ok := e.owner().(io.Closer); !ok {
				e.Skip("the store is no io.Closer")
			}
			start, failed, checks := time.Now(), false, 0
			rapid.Check(e.TB, func(t *rapid.T) {
				if !failed && time.Since(start) > modelBudget {
					return // but a failure is made small, and shown
				}
				checks++
				m := &machine{e: e, workflow: fmt.Sprint("check ", checks), o: oracle{map[ledger.ID]*fact{}, map[int]bool{}, map[ledger.ID]ledger.Version{}}}
				ended := false
				defer func() {
					failed = failed || !ended
					for i := range m.owners {
						m.close(i)
					}
				}()
				for i := range m.owners {
					m.open(i)
				}
				t.Repeat(map[string]func(*rapid.T){
					"": m.check, "claim": m.claim, "claim as seen": m.claimSeen, "claim again": m.claimAgain,
					"finish": m.finish, "finish the last": m.finishLast, "delete": m.delete, "tally": m.tally, "restart": m.restart,
				})
				ended = true
			})
		}},
	}
}

// machine runs one random sequence against store and oracle.
type machine struct {
	e        *env
	workflow string
	o        oracle
	opened   int
	owners   [3]struct {
		s      ledger.Store
		number int
	}
	claims   []ledger.Claim // all that were sent
	grants   []ledger.Record
	versions []ledger.Version
}

func (m *machine) open(i int) {
	m.opened++
	m.owners[i].s, m.owners[i].number = m.e.open(m.e.TB, m.e.dir), m.opened
	m.o.alive[m.opened] = true
}

func (m *machine) close(i int) {
	if c, ok := m.owners[i].s.(io.Closer); ok {
		_ = c.Close()
	}
	m.o.alive[m.owners[i].number] = false
}

func (m *machine) restart(t *rapid.T) {
	i := m.owner(t)
	m.close(i)
	m.open(i)
}

func (m *machine) owner(t *rapid.T) int { return rapid.IntRange(0, 2).Draw(t, "owner") }

func (m *machine) id(t *rapid.T) ledger.ID {
	return idIn(m.workflow, "t", fmt.Sprint(rapid.IntRange(0, 2).Draw(t, "record")))
}

// seen is the version that stands, none, or one that was there before.
func (m *machine) seen(t *rapid.T, id ledger.ID) ledger.Version {
	var now ledger.Version
	if f := m.o.facts[id]; f != nil {
		now = f.version
	}
	return rapid.SampledFrom(append([]ledger.Version{now, now, 0}, m.versions...)).Draw(t, "seen")
}

func (m *machine) claim(t *rapid.T) {
	id := m.id(t)
	m.send(t, m.owner(t), claimOf(id, m.seen(t, id)))
}

func (m *machine) claimSeen(t *rapid.T) {
	id := m.id(t)
	c := claimOf(id, 0)
	if f := m.o.facts[id]; f != nil {
		c.Seen = f.version
	}
	c.Steal = rapid.IntRange(0, 3).Draw(t, "steal") == 0
	m.send(t, m.owner(t), c)
}

func (m *machine) claimAgain(t *rapid.T) {
	if len(m.claims) == 0 {
		t.Skip()
	}
	c := rapid.SampledFrom(m.claims).Draw(t, "claim")
	for i, o := range m.owners { // a copy comes from where the first one did
		if c.Next.Attempt == o.number {
			m.send(t, i, c)
			return
		}
	}
	t.Skip()
}

func (m *machine) send(t *rapid.T, i int, c ledger.Claim) {
	c.Next.Attempt = m.owners[i].number // says who sent it
	m.claims = append(m.claims, c)
	want, again := m.o.claims(m.owners[i].number, c)
	r, won, err := m.owners[i].s.Claim(m.e.ctx, c)
	if err != nil || won != want {
		t.Fatalf("claim of %s, seen %d, steal %t: won %t, error %v; want won %t. Returned: %s", c.Next.ID, c.Seen, c.Steal, won, err, want, brief(r))
	}
	if won && !again {
		if r.Version <= m.o.high[r.ID] {
			t.Fatalf("the granted claim has version %d; want one above %d", r.Version, m.o.high[r.ID])
		}
		m.o.claimed(m.owners[i].number, r)
		m.grants = append(m.grants, r)
		m.note(r)
	}
	if f := m.o.facts[c.Next.ID]; f == nil && r.Version != 0 || f != nil && r.Version != f.version {
		t.Fatalf("the claim returned %s; the oracle knows %+v", brief(r), f)
	}
}

// note remembers a version of a record: the next one is greater.
func (m *machine) note(r ledger.Record) {
	m.o.high[r.ID] = max(m.o.high[r.ID], r.Version)
	m.versions = append(m.versions, r.Version)
}

func (m *machine) finish(t *rapid.T) {
	if len(m.grants) == 0 {
		t.Skip()
	}
	m.end(t, rapid.SampledFrom(m.grants).Draw(t, "grant"))
}

func (m *machine) finishLast(t *rapid.T) {
	if len(m.grants) == 0 {
		t.Skip()
	}
	m.end(t, m.grants[len(m.grants)-1])
}

func (m *machine) end(t *rapid.T, done ledger.Record) {
	done.State = rapid.SampledFrom(append(finished, ledger.StateNone)).Draw(t, "state")
	done.Result = []byte(rapid.SampledFrom([]string{"1", "2"}).Draw(t, "result"))
	done.Starts = int64(done.Result[0] - '0') // so that there are several to sum up
	done.Executed = done.Starts / 2
	want, writes := m.o.finishes(done)
	err := m.owners[m.owner(t)].s.Finish(m.e.ctx, done)
	if !errors.Is(err, want) {
		t.Fatalf("finish of %s as %q with fence %d: got error %v, want %v", done.ID, done.State, done.Fence, err, want)
	}
	if !writes {
		return
	}
	if done.State == ledger.StateNone {
		delete(m.o.facts, done.ID)
		return
	}
	f := m.o.facts[done.ID]
	f.state, f.result = done.State, string(done.Result)
	r, err := m.owners[0].s.Get(m.e.ctx, done.ID)
	if err != nil || r.Version <= f.version {
		t.Fatalf("after the finish there is %s, error %v; want a version above %d", brief(r), err, f.version)
	}
	f.version = r.Version
	m.note(r)
}

func (m *machine) delete(t *rapid.T) {
	id := m.id(t)
	seen := m.seen(t, id)
	allowed := m.o.deletes(id, seen)
	err := m.owners[m.owner(t)].s.Delete(m.e.ctx, id, seen)
	for _, want := range allowed {
		if errors.Is(err, want) {
			if err == nil {
				delete(m.o.facts, id)
			}
			return
		}
	}
	t.Fatalf("delete of %s, seen %d: got error %v, want %v", id, seen, err, allowed)
}

func (m *machine) tally(t *rapid.T) {
	id := m.id(t)
	if err := m.owners[m.owner(t)].s.Tally(m.e.ctx, []ledger.Tally{{ID: id, Blocked: 1}}); err != nil {
		t.Fatalf("tally: %v", err)
	}
	if f := m.o.facts[id]; f != nil {
		f.blocked++
	}
}

// check compares all that stands with what the oracle knows.
func (m *machine) check(t *rapid.T) {
	left := len(m.o.facts)
	for r, err := range m.owners[len(m.versions)%3].s.List(m.e.ctx, ledger.Filter{Workflow: m.workflow}) {
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		left--
		f := m.o.facts[r.ID]
		if f == nil || r.State != f.state || r.Version != f.version || r.Fence != f.fence || r.Nonce != f.nonce || string(r.Result) != f.result ||
			r.Blocked != f.blocked || r.Alive != (f.running() && m.o.alive[f.owner]) {
			t.Fatalf("there is %s, blocked %d, result %q; the oracle knows %+v", brief(r), r.Blocked, r.Result, f)
		}
	}
	if left != 0 {
		t.Fatalf("%d records are missing from the list", left)
	}
	if s, ok := m.owners[len(m.versions)%3].s.(ledger.Summarizer); ok {
		if diff := m.e.summed(s, ledger.Filter{Workflow: m.workflow}); diff != "" {
			t.Fatal(diff)
		}
	}
}
