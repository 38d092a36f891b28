package report

import (
	"html/template"
	"strings"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// page is what page.html shows. An empty part is left out, with its link.
type page struct {
	Style  template.CSS
	Policy string
	Links  []link

	Title      string
	Verdict    verdict
	Command    string
	Facts      []fact
	Figures    []fact
	Violations []violation
	More       int // violations that are counted, but not kept
	Picture    string
	Invariants []invariant
	Faults     []faultRow
	Floors     []floorRow
	Windows    []bar
	Outcomes   []bar
	Effects    []bar
	Histograms []histogram
	Explorer   *explored
	Explored   string
	Columns    []policyWorld
	Bounds     []boundsRow
	Coverage   []coverage
	Failed     []failedCell
	Mutants    []mutant
	Survivors  int
	Tools      []tool
	Lanes      *lanes
}

type link struct{ ID, Text string }

type verdict struct {
	Word, Class, Mark, Text string
	Why                     []string
}

// fact is a label with its value, and a note in small print.
type fact struct{ Label, Value, Note string }

type violation struct{ Invariant, Says, ID, Text, Evidence, Dir string }

type invariant struct{ Name, Says, Checked, Violations, Unknown, Note, Class, Mark string }

type faultRow struct{ Kind, Text, Count, Rate string }

type floorRow struct{ Name, Want, Got, Class, Mark string }

// bar is a row of a chart: Width is 0 to 100.
type bar struct {
	Name, Text, Count, Share, Class string
	Width                           float64
}

type histogram struct {
	Name, Bound string
	Rows        []bar
	Over        int // calls beyond a bound that is a number
}

type mutant struct {
	Name, Text, Want, Caught, Runs, Class, Mark, Evidence string
}

type tool struct{ Name, InDoubt, World, Options string }

func newPage(s *trace.Summary) *page {
	p := &page{
		Title:    "Chaos run: " + clip(s.Verdict, 40),
		Verdict:  newVerdict(s),
		Command:  clip(s.Command, maxText),
		Facts:    facts(s),
		Figures:  figures(s),
		Picture:  picture(s.Findings.Picture),
		Explorer: readExplorer(s.Explorer),
		Coverage: newCoverage(s.Cells),
		Failed:   failedCells(s.Cells),
	}
	p.violations(s)
	p.Invariants = invariants(s.Findings.Checks)
	p.Faults = faults(s)
	p.Floors = floors(s.Floors)
	p.Windows = bars(s.Windows, nil)
	p.Outcomes = bars(s.Findings.Outcomes, outcomeTexts)
	p.Effects = bars(s.Findings.Effects, didTexts)
	p.Histograms = histograms(s.Findings.Histogram)
	if p.Explorer != nil {
		p.Explored = p.Explorer.String()
		p.Columns, p.Bounds = p.Explorer.matrix()
	}
	p.Mutants, p.Survivors = mutants(s.Mutants)
	for _, t := range s.Run.Tools[:min(len(s.Run.Tools), maxRows)] {
		p.Tools = append(p.Tools, tool{clip(t.Name, maxText), t.InDoubt, t.World, toolOptions(t)})
	}
	return p
}

// chart is a table of bars.
type chart struct {
	Head string
	Rows []bar
}

// OutcomeBars are the ends of calls; nil without any.
func (p *page) OutcomeBars() *chart { return newChart("outcome", p.Outcomes) }

// EffectBars are the answers of the world; nil without any.
func (p *page) EffectBars() *chart { return newChart("answer", p.Effects) }

func newChart(head string, rows []bar) *chart {
	if len(rows) == 0 {
		return nil
	}
	return &chart{head, rows}
}

// sections makes the links to what the page has.
func (p *page) sections() {
	for _, s := range []struct {
		has      bool
		id, text string
	}{
		{len(p.Figures) > 0, "figures", "Figures"},
		{len(p.Violations) > 0, "violations", "Violations"},
		{len(p.Invariants) > 0, "invariants", "Invariants"},
		{len(p.Histograms) > 0, "effects", "Effects"},
		{len(p.Faults)+len(p.Floors)+len(p.Windows) > 0, "faults", "Faults"},
		{p.Lanes != nil, "lanes", "Swimlanes"},
		{p.Explorer != nil, "explorer", "Explorer"},
		{len(p.Coverage) > 0, "coverage", "Coverage"},
		{len(p.Mutants) > 0, "mutants", "Mutants"},
		{len(p.Outcomes)+len(p.Effects)+len(p.Tools) > 0, "workload", "Workload"},
	} {
		if s.has {
			p.Links = append(p.Links, link{s.id, s.text})
		}
	}
}

func toolOptions(t trace.Tool) string {
	var o []string
	if t.Replay {
		o = append(o, "replays")
	}
	if t.Wait > 0 {
		o = append(o, "waits "+took(t.Wait))
	}
	if t.Max > 1 {
		o = append(o, "at most "+count(t.Max)+" successes")
	}
	if t.Timeout > 0 {
		o = append(o, "timeout "+took(t.Timeout))
	}
	return strings.Join(o, ", ")
}
