package report

import (
	"cmp"
	"maps"
	"math"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

func newVerdict(s *trace.Summary) verdict {
	v := verdict{Word: clip(s.Verdict, 40), Class: "bad", Mark: "✗", Text: verdicts[s.Verdict]}
	switch s.Verdict {
	case "passed":
		v.Class, v.Mark = "good", "✓"
	case "invalid":
		v.Class, v.Mark = "weak", "∅"
	case "violated":
	default:
		v.Text = "The report does not know this verdict."
	}
	for _, why := range s.Why[:min(len(s.Why), 40)] {
		v.Why = append(v.Why, clip(why, maxText))
	}
	return v
}

// facts are what identifies the run.
func facts(s *trace.Summary) []fact {
	r := s.Run
	f := []fact{{Label: "Seed", Value: strconv.FormatUint(r.Seed, 10)}}
	add := func(label, value string) {
		if value != "" {
			f = append(f, fact{Label: label, Value: clip(value, maxText)})
		}
	}
	store := storeName(trace.Cell{Store: r.Store, Members: r.Members})
	if r.Workers > 0 {
		store += "; " + plural(r.Workers, "worker")
	}
	add("Store", store)
	if s.Took > 0 {
		add("Took", took(s.Took))
	}
	if !r.Started.IsZero() {
		add("Started", r.Started.UTC().Format("2006-01-02 15:04:05")+" UTC")
	}
	if r.TTL > 0 {
		add("Lease", took(r.TTL))
	}
	add("Ledger", r.Versions.Ledger)
	add("Go", r.Versions.Go)
	add("etcd", r.Versions.Etcd)
	add("SQLite", r.Versions.SQLite)
	add("System", r.Versions.OS)
	add("Mutant", r.Mutant)
	if r.Cell != nil {
		add("Cell", r.Cell.String())
	}
	add("Schedule", s.Schedule)
	add("Data", s.Dir)
	return f
}

// figures are the run's numbers. Those of a run without calls are left out.
func figures(s *trace.Summary) []fact {
	var f []fact
	add := func(label, value, note string) { f = append(f, fact{label, value, note}) }
	r := s.Findings
	if r.Calls > 0 {
		add("guarded calls", count(r.Calls), "with a definite end")
	}
	if s.Rate > 0 {
		add("calls/s", figure(s.Rate), "under faults")
	}
	for _, at := range []string{"p50", "p99", "max"} {
		if d, ok := s.Latency[at]; ok {
			add("latency, "+at, took(d), "of Do")
		}
	}
	if r.IDs > 0 {
		add("distinct calls", count(r.IDs), "fingerprints")
	}
	if r.Grants > 0 {
		add("claims granted", count(r.Grants), "")
		add("takeovers", count(r.Takeovers), "from dead owners")
	}
	if n := r.Effects[trace.Done]; n > 0 {
		add("effects", count(n), "in the world's journal")
	}
	if n := s.Faults[trace.FaultKill]; n > 0 {
		add("worker kills", count(n), "SIGKILL")
	}
	if n := s.Faults[trace.FaultPause]; n > 0 {
		add("pauses", count(n), count(s.Beyond)+" beyond the lease")
	}
	if r.Calls > 0 {
		add("unknown outcomes", count(r.Outcomes[trace.Unknown]), "an error that decides nothing")
		add("without an end", count(r.Open), "operations of killed processes")
	}
	return f
}

func (p *page) violations(s *trace.Summary) {
	says := map[string]string{}
	for _, n := range trace.Invariants {
		says[n.Name] = n.Text
	}
	for i, v := range s.Findings.Violations[:min(len(s.Findings.Violations), maxViolations)] {
		lines := evidence(v)
		if i >= maxEvidenced {
			lines = append(lines[:min(len(lines), 1)], "the rest is in "+trace.SummaryFile)
		}
		p.Violations = append(p.Violations, violation{
			Invariant: clip(v.Invariant, 40), Says: says[v.Invariant], ID: clip(v.ID, maxLine), Text: clip(v.Text, maxText),
			Evidence: strings.Join(lines, "\n"), Dir: clip(v.Dir, maxLine),
		})
	}
	all := 0
	for _, c := range s.Findings.Checks {
		all += c.Violations
	}
	p.More = max(0, all-len(p.Violations))
}

// evidence is a violation's, within bounds.
func evidence(v trace.Violation) (lines []string) {
	for _, l := range v.Evidence[:min(len(v.Evidence), maxEvidence)] {
		lines = append(lines, clip(l, maxLine))
	}
	return lines
}

// picture is the path of porcupine's page relative to the report, or "" if it
// is not a file below the run's directory: a link never leads anywhere else.
func picture(name string) string {
	if name == "" || !filepath.IsLocal(name) || strings.ContainsAny(name, ":\\") || len(name) > maxLine {
		return ""
	}
	return "./" + path.Clean(filepath.ToSlash(name))
}

// invariants are the results in the order of the invariants, those that were not
// checked among them: what a run says nothing about is a part of what it says.
func invariants(checks []trace.Check) (rows []invariant) {
	if len(checks) == 0 {
		return nil
	}
	left := slices.Clone(checks[:min(len(checks), maxRows)])
	add := func(name, says string, c *trace.Check) {
		row := invariant{Name: clip(name, 40), Says: says, Class: "none", Mark: "not checked"}
		if c != nil {
			row.Checked, row.Violations, row.Unknown, row.Note = count(c.Checked), count(c.Violations), count(c.Unknown), clip(c.Note, maxText)
			switch {
			case c.Violations > 0:
				row.Class, row.Mark = "bad", "✗ violated"
			case c.Checked == 0:
				row.Class, row.Mark = "weak", "∅ showed nothing"
			case c.Unknown > 0:
				row.Class, row.Mark = "weak", "✓ held where known"
			default:
				row.Class, row.Mark = "good", "✓ held"
			}
		}
		rows = append(rows, row)
	}
	for _, n := range trace.Invariants {
		i := slices.IndexFunc(left, func(c trace.Check) bool { return c.Invariant == n.Name })
		if i < 0 {
			add(n.Name, n.Text, nil)
			continue
		}
		add(n.Name, n.Text, &left[i])
		left = slices.Delete(left, i, i+1)
	}
	for _, c := range left {
		add(c.Invariant, "", &c)
	}
	return rows
}

// faults are the kinds by their number; the starts and ends of processes come last.
func faults(s *trace.Summary) (rows []faultRow) {
	minutes := time.Duration(s.Run.To - s.Run.From).Minutes()
	last := func(kind string) int {
		if kind == trace.FaultStart || kind == trace.FaultExit {
			return 1
		}
		return 0
	}
	kinds := slices.SortedFunc(maps.Keys(s.Faults), func(a, b string) int {
		return cmp.Or(cmp.Compare(last(a), last(b)), cmp.Compare(s.Faults[b], s.Faults[a]), cmp.Compare(a, b))
	})
	for _, k := range kinds[:min(len(kinds), maxRows)] {
		row := faultRow{Kind: clip(k, 80), Text: faultTexts[k], Count: count(s.Faults[k])}
		if minutes > 0 && last(k) == 0 {
			row.Rate = figure(math.Round(float64(s.Faults[k])/minutes*10) / 10)
		}
		rows = append(rows, row)
	}
	return rows
}

func floors(all []trace.Floor) (rows []floorRow) {
	for _, f := range all[:min(len(all), maxRows)] {
		row := floorRow{clip(f.Name, maxText), "at least " + figure(f.Want), figure(f.Got), "good", "✓ reached"}
		if !(f.Got >= f.Want) { // what is not a number is not reached either
			row.Class, row.Mark = "bad", "✗ missed"
		}
		rows = append(rows, row)
	}
	return rows
}

func mutants(all []trace.MutantResult) (rows []mutant, survivors int) {
	for _, m := range all[:min(len(all), maxRows)] {
		row := mutant{
			Name: clip(m.Name, maxText), Text: clip(m.Text, maxText), Want: clip(strings.Join(m.Want, " or "), maxLine),
			Caught: clip(strings.Join(m.Caught, ", "), maxLine), Runs: count(m.Runs), Class: "good", Mark: "✓ caught", Evidence: clip(m.Evidence, maxLine),
		}
		if row.Caught == "" {
			row.Caught = "nothing"
		}
		if !m.OK {
			row.Class, row.Mark = "bad", "✗ survived"
			survivors++
		}
		rows = append(rows, row)
	}
	return rows, survivors
}
