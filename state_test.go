package ledger

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var (
	noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	hour = time.Hour
)

// found are the records that an arriving call can find. The name begins with the state.
var found = map[string]*Record{
	"none": nil,

	"running":           {State: StateRunning, Alive: true},
	"running block":     {State: StateRunning, Alive: true, InDoubt: DoubtBlock},
	"running dead":      {State: StateRunning},
	"running dead reco": {State: StateRunning, InDoubt: DoubtReconcile},
	"running dead blck": {State: StateRunning, InDoubt: DoubtBlock},

	"succeeded":         {State: StateSucceeded, Spent: 1, Result: []byte(`7`), Finished: noon.Add(-time.Minute)},
	"succeeded null":    {State: StateSucceeded, Spent: 1, Result: []byte(`null`), Finished: noon.Add(-time.Minute)},
	"succeeded omitted": {State: StateSucceeded, Spent: 1, ResultOmitted: true, Finished: noon.Add(-time.Minute)},
	"succeeded bare":    {State: StateSucceeded, Spent: 1, Finished: noon.Add(-time.Minute)},
	"succeeded 2":       {State: StateSucceeded, Spent: 2, Result: []byte(`7`), Finished: noon.Add(-time.Minute)},
	"succeeded 3":       {State: StateSucceeded, Spent: 3, Result: []byte(`7`), Finished: noon.Add(-time.Minute)},
	"succeeded ttl-1us": {State: StateSucceeded, Spent: 1, Result: []byte(`7`), Finished: noon.Add(-hour + time.Microsecond)},
	"succeeded ttl":     {State: StateSucceeded, Spent: 1, Result: []byte(`7`), Finished: noon.Add(-hour)},
	"succeeded 2 old":   {State: StateSucceeded, Spent: 2, Result: []byte(`7`), Finished: noon.Add(-9 * hour)},
	"succeeded doubted": {State: StateSucceeded, Doubted: true, Spent: 1, Result: []byte(`7`), Finished: noon.Add(-9 * hour)},
	"succeeded block":   {State: StateSucceeded, Spent: 1, Result: []byte(`7`), InDoubt: DoubtBlock, Finished: noon.Add(-time.Minute)},

	"failed":           {State: StateFailed, Error: &Failure{Class: ClassNotDone}, Finished: noon.Add(-time.Minute)},
	"failed old":       {State: StateFailed, Error: &Failure{Class: ClassNotDone}, Finished: noon.Add(-9 * hour)},
	"failed perm":      {State: StateFailed, Error: &Failure{Class: ClassPermanent}, Finished: noon.Add(-time.Minute)},
	"failed perm 1us":  {State: StateFailed, Error: &Failure{Class: ClassPermanent}, Finished: noon.Add(-hour + time.Microsecond)},
	"failed perm ttl":  {State: StateFailed, Error: &Failure{Class: ClassPermanent}, Finished: noon.Add(-hour)},
	"failed spent":     {State: StateFailed, Spent: 1, Error: &Failure{Class: ClassNotDone}, Finished: noon.Add(-time.Minute)},
	"failed max ttl":   {State: StateFailed, Spent: 1, Error: &Failure{Class: ClassNotDone}, Succeeded: noon.Add(-hour), Finished: noon.Add(-time.Minute)},
	"failed max 1us":   {State: StateFailed, Spent: 1, Error: &Failure{Class: ClassNotDone}, Succeeded: noon.Add(-hour + time.Microsecond), Finished: noon.Add(-time.Minute)},
	"failed perm max":  {State: StateFailed, Spent: 1, Error: &Failure{Class: ClassPermanent}, Succeeded: noon.Add(-9 * hour), Finished: noon.Add(-time.Minute)},
	"failed settled":   {State: StateFailed, Error: &Failure{Class: ClassNotDone}, Settled: &Settlement{}, Finished: noon.Add(-time.Minute)},
	"failed settl old": {State: StateFailed, Error: &Failure{Class: ClassNotDone}, Settled: &Settlement{}, Finished: noon.Add(-9 * hour)},
	"failed no reason": {State: StateFailed, Finished: noon.Add(-time.Minute)},
	"failed doubted":   {State: StateFailed, Doubted: true, Error: &Failure{Class: ClassNotDone}, Finished: noon.Add(-time.Minute)},
	"failed doubt old": {State: StateFailed, Doubted: true, Error: &Failure{Class: ClassNotDone}, Finished: noon.Add(-9 * hour)},
	"failed doubt set": {State: StateFailed, Doubted: true, Error: &Failure{Class: ClassNotDone}, Settled: &Settlement{}, Finished: noon.Add(-time.Minute)},
	"failed doubt prm": {State: StateFailed, Doubted: true, Error: &Failure{Class: ClassPermanent}, Finished: noon.Add(-9 * hour)},

	"in_doubt":      {State: StateInDoubt, Finished: noon.Add(-time.Minute)},
	"in_doubt old":  {State: StateInDoubt, Finished: noon.Add(-9 * hour)},
	"in_doubt reco": {State: StateInDoubt, InDoubt: DoubtReconcile, Finished: noon.Add(-time.Minute)},
	"in_doubt blck": {State: StateInDoubt, InDoubt: DoubtBlock, Finished: noon.Add(-time.Minute)},

	"(newer)":   {State: "hibernating", Spent: 1, Result: []byte(`7`), Finished: noon.Add(-9 * hour)},
	"(counter)": {State: StateNone},
}

// arriving are the calls, by the columns of the table below.
func arriving() map[string]ask {
	reconcile := Policy{InDoubt: DoubtReconcile, Reconcile: neverReconciled}
	return map[string]ask{
		"plain":    {policy: &Policy{}},
		"differs":  {policy: &Policy{}, argsDiffer: true},
		"strict":   {policy: &Policy{Strict: true}},
		"strict!":  {policy: &Policy{Strict: true, Replay: true, Wait: hour, TTL: hour, Max: 3}, argsDiffer: true},
		"replay":   {policy: &Policy{Replay: true}},
		"wait":     {policy: &Policy{Wait: time.Second}},
		"waited":   {policy: &Policy{Wait: time.Second}, waited: true},
		"max2":     {policy: &Policy{Max: 2}},
		"max2 rep": {policy: &Policy{Max: 2, Replay: true}},
		"ttl":      {policy: &Policy{TTL: hour}},
		"ttl rep":  {policy: &Policy{TTL: hour, Replay: true, Max: 2}},
		"reco":     {policy: &reconcile},
		"block":    {policy: &Policy{InDoubt: DoubtBlock}},
	}
}

// decisions is the whole of decide, written down by hand.
//
//	run    claim and run: another run          run!  the same, and Spent starts anew
//	again  claim and run: a new token          again!
//	same   claim and run: the same token       same!
//	ask    claim and reconcile
//	value  replay                              wait  wait for the running call
//	DUP PROG DOUBT FAIL KEY OMIT               blocked, with that reason
const decisions = `
                  | plain | differs | strict | strict! | replay | wait  | waited | max2  | max2 rep | ttl    | ttl rep | reco  | block
none              | run   | run     | run    | run     | run    | run   | run    | run   | run      | run    | run     | run   | run
running           | PROG  | PROG    | PROG   | KEY     | PROG   | wait  | wait   | PROG  | PROG     | PROG   | PROG    | PROG  | PROG
running block     | PROG  | PROG    | PROG   | KEY     | PROG   | wait  | wait   | PROG  | PROG     | PROG   | PROG    | PROG  | PROG
running dead      | same  | same    | same   | KEY     | same   | same  | same   | same  | same     | same   | same    | ask   | DOUBT
running dead reco | DOUBT | DOUBT   | DOUBT  | KEY     | DOUBT  | DOUBT | DOUBT  | DOUBT | DOUBT    | DOUBT  | DOUBT   | ask   | DOUBT
running dead blck | DOUBT | DOUBT   | DOUBT  | KEY     | DOUBT  | DOUBT | DOUBT  | DOUBT | DOUBT    | DOUBT  | DOUBT   | DOUBT | DOUBT
succeeded         | DUP   | DUP     | DUP    | KEY     | value  | DUP   | value  | run   | run      | DUP    | run     | DUP   | DUP
succeeded null    | DUP   | DUP     | DUP    | KEY     | value  | DUP   | value  | run   | run      | DUP    | run     | DUP   | DUP
succeeded omitted | DUP   | DUP     | DUP    | KEY     | OMIT   | DUP   | OMIT   | run   | run      | DUP    | run     | DUP   | DUP
succeeded bare    | DUP   | DUP     | DUP    | KEY     | OMIT   | DUP   | OMIT   | run   | run      | DUP    | run     | DUP   | DUP
succeeded 2       | DUP   | DUP     | DUP    | KEY     | value  | DUP   | value  | DUP   | value    | DUP    | value   | DUP   | DUP
succeeded 3       | DUP   | DUP     | DUP    | KEY     | value  | DUP   | value  | DUP   | value    | DUP    | value   | DUP   | DUP
succeeded ttl-1us | DUP   | DUP     | DUP    | KEY     | value  | DUP   | value  | run   | run      | DUP    | run     | DUP   | DUP
succeeded ttl     | DUP   | DUP     | DUP    | KEY     | value  | DUP   | value  | run   | run      | run!   | run!    | DUP   | DUP
succeeded 2 old   | DUP   | DUP     | DUP    | KEY     | value  | DUP   | value  | DUP   | value    | run!   | run!    | DUP   | DUP
succeeded doubted | DUP   | DUP     | DUP    | KEY     | value  | DUP   | value  | run   | run      | run!   | run!    | DUP   | DUP
succeeded block   | DUP   | DUP     | DUP    | KEY     | value  | DUP   | value  | run   | run      | DUP    | run     | DUP   | DUP
failed            | again | again   | again  | KEY     | again  | again | again  | again | again    | again  | again   | again | again
failed old        | again | again   | again  | KEY     | again  | again | again  | again | again    | again! | again!  | again | again
failed perm       | FAIL  | FAIL    | FAIL   | KEY     | FAIL   | FAIL  | FAIL   | FAIL  | FAIL     | FAIL   | FAIL    | FAIL  | FAIL
failed perm 1us   | FAIL  | FAIL    | FAIL   | KEY     | FAIL   | FAIL  | FAIL   | FAIL  | FAIL     | FAIL   | FAIL    | FAIL  | FAIL
failed perm ttl   | FAIL  | FAIL    | FAIL   | KEY     | FAIL   | FAIL  | FAIL   | FAIL  | FAIL     | run!   | run!    | FAIL  | FAIL
failed spent      | again | again   | again  | KEY     | again  | again | again  | again | again    | again  | again   | again | again
failed max ttl    | again | again   | again  | KEY     | again  | again | again  | again | again    | again! | again!  | again | again
failed max 1us    | again | again   | again  | KEY     | again  | again | again  | again | again    | again  | again   | again | again
failed perm max   | FAIL  | FAIL    | FAIL   | KEY     | FAIL   | FAIL  | FAIL   | FAIL  | FAIL     | FAIL   | FAIL    | FAIL  | FAIL
failed settled    | run   | run     | run    | KEY     | run    | run   | run    | run   | run      | run    | run     | run   | run
failed settl old  | run   | run     | run    | KEY     | run    | run   | run    | run   | run      | run!   | run!    | run   | run
failed no reason  | again | again   | again  | KEY     | again  | again | again  | again | again    | again  | again   | again | again
failed doubted    | same  | same    | same   | KEY     | same   | same  | same   | same  | same     | same   | same    | same  | same
failed doubt old  | same  | same    | same   | KEY     | same   | same  | same   | same  | same     | same!  | same!   | same  | same
failed doubt set  | run   | run     | run    | KEY     | run    | run   | run    | run   | run      | run    | run     | run   | run
failed doubt prm  | FAIL  | FAIL    | FAIL   | KEY     | FAIL   | FAIL  | FAIL   | FAIL  | FAIL     | run!   | run!    | FAIL  | FAIL
in_doubt          | same  | same    | same   | KEY     | same   | same  | same   | same  | same     | same   | same    | ask   | DOUBT
in_doubt old      | same  | same    | same   | KEY     | same   | same  | same   | same  | same     | same   | same    | ask   | DOUBT
in_doubt reco     | DOUBT | DOUBT   | DOUBT  | KEY     | DOUBT  | DOUBT | DOUBT  | DOUBT | DOUBT    | DOUBT  | DOUBT   | ask   | DOUBT
in_doubt blck     | DOUBT | DOUBT   | DOUBT  | KEY     | DOUBT  | DOUBT | DOUBT  | DOUBT | DOUBT    | DOUBT  | DOUBT   | DOUBT | DOUBT
(newer)           | DOUBT | DOUBT   | DOUBT  | KEY     | DOUBT  | DOUBT | DOUBT  | DOUBT | DOUBT    | DOUBT  | DOUBT   | DOUBT | DOUBT
(counter)         | DOUBT | DOUBT   | DOUBT  | KEY     | DOUBT  | DOUBT | DOUBT  | DOUBT | DOUBT    | DOUBT  | DOUBT   | DOUBT | DOUBT
`

var decisionWords = map[string]decision{
	"run":    {action: actRun, lineage: newRun},
	"run!":   {action: actRun, lineage: newRun, reset: true},
	"again":  {action: actRun, lineage: newToken},
	"again!": {action: actRun, lineage: newToken, reset: true},
	"same":   {action: actRun, lineage: sameRun},
	"same!":  {action: actRun, lineage: sameRun, reset: true},
	"ask":    {action: actReconcile},
	"value":  {action: actReplay},
	"wait":   {action: actWait, reason: ErrInProgress},
	"DUP":    {action: actBlock, reason: ErrDuplicate},
	"PROG":   {action: actBlock, reason: ErrInProgress},
	"DOUBT":  {action: actBlock, reason: ErrInDoubt},
	"FAIL":   {action: actBlock, reason: ErrFailed},
	"KEY":    {action: actBlock, reason: ErrKeyReused},
	"OMIT":   {action: actBlock, reason: ErrResultOmitted},
}

// grid reads a table of cells separated by bars.
func grid(t *testing.T, text string) (columns, rows []string, cells map[[2]string]string) {
	t.Helper()
	cells = make(map[[2]string]string)
	for i, line := range strings.Split(strings.TrimRight(strings.TrimPrefix(text, "\n"), "\n"), "\n") {
		fields := strings.Split(line, "|")
		for j := range fields {
			fields[j] = strings.TrimSpace(fields[j])
		}
		if i == 0 {
			columns = fields[1:]
			continue
		}
		if len(fields) != len(columns)+1 {
			t.Fatalf("row %q has %d cells, want %d", fields[0], len(fields)-1, len(columns))
		}
		rows = append(rows, fields[0])
		for j, c := range columns {
			cells[[2]string{fields[0], c}] = fields[j+1]
		}
	}
	return columns, rows, cells
}

func TestDecide(t *testing.T) {
	columns, rows, cells := grid(t, decisions)
	asks := arriving()
	if len(rows) != len(found) || len(columns) != len(asks) {
		t.Fatalf("the table is %d x %d; there are %d records and %d calls", len(rows), len(columns), len(found), len(asks))
	}
	for _, row := range rows {
		r, ok := found[row]
		if !ok {
			t.Fatalf("no record %q", row)
		}
		for _, column := range columns {
			q, ok := asks[column]
			if !ok {
				t.Fatalf("no call %q", column)
			}
			word := cells[[2]string{row, column}]
			want, ok := decisionWords[word]
			if !ok {
				t.Fatalf("%s, %s: no decision %q", row, column, word)
			}
			var before string
			if r != nil {
				before = fmt.Sprintf("%+v", *r)
			}
			if got := decide(r, q, noon); got != want {
				t.Errorf("%s, %s: got %+v, want %s %+v", row, column, got, word, want)
			}
			if r != nil && fmt.Sprintf("%+v", *r) != before {
				t.Errorf("%s, %s: decide changed the record", row, column)
			}
		}
	}
}

// constants returns the names of the package's constants of the type.
func constants(t *testing.T, typ string) []string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.CONST {
				continue
			}
			implied := "" // a line without type and value repeats the one before
			for _, s := range g.Specs {
				v := s.(*ast.ValueSpec)
				if id, ok := v.Type.(*ast.Ident); ok {
					implied = id.Name
				} else if len(v.Values) > 0 {
					implied = ""
				}
				for _, n := range v.Names {
					if implied == typ {
						names = append(names, n.Name)
					}
				}
			}
		}
	}
	return names
}

// TestTablesAreComplete fails when a state, an event or a policy is added
// without rows in the tables of this file and of state_events_test.go.
func TestTablesAreComplete(t *testing.T) {
	for typ, known := range map[string]string{
		"State":       "StateNone StateRunning StateSucceeded StateFailed StateInDoubt",
		"DoubtPolicy": "DoubtRetry DoubtReconcile DoubtBlock",
		"Class":       "ClassUncertain ClassNotDone ClassPermanent",
		"ResolveAs":   "ResolveHappened ResolveDidNotHappen ResolveForget",
		"action":      "actRun actReconcile actReplay actWait actBlock",
		"lineage":     "sameRun newToken newRun",
		"Outcome":     "OutcomeSucceeded OutcomeFailed OutcomeInDoubt OutcomeLost OutcomeForced OutcomeSettled",
	} {
		if got := strings.Join(constants(t, typ), " "); got != known {
			t.Errorf("%s: the constants are %q, the tables know %q; add rows for the new ones", typ, got, known)
		}
	}

	// Every state and every stored in-doubt policy has a row.
	type combination struct {
		state State
		alive bool
		doubt DoubtPolicy
	}
	rows := make(map[combination]bool)
	for _, r := range found {
		if r != nil {
			rows[combination{r.State, r.Alive, r.InDoubt}] = true
		}
	}
	for _, state := range []State{StateRunning, StateSucceeded, StateFailed, StateInDoubt} {
		if !rows[combination{state, state == StateRunning, DoubtRetry}] {
			t.Errorf("no row for %s", state)
		}
	}
	for d := range DoubtPolicy(len(doubtNames)) {
		if !rows[combination{StateInDoubt, false, d}] || !rows[combination{StateRunning, false, d}] {
			t.Errorf("no row for a call in doubt, or of a dead owner, with the stored policy %v", d)
		}
	}

	// Every field of Policy and of ask either has a column, or can not decide.
	undecided := map[string]string{
		"Unlimited": "never asks", "Timeout": "bounds the tool", "Reconcile": "goes with InDoubt",
		"Ignore": "fingerprint", "Redact": "fingerprint", "Exact": "fingerprint",
		"Classify": "class of the ending", "Backoff": "within a call",
	}
	for f := range reflect.TypeFor[Policy]().Fields() {
		column := false
		for _, q := range arriving() {
			column = column || !reflect.ValueOf(*q.policy).FieldByIndex(f.Index).IsZero()
		}
		if _, ok := undecided[f.Name]; !ok && !column {
			t.Errorf("Policy.%s has no column", f.Name)
		}
	}
	for f := range reflect.TypeFor[ask]().Fields() {
		column := false
		for _, q := range arriving() {
			column = column || !reflect.ValueOf(q).FieldByIndex(f.Index).IsZero()
		}
		if !column {
			t.Errorf("ask.%s has no column", f.Name)
		}
	}
}

func TestStatus(t *testing.T) {
	for row, want := range map[string]State{
		"running": StateRunning, "running dead": StateInDoubt, "running dead blck": StateInDoubt, "succeeded": StateSucceeded,
		"failed": StateFailed, "failed perm": StateFailed, "in_doubt": StateInDoubt, "(newer)": "hibernating", "(counter)": StateNone,
	} {
		if got := found[row].Status(); got != want {
			t.Errorf("%s: status %q, want %q", row, got, want)
		}
	}
}

func TestEnumText(t *testing.T) {
	type text interface {
		MarshalText() ([]byte, error)
		String() string
	}
	for want, v := range map[string]text{
		"retry": DoubtRetry, "reconcile": DoubtReconcile, "block": DoubtBlock, "unknown(9)": DoubtPolicy(9),
		"uncertain": ClassUncertain, "not_done": ClassNotDone, "permanent": ClassPermanent, "unknown(7)": Class(7),
	} {
		if got, err := v.MarshalText(); string(got) != want || v.String() != want || err != nil {
			t.Errorf("%T(%v): %q, %v, want %q", v, v, got, err, want)
		}
	}
	var back struct {
		D DoubtPolicy
		C Class
	}
	if err := json.Unmarshal([]byte(`{"D":"block","C":"permanent"}`), &back); err != nil || back.D != DoubtBlock || back.C != ClassPermanent {
		t.Errorf("got %+v, %v", back, err)
	}
	for _, bad := range []string{`{"D":"sometimes"}`, `{"C":"perhaps"}`} {
		if err := json.Unmarshal([]byte(bad), &back); err == nil || !strings.Contains(err.Error(), "is expected") {
			t.Errorf("%s: error %v", bad, err)
		}
	}
	for want, as := range map[string]ResolveAs{"happened": ResolveHappened, "did_not_happen": ResolveDidNotHappen, "forget": ResolveForget, "unknown(8)": 8} {
		if as.String() != want {
			t.Errorf("got %q, want %q", as, want)
		}
	}
}
