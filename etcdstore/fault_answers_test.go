package etcdstore_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
)

// A stage is a cluster, with a store on it for which nothing goes wrong.
type stage struct {
	endpoints []string
	prefix    string
	client    *clientv3.Client
	rival     *etcdstore.Store
	events    clientv3.WatchChan // of all keys
}

func newStage(t testing.TB) *stage {
	t.Helper()
	c := cluster(t, 1)
	client, err := c.Client(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	st := &stage{endpoints: c.Endpoints(), prefix: "faults", client: client}
	// One from the start, since etcd is slow to tell of what was before a watch.
	st.events = client.Watch(t.Context(), "faults", clientv3.WithPrefix())
	st.rival = st.open(t, nil, nil)
	return st
}

// open opens a store behind w.
func (st *stage) open(t testing.TB, w *wire, o *etcdstore.Options) *etcdstore.Store {
	t.Helper()
	var opts etcdstore.Options
	if o != nil {
		opts = *o
	}
	if opts.Prefix == "" {
		opts.Prefix = st.prefix
	}
	if opts.TTL == 0 {
		opts.TTL = 15 * time.Second
	}
	if opts.RequestTimeout == 0 {
		opts.RequestTimeout = etcdstore.SlowDisk
	}
	if w != nil {
		opts.DialOptions = append(opts.DialOptions, w.option())
	}
	s, err := etcdstore.Open(t.Context(), st.endpoints, &opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// history returns what was done with the keys of id after revision from, in
// order. What another ID went through meanwhile is forgotten.
func (st *stage) history(t testing.TB, id ledger.ID, from int64) []string {
	t.Helper()
	const marker = "faults-marker"
	r, err := st.client.Put(t.Context(), marker, "")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for w := range st.events {
		if w.Err() != nil {
			t.Fatal(w.Err())
		}
		for _, e := range w.Events {
			if string(e.Kv.Key) == marker {
				if e.Kv.ModRevision == r.Header.Revision {
					return all
				}
				continue
			}
			if e.Kv.ModRevision <= from {
				continue
			}
			kind, path, _ := strings.Cut(strings.TrimPrefix(string(e.Kv.Key), st.prefix+"/"), "/")
			if path != id.String() || kind == "changes" {
				continue
			}
			what := "gone"
			if e.IsModify() || e.IsCreate() {
				what = "there"
				var v struct{ State string }
				if json.Unmarshal(e.Kv.Value, &v) == nil && kind == "records" {
					what = v.State
				}
			}
			all = append(all, kind+" "+what)
		}
	}
	t.Fatal("the history could not be read")
	return nil
}

func (st *stage) revision(t testing.TB) int64 {
	t.Helper()
	r, err := st.client.Get(t.Context(), "x", clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	return r.Header.Revision
}

// leftovers are the keys of id that stand, changes apart.
func (st *stage) leftovers(t testing.TB, id ledger.ID) []string {
	t.Helper()
	r, err := st.client.Get(t.Context(), st.prefix+"/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, kv := range r.Kvs {
		if strings.Contains(string(kv.Key), id.String()) && !strings.Contains(string(kv.Key), "/changes/") {
			all = append(all, string(kv.Key))
		}
	}
	return all
}

func freshID() ledger.ID {
	return ledger.ID{Workflow: "order 42/ü", Tool: "charge_card", Fingerprint: strings.ReplaceAll(uuid.NewString(), "-", "")}
}

func claimOf(id ledger.ID, seen ledger.Version) ledger.Claim {
	c := sampleClaim(id)
	c.Seen = seen
	return c
}

// mustClaim claims for a store that has to win.
func mustClaim(t testing.TB, s ledger.Store, c ledger.Claim) ledger.Record {
	t.Helper()
	r, won, err := s.Claim(t.Context(), c)
	if err != nil || !won || r.Nonce != c.Next.Nonce || r.Version == 0 || r.Fence != r.Version || !r.Alive {
		t.Fatalf("claim: won %v, %+v, %v", won, r, err)
	}
	return r
}

func mustFinish(t testing.TB, s ledger.Store, done ledger.Record) {
	t.Helper()
	if err := s.Finish(t.Context(), done); err != nil {
		t.Fatalf("finish: %v", err)
	}
}

func mustRefuse(t testing.TB, s ledger.Store, c ledger.Claim, stands ledger.Record) {
	t.Helper()
	r, won, err := s.Claim(t.Context(), c)
	if err != nil || won || r.Version != stands.Version || r.Nonce != stands.Nonce {
		t.Fatalf("a second claim: won %v, %+v, %v; want the record of %+v", won, r, err, stands)
	}
}

func retryable(r ledger.Record) ledger.Record {
	r.State, r.Finished = ledger.StateFailed, time.Now()
	r.Error = &ledger.Failure{Message: "declined", Class: ledger.ClassNotDone}
	return r
}

// wantStored checks the record that stands.
func (st *stage) wantStored(t testing.TB, want ledger.Record) {
	t.Helper()
	got, err := st.rival.Get(t.Context(), want.ID)
	if err != nil || got.State != want.State || got.Fence != want.Fence || got.Nonce != want.Nonce || string(got.Result) != string(want.Result) {
		t.Fatalf("stored: %+v, %v; want %+v", got, err, want)
	}
}

// scenes are what a store does, with what its keys have to go through.
var scenes = []struct {
	name    string
	options etcdstore.Options
	play    func(t testing.TB, st *stage, s *etcdstore.Store, id ledger.ID)
	history string
	left    int // keys that stand after it
}{
	{
		name: "claim and finish",
		play: func(t testing.TB, st *stage, s *etcdstore.Store, id ledger.ID) {
			r := mustClaim(t, s, claimOf(id, 0))
			mustRefuse(t, st.rival, claimOf(id, 0), r)
			mustFinish(t, s, sampleDone(r))
			st.wantStored(t, sampleDone(r))
		},
		history: "records running, running there, records succeeded, running gone", left: 1,
	},
	{
		name: "with retention", options: etcdstore.Options{Retention: time.Hour},
		play: func(t testing.TB, st *stage, s *etcdstore.Store, id ledger.ID) {
			r := mustClaim(t, s, claimOf(id, 0))
			mustFinish(t, s, sampleDone(r))
			st.wantStored(t, sampleDone(r))
		},
		history: "records running, running there, records succeeded, running gone", left: 1,
	},
	{
		name: "claim of a stored record",
		play: func(t testing.TB, st *stage, s *etcdstore.Store, id ledger.ID) {
			first := mustClaim(t, st.rival, claimOf(id, 0))
			mustFinish(t, st.rival, retryable(first))
			stands, err := st.rival.Get(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			r := mustClaim(t, s, claimOf(id, stands.Version))
			mustRefuse(t, st.rival, claimOf(id, stands.Version), r)
			mustFinish(t, s, sampleDone(r))
			st.wantStored(t, sampleDone(r))
		},
		history: "records running, running there, records failed, running gone, records running, running there, records succeeded, running gone", left: 1,
	},
	{
		name: "steal",
		play: func(t testing.TB, st *stage, s *etcdstore.Store, id ledger.ID) {
			first := mustClaim(t, st.rival, claimOf(id, 0))
			mustRefuse(t, s, claimOf(id, first.Version), first)
			c := claimOf(id, first.Version)
			c.Steal = true
			r := mustClaim(t, s, c)
			if err := st.rival.Finish(t.Context(), sampleDone(first)); !errors.Is(err, ledger.ErrFenced) {
				t.Fatalf("the robbed one's finish: %v, want ErrFenced", err)
			}
			mustFinish(t, s, sampleDone(r))
			st.wantStored(t, sampleDone(r))
		},
		history: "records running, running there, records running, running there, records succeeded, running gone", left: 1,
	},
	{
		name: "removal",
		play: func(t testing.TB, st *stage, s *etcdstore.Store, id ledger.ID) {
			r := mustClaim(t, s, claimOf(id, 0))
			if err := s.Tally(t.Context(), []ledger.Tally{{ID: id, Attempts: 1, Blocked: 1}}); err != nil {
				t.Fatal(err)
			}
			r.State = ledger.StateNone
			mustFinish(t, s, r)
			mustFinish(t, s, r)
		},
		history: "records running, running there, records gone, running gone",
	},
	{
		name: "delete",
		play: func(t testing.TB, st *stage, s *etcdstore.Store, id ledger.ID) {
			r := mustClaim(t, st.rival, claimOf(id, 0))
			if err := s.Delete(t.Context(), id, r.Version); !errors.Is(err, ledger.ErrRunning) {
				t.Fatalf("delete of a running record: %v", err)
			}
			mustFinish(t, st.rival, sampleDone(r))
			stands, err := st.rival.Get(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Delete(t.Context(), id, stands.Version); err != nil && !errors.Is(err, ledger.ErrNotFound) {
				t.Fatalf("delete: %v", err)
			}
		},
		history: "records running, running there, records succeeded, running gone, records gone",
	},
	{
		name: "tally",
		play: func(t testing.TB, st *stage, s *etcdstore.Store, id ledger.ID) {
			r := mustClaim(t, st.rival, claimOf(id, 0))
			mustFinish(t, st.rival, sampleDone(r))
			counter := id
			counter.Workflow, counter.Fingerprint = id.Fingerprint, ""
			for n := range 3 {
				for _, by := range []*etcdstore.Store{s, st.rival} {
					if err := by.Tally(t.Context(), []ledger.Tally{{ID: id, Attempts: 1, Blocked: int64(n)}, {ID: counter, Attempts: 2, Executed: 1}}); err != nil {
						t.Fatal(err)
					}
				}
			}
			for of, want := range map[ledger.ID][3]int64{id: {r.Starts + 6, 1, 6}, counter: {12, 6, 0}} {
				got, err := s.Get(t.Context(), of)
				if err != nil || got.Attempts != want[0] || got.Executed != want[1] || got.Blocked != want[2] {
					t.Fatalf("counts of %s: %d, %d, %d, %v; want %v", of, got.Attempts, got.Executed, got.Blocked, err, want)
				}
			}
			if err := s.Delete(t.Context(), counter, 0); err != nil && !errors.Is(err, ledger.ErrNotFound) {
				t.Fatal(err)
			}
		},
		history: "records running, running there, records succeeded, running gone", left: 3,
	},
}

// TestFaultLostMessages loses each message of each thing a store does, one at a
// time, on the way there and on the way back.
func TestFaultLostMessages(t *testing.T) {
	st := newStage(t)
	for _, sc := range scenes {
		t.Run(sc.name, func(t *testing.T) {
			// run plays the scene, and returns how many requests that took.
			run := func(name string, do fate) (requests int) {
				t.Run(name, func(t *testing.T) {
					var w wire
					s := st.open(t, &w, &sc.options)
					id, from := freshID(), st.revision(t)
					w.set(do)
					sc.play(t, st, s, id)
					if err := s.Close(); err != nil {
						t.Fatalf("close: %v", err)
					}
					requests = w.requests()
					if got := strings.Join(st.history(t, id, from), ", "); got != sc.history {
						t.Errorf("the keys went through %s; want %s", got, sc.history)
					}
					if left := st.leftovers(t, id); len(left) != sc.left {
						t.Errorf("what is left is %q; want %d keys", left, sc.left)
					}
					if all, err := st.rival.Sessions(t.Context()); err != nil || len(all) > 1 {
						t.Errorf("sessions %+v, %v; want the rival's at most", all, err)
					}
				})
				return requests
			}
			each := func(name string, do fate) {
				for n := 0; !t.Failed() && run(fmt.Sprintf("%s %d", name, n), only(n, do)) > n; n++ {
				}
			}
			for _, name := range answerNames(sc.name == scenes[0].name) {
				each("answer "+name, loseAnswer(ambiguousAnswers[name]))
				each("request "+name, loseRequest(ambiguousAnswers[name]))
			}
			each("twice", twice)
			lost := ambiguousAnswers["unavailable"]
			run("every third answer", everyThird(loseAnswer(lost)))
			run("every third request", everyThird(loseRequest(lost)))
			run("every third twice", everyThird(twice))
		})
	}
}

// answerNames are the names of the ambiguous answers; unless all are wanted one, to save time.
func answerNames(all bool) []string {
	if !all || testing.Short() {
		return []string{"unavailable"}
	}
	var names []string
	for name := range ambiguousAnswers {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
