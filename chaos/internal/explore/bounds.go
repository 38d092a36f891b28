package explore

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/ledger-once/ledger"
)

// bound is how many effects of a run with so many takeovers the design promises at most.
func (c *config) bound(takeovers uint8) uint8 {
	if c.perTakeover() {
		return 1 + takeovers
	}
	return 1
}

func (c *config) perTakeover() bool {
	switch {
	case c.looser: // whoever claims first may have the looser policy
		return c.world != honours
	case c.world == honours || c.policy == ledger.DoubtBlock || c.fault <= crashBefore:
		return false
	case c.policy == ledger.DoubtRetry:
		return true
	}
	return c.world == plain && c.fault >= pauseLate
}

func (c *config) cell(found *search) Cell {
	cell := Cell{
		Fault: faultNames[c.fault], Policy: policyName(c.policy), World: worldNames[c.world], Bound: "1",
		Max: found.max, Min: found.min, Takeovers: found.takeovers, States: found.states,
	}
	least := 1 // that a run which is over has had
	switch {
	case c.perTakeover():
		cell.Bound = "one per takeover"
	case c.policy == ledger.DoubtBlock && c.fault == crashBefore:
		cell.Bound = "0, then resolved"
	}
	if c.policy == ledger.DoubtBlock {
		least = 0
	}
	cell.Tight = found.max == 1
	if c.perTakeover() {
		// Beyond two takeovers the budgets, not the bound, say what can be reached.
		cell.Tight = found.most[1] == 2 && found.most[2] == 3
	}
	cell.OK = cell.Tight && cell.Min >= least && len(found.violations) == 0
	return cell
}

// searches are those of the table, then those in which a worker of another
// deployment has a looser policy (I13).
func searches(full bool) []config {
	// Of each search. Persons are for DoubtBlock. Up to maxHeals more calls, and
	// as many persons, come when all faults are over.
	budgets := [...]budget{
		noFault:     {calls: 4},
		crashBefore: {calls: 3, crashes: 2, persons: 1},
		crashAfter:  {calls: 3, crashes: 2, persons: 1},
		pauseLate:   {calls: 3, crashes: 1, pauses: 1, persons: 1},
		partition:   {calls: 3, losses: 2, persons: 1},
	}
	if full {
		budgets[crashBefore].calls, budgets[crashAfter].calls = 4, 4
		budgets[pauseLate].pauses, budgets[partition].crashes = 2, 1
	}
	var all []config
	for f, b := range budgets {
		for p := ledger.DoubtRetry; p <= ledger.DoubtBlock; p++ {
			for w := plain; w <= refuses; w++ {
				if w == refuses && p != ledger.DoubtReconcile {
					continue // nobody asks: the same as plain
				}
				all = append(all, config{fault: fault(f), policy: p, world: w, budget: b})
			}
		}
	}
	last := crashAfter // the short run leaves out what costs most
	if full {
		last = partition
	}
	for p := ledger.DoubtReconcile; p <= ledger.DoubtBlock; p++ {
		for f := crashBefore; f <= last; f++ {
			all = append(all, config{fault: f, policy: p, looser: true, budget: budgets[f]})
		}
	}
	return all
}

// Table prints the cells as design.md does: the bound, and in brackets the most
// and the least effects of one run that were seen, with the takeovers of the run that had most.
func (r *Result) Table() string {
	columns := []struct {
		head string
		of   func(c *Cell) bool
	}{
		{"DoubtRetry, plain", func(c *Cell) bool { return c.Policy == "DoubtRetry" && c.World == worldNames[plain] }},
		{"any, honours the token", func(c *Cell) bool { return c.World == worldNames[honours] }},
		{"DoubtBlock, plain", func(c *Cell) bool { return c.Policy == "DoubtBlock" && c.World == worldNames[plain] }},
		{"DoubtReconcile, plain", func(c *Cell) bool { return c.Policy == "DoubtReconcile" && c.World == worldNames[plain] }},
		{"DoubtReconcile, refuses older", func(c *Cell) bool { return c.World == worldNames[refuses] }},
	}
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "fault")
	for _, col := range columns {
		fmt.Fprintf(w, "\t%s", col.head)
	}
	fmt.Fprintln(w)
	for _, fault := range faultNames {
		fmt.Fprint(w, fault)
		for _, col := range columns {
			fmt.Fprintf(w, "\t%s", r.entry(fault, col.of))
		}
		fmt.Fprintln(w)
	}
	w.Flush() // a Builder takes everything
	fmt.Fprintf(&b, "%d states, %d transitions, depth %d, %d violations, %v\n", r.States, r.Transitions, r.Depth, len(r.Violations), r.Elapsed.Round(10*time.Millisecond))
	return b.String()
}

// entry joins the cells of one row that a column gathers.
func (r *Result) entry(fault string, of func(*Cell) bool) string {
	text, most, least, takeovers, ok := "", -1, -1, 0, true
	for i := range r.Cells {
		c := &r.Cells[i]
		if c.Fault != fault || !of(c) {
			continue
		}
		if text == "" {
			text = c.Bound
		}
		if least < 0 || c.Min < least {
			least = c.Min
		}
		most, takeovers, ok = max(most, c.Max), max(takeovers, c.Takeovers), ok && c.OK
	}
	if text == "one per takeover" {
		text = fmt.Sprintf("1+T [%d to %d, T<=%d]", least, most, takeovers)
	} else {
		text = fmt.Sprintf("%s [%d to %d]", text, least, most)
	}
	if !ok {
		text += " BROKEN"
	}
	return text
}
