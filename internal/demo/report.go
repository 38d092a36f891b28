package demo

import (
	"fmt"
	"strings"
	"time"

	"github.com/ledger-once/ledger"
)

// A Report is what a run came to. It is printed, and is the object that --json gives.
type Report struct {
	OK        bool    `json:"ok"` // with Ledger, every action happened exactly once and none is in doubt
	Calls     int     `json:"calls"`
	Workflows int     `json:"workflows"`
	Workers   int     `json:"workers"`
	Tools     []Row   `json:"tools"` // with actions
	Total     Row     `json:"total"`
	Reads     []Row   `json:"reads"` // tools that only read: each call is meant
	Without   Figures `json:"without"`
	With      Figures `json:"with"`
	Stats     Stats   `json:"guard"` // what the store says of the pass with Ledger

	Store      StoreInfo  `json:"store"`
	Recoveries []Recovery `json:"recoveries"`     // calls that were in doubt and were settled, by the store
	Kept       string     `json:"kept,omitempty"` // the data directory, if it was to be kept
	Left       string     `json:"left,omitempty"` // URL of the records, if they are still there
}

// The kinds of stores.
const (
	kindEmbedded = "embedded etcd"
	kindEtcd     = "etcd"
	kindSQLite   = "sqlite"
)

// StoreInfo says where the records of the pass with Ledger were kept.
type StoreInfo struct {
	Kind         string  `json:"kind"`                    // embedded etcd, etcd or sqlite
	At           string  `json:"at"`                      // without credentials
	LeaseSeconds float64 `json:"lease_seconds,omitempty"` // asked for; 0: death shows at once
}

func (i StoreInfo) String() string {
	switch i.Kind {
	case kindEmbedded:
		return "a real etcd inside this process, at " + i.At + "; leases of " + i.lease()
	case kindEtcd:
		return i.At + "; leases of " + i.lease()
	}
	return "the SQLite file " + i.At
}

func (i StoreInfo) lease() string {
	return time.Duration(i.LeaseSeconds * float64(time.Second)).String()
}

func (i StoreInfo) short() string {
	if i.Kind == kindSQLite {
		return "SQLite"
	}
	return "etcd"
}

// A Row is one line of the table.
type Row struct {
	Tool      string `json:"tool"`
	Intended  int    `json:"intended"`  // actions that somebody wanted
	Without   int    `json:"without"`   // done without Ledger, by the service's journal
	With      int    `json:"with"`      // done with Ledger, by the service's journal
	Blocked   int    `json:"blocked"`   // calls with Ledger that were told so
	Replayed  int    `json:"replayed"`  // calls with Ledger answered with a recorded result, the tool not started
	Recovered int    `json:"recovered"` // calls that were in doubt and were settled, by the store
}

// Figures of one pass.
type Figures struct {
	Delivered int      `json:"delivered"` // calls, those delivered again too
	Again     int      `json:"again"`     // calls delivered again, for their worker died
	Killed    []string `json:"killed"`    // workers
	Effects   int      `json:"effects"`
	Deduped   int      `json:"deduped"` // requests that the service recognised by their idempotency key
	Failed    int      `json:"failed"`  // calls that got an error
	Twice     []string `json:"twice"`   // actions that happened more than once
	Missing   []string `json:"missing"` // actions that did not happen
	InDoubt   int      `json:"in_doubt"`
	Seconds   float64  `json:"seconds"`
}

// Stats are the guard's.
type Stats struct {
	Actions  int64 `json:"actions"`
	Attempts int64 `json:"attempts"`
	Executed int64 `json:"executed"`
	Blocked  int64 `json:"blocked"`
	Failed   int64 `json:"failed"`
	InDoubt  int64 `json:"in_doubt"`
}

func (r *Report) fill(s *script, without, with *pass) {
	r.Without, r.With = figures(s, without), figures(s, with)
	r.Stats = statsOf(with.stats)
	r.Recoveries = append([]Recovery{}, with.recoveries...)
	intended := map[string]int{}
	for _, a := range s.actions {
		intended[a.Tool]++
	}
	r.Total.Tool = "total"
	for _, tool := range s.tools() {
		row := Row{
			Tool: tool, Intended: intended[tool],
			Without: without.done(tool), With: with.done(tool),
			Blocked: with.outcomes[tool][outcomeBlocked], Replayed: with.outcomes[tool][outcomeReplayed], Recovered: with.settled[tool],
		}
		if row.Intended == 0 {
			row.Intended, row.Without, row.With = s.callsOf(tool), without.reads, with.reads
			r.Reads = append(r.Reads, row)
			continue
		}
		r.Tools = append(r.Tools, row)
		r.Total.add(row)
	}
	r.OK = len(r.With.Twice) == 0 && len(r.With.Missing) == 0 && r.With.InDoubt == 0
}

func (t *Row) add(r Row) {
	t.Intended += r.Intended
	t.Without += r.Without
	t.With += r.With
	t.Blocked += r.Blocked
	t.Replayed += r.Replayed
	t.Recovered += r.Recovered
}

// done counts what the service did for a tool.
func (p *pass) done(tool string) int {
	n := 0
	for _, e := range p.effects {
		if e.Tool == tool {
			n++
		}
	}
	return n
}

func figures(s *script, p *pass) Figures {
	f := Figures{
		Delivered: p.delivered, Again: p.again, Effects: len(p.effects), Deduped: p.deduped, Seconds: p.took.Seconds(),
		Killed: []string{}, Twice: []string{}, Missing: []string{},
	}
	for _, w := range p.killed {
		f.Killed = append(f.Killed, w.name)
	}
	for _, outcomes := range p.outcomes {
		f.Failed += outcomes[outcomeFailed]
	}
	for _, n := range p.doubt {
		f.InDoubt += n
	}
	times := map[string]int{}
	for _, e := range p.effects {
		times[s.meaning[e.Call]]++
	}
	for _, a := range s.actions {
		switch n := times[a.Name]; {
		case n > 1:
			f.Twice = append(f.Twice, a.Name)
		case n == 0:
			f.Missing = append(f.Missing, a.Name)
		}
	}
	if times[""] > 0 { // an effect of a call that means no action: unreachable unless program bug
		f.Twice = append(f.Twice, "something that nobody wanted")
	}
	return f
}

// Print writes the table, what it shows, and what it does not.
func (r *Report) Print(p *Printer) {
	p.Title("What the service really did")
	p.write("\n" + r.Table(p) + "\n")
	p.Faint("blocked: a duplicate was told so; replayed: it got the recorded result; recovered: its worker died or got no answer, and it was settled.%s", r.reads())
	r.printRecoveries(p)
	p.write("\n")
	for _, name := range r.With.Twice {
		p.Bad("with Ledger, happened more than once: %s", name)
	}
	for _, name := range r.With.Missing {
		p.Bad("with Ledger, did not happen: %s", name)
	}
	if r.With.InDoubt > 0 {
		p.Bad("with Ledger, still in doubt: %d", r.With.InDoubt)
	}
	p.Text("%s", r.conclusion())
	p.write("\n")
	if r.Kept != "" {
		p.Text("Kept: the service's journals, in %s", r.Kept)
	}
	if r.Left != "" {
		p.Text("Ledger's records are in %s", r.Left)
	}
	p.Text("Again: go run ./cmd/ledger demo (--json: figures; --keep DIR: files; --store: on SQLite, or your own etcd)")
}

// printRecoveries tells what the store says of the calls that were in doubt.
func (r *Report) printRecoveries(p *Printer) {
	if len(r.Recoveries) == 0 {
		return
	}
	p.Title("How the calls in doubt went on, by the records in %s", r.Store.short())
	p.write("\n" + r.recoveries(p))
}

func (r *Report) reads() string {
	var names []string
	for _, row := range r.Reads {
		names = append(names, row.Tool)
	}
	if names == nil {
		return ""
	}
	return " " + strings.Join(names, ", ") + " only reads: every call runs."
}

// conclusion says what the figures show, with the limits in the same breath.
func (r *Report) conclusion() string {
	if !r.OK {
		return "This is a bug: with Ledger every action is to happen exactly once."
	}
	return fmt.Sprintf("Without Ledger %d of %d actions happened more than once; with it, none did, and all happened. "+
		"No record can be atomic with somebody else's system, so what was in doubt was settled by the downstream's means: "+
		"charges and refunds were sent again with the same idempotency key, which the service honours; "+
		"for mails it has no such key, so it was asked. "+
		"Where a downstream has neither, a call in doubt leaves the choice: run again and risk a second effect, or block and let a person decide.",
		len(r.Without.Twice), r.Total.Intended)
}

func (s *script) callsOf(tool string) int {
	n := 0
	for _, st := range s.steps {
		for _, c := range st.Calls {
			if c.Tool == tool {
				n++
			}
		}
	}
	return n
}

func statsOf(s ledger.Stats) Stats {
	return Stats{s.Actions, s.Attempts, s.Executed, s.Blocked, s.Failed, s.InDoubt}
}
