package demo

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

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
	Stats     Stats   `json:"guard"`          // what the ledger file says of the pass with Ledger
	Kept      string  `json:"kept,omitempty"` // the data directory, if it was to be kept
}

// A Row is one line of the table.
type Row struct {
	Tool      string `json:"tool"`
	Intended  int    `json:"intended"`  // actions that somebody wanted
	Without   int    `json:"without"`   // done without Ledger, by the service's journal
	With      int    `json:"with"`      // done with Ledger, by the service's journal
	Blocked   int    `json:"blocked"`   // calls with Ledger that were told so
	Replayed  int    `json:"replayed"`  // calls with Ledger answered with a recorded result, the tool not started
	Recovered int    `json:"recovered"` // calls that were in doubt and were settled, by the ledger file
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

// Table returns the rows for a terminal, at most 80 columns wide.
func (r *Report) Table(p *Printer) string {
	head := [][]string{
		{"", "actions", "done", "done", "", "", ""},
		{"", "intended", "without", "with", "calls", "calls", "calls"},
		{"tool", "", "Ledger", "Ledger", "blocked", "replayed", "recovered"},
	}
	rows := append(slices.Clone(r.Tools), r.Total)
	width := []int{16, 8, 7, 6, 7, 8, 9}
	for _, row := range append(rows, r.Reads...) {
		width[0] = max(width[0], len(row.Tool))
	}
	total := 2 * (len(width) - 1)
	for _, w := range width {
		total += w
	}
	var b strings.Builder
	rule := "  " + p.paint(faint, strings.Repeat("─", total)) + "\n"
	line := func(cells []string, codes []string) {
		for i, c := range cells {
			pad := strings.Repeat(" ", max(0, width[i]-len(c)))
			code := ""
			if i < len(codes) {
				code = codes[i]
			}
			if code != "" {
				c = p.paint(code, c)
			}
			if i == 0 {
				b.WriteString("  " + c + pad)
			} else {
				b.WriteString("  " + pad + c)
			}
		}
		b.WriteString("\n")
	}
	for _, cells := range head {
		line(cells, slices.Repeat([]string{bold}, len(cells)))
	}
	b.WriteString(rule)
	for i, row := range rows {
		if i == len(rows)-1 {
			b.WriteString(rule)
		}
		line(row.cells(), []string{"", "", worse(row.Without, row.Intended), worse(row.With, row.Intended)})
	}
	for _, row := range r.Reads {
		line(row.cells(), slices.Repeat([]string{faint}, len(width)))
	}
	return b.String()
}

func (r Row) cells() []string {
	cells := []string{r.Tool}
	for _, n := range []int{r.Intended, r.Without, r.With, r.Blocked, r.Replayed, r.Recovered} {
		cells = append(cells, strconv.Itoa(n))
	}
	return cells
}

func worse(done, intended int) string {
	if done != intended {
		return red
	}
	return green
}

// Print writes the table, what it shows, and what it does not.
func (r *Report) Print(p *Printer) {
	p.Title("What the service really did")
	p.write("\n" + r.Table(p) + "\n")
	p.Faint("blocked: a duplicate was told so; replayed: it got the recorded result; recovered: its worker died or got no answer, and it was settled.%s", r.reads())
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
		p.Text("Kept: %s (the ledger is %s; the service's journals are beside it)", r.Kept, ledgerFile)
	}
	p.Text("Again: go run ./cmd/ledger demo (--json: figures; --keep DIR: files)")
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
