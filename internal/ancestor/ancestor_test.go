package ancestor

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/fingerprint"
)

// What CPython 3 computes, by json.dumps, round and hashlib.
func TestFingerprintIsTheAncestors(t *testing.T) {
	for _, c := range []struct{ tool, workflow, args, want string }{
		{"m.send", "default", `{"to": "a@x.com"}`, "412684e95da1e6f9a4986dc698b4a522"},
		{"m.charge", "order-42", `{"amount": 99.9900000001, "card": "tok"}`, "fd681bd45f519f964ce5e6da4c7ed4fe"},
		{"m.f", "w", `{"x": [1e+16, 1000000000000000.0, 123456789012345.6, 1e-05, 0.0001, -1e-09, 1e+22, 1.5e+300, 0.30000000000000004, 5.0, -0.0, 2.675, 1e-08, 1.5e-08]}`, "b3b11eb7c90104defe639e623daa8cd4"},
		{"m.f", "注文", `{"b": null, "a": true, "\u00e9": "\u65e5\u672c \ud83d\ude00 \u007f \u0001 \n\t\"\\/", "z": {"y": [], "x": {}}}`, "a139b3736b8a29c32240d977eeca0839"},
		{"m.f", "w", `{"n": 12345678901234567890123, "m": -5, "t": [1, 2.5]}`, "687901dd70210e6e3b9b0e9a5a3d316b"},
		{"m.f", "default", `{}`, "8878f4c2ff702a51d0b93d9a75f901b0"},
	} {
		if got, err := fingerprint32(c.tool, c.workflow, []byte(c.args)); err != nil || got != c.want {
			t.Errorf("%s: got %s, %v; want %s", c.args, got, err, c.want)
		}
	}
	for _, args := range []string{"", "{", "{} {}", `{"x": NaN}`, `{"x": 1e999}`} {
		if got, err := fingerprint32("m.f", "w", []byte(args)); err == nil {
			t.Errorf("%q: got %s, want an error", args, got)
		}
	}
}

const schema = `CREATE TABLE IF NOT EXISTS ledger (id TEXT PRIMARY KEY, tool TEXT, args TEXT, wf TEXT, created TEXT, touched TEXT,
	since TEXT, status TEXT DEFAULT 'running', attempts INT DEFAULT 0, runs INT DEFAULT 0, blocked INT DEFAULT 0, result TEXT, error TEXT, caller TEXT)`

const insert = `INSERT INTO ledger (id,tool,args,wf,created,touched,since,status,attempts,runs,blocked,result,error,caller) VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)`

// write makes a file of the ancestor with a row for each of the calls.
func write(t *testing.T, ddl string, rows ...[]any) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "old ledger.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, q := range []string{"PRAGMA journal_mode=WAL", ddl} {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	for _, row := range rows {
		if _, err := db.ExecContext(t.Context(), insert, row...); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// row is a call as the ancestor stored it; a key of none is "".
func row(tool, workflow, args, status string, attempts, runs, blocked int, result any) []any {
	id, err := fingerprint32(tool, workflow, []byte(args))
	if err != nil {
		id = strings.Repeat("0", 32)
	}
	return []any{id, tool, args, workflow, "2026-03-01T10:00:00.000001+00:00", "2026-03-01T10:00:05+00:00", nil, status, attempts, runs, blocked, result, nil, "agent-A"}
}

func carryAll(t *testing.T, path string, store ledger.Store, o *Options) (wrote int, left map[string]string) {
	t.Helper()
	f, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, err := fingerprint.New(fingerprint.Rules{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	left = map[string]string{}
	for c, err := range f.Calls(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		carried, err := c.Carry(h, o, time.Now())
		if err != nil {
			if _, ok := errors.AsType[LeftOut](err); !ok {
				t.Fatalf("%v is no LeftOut", err)
			}
			left[c.Tool] = err.Error()
			continue
		}
		ok, err := Put(t.Context(), store, carried)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			wrote++
		}
	}
	return wrote, left
}

// What was done there is a duplicate here, with its result and its counts; what failed runs again.
func TestWhatWasDoneStaysDone(t *testing.T) {
	failure := row("m.fails", "default", `{"x": 1}`, "failed", 1, 0, 0, nil)
	failure[12] = "CardError: declined"
	path := write(t, schema,
		row("m.charge", "order-42", `{"customer": "cus_42", "amount": 99.99}`, "success", 4, 1, 3, `{"receipt": "ch_17"}`),
		row("m.sms", "default", `{"to": "ann"}`, "success", 3, 2, 1, nil),
		failure,
	)
	store := ledger.NewMemory()
	defer store.Close()
	short := &Options{Tool: func(name string) string { return strings.TrimPrefix(name, "m.") }}
	if wrote, left := carryAll(t, path, store, short); wrote != 3 || len(left) != 0 {
		t.Fatalf("wrote %d, left out %v", wrote, left)
	}
	if wrote, left := carryAll(t, path, store, short); wrote != 0 || len(left) != 0 {
		t.Fatalf("again: wrote %d, left out %v; want nothing", wrote, left)
	}
	guard, err := ledger.New(store, &ledger.Options{Policies: map[string]ledger.Policy{"charge": {Replay: true}, "sms": {Max: 3, Replay: true}}})
	if err != nil {
		t.Fatal(err)
	}
	defer guard.Close(t.Context())
	ran := 0
	do := func(workflow, tool string, args any) (string, error) {
		res, err := ledger.Do(t.Context(), guard, ledger.Call{Workflow: workflow, Tool: tool, Args: args}, func(context.Context) (map[string]string, error) {
			ran++
			return nil, nil
		})
		return res.Value["receipt"], err
	}
	if got, err := do("order-42", "charge", map[string]any{"amount": 99.9900000001, "customer": "cus_42"}); got != "ch_17" || err != nil || ran != 0 {
		t.Errorf("a duplicate got %q, %v; %d ran", got, err, ran)
	}
	if _, err := do("default", "sms", map[string]any{"to": "ann"}); err != nil || ran != 1 {
		t.Errorf("the third of three got %v; %d ran", err, ran)
	}
	if _, err := do("default", "sms", map[string]any{"to": "ann"}); err != nil || ran != 1 {
		t.Errorf("the fourth of three got %v; %d ran", err, ran)
	}
	if _, err := do("default", "fails", map[string]any{"x": 1}); err != nil || ran != 2 {
		t.Errorf("what had failed got %v; %d ran", err, ran)
	}
	id, err := guard.ID(t.Context(), ledger.Call{Workflow: "order-42", Tool: "charge", Args: map[string]any{"amount": 99.99, "customer": "cus_42"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := guard.Stats(t.Context(), ledger.Filter{}); err != nil { // writes counts
		t.Fatal(err)
	}
	r, err := store.Get(t.Context(), id)
	if err != nil || r.Attempts != 5 || r.Executed != 1 || r.Blocked != 4 || r.Owner.Caller != "agent-A" || r.Finished.Sub(r.Started) != 4999999*time.Microsecond {
		t.Errorf("got %+v, %v", r, err)
	}
}

// What can not be carried over is left out, with a reason.
func TestLeftOut(t *testing.T) {
	keyed := row("m.keyed", "w", `{"at": "2026-03-01"}`, "success", 1, 1, 0, nil)
	keyed[0] = strings.Repeat("a", 32)
	noArgs := row("m.none", "w", `{}`, "success", 1, 1, 0, nil)
	noArgs[0], noArgs[2] = "none", nil
	noTool := row("", "w", `{}`, "success", 1, 1, 0, nil)
	path := write(t, schema, keyed, noArgs, noTool,
		row("m.text", "w", `{"x": NaN}`, "success", 1, 1, 0, nil),
		row("m.big", "w", `{"x": `+strings.Repeat("9", 1500)+`}`, "success", 1, 1, 0, nil),
		row("m.running", "w", `{}`, "running", 1, 0, 0, nil),
		row("m.odd", "w", `{}`, "cancelled", 1, 0, 0, nil),
	)
	want := map[string]string{
		"m.keyed": "it had a key", "m.none": "arguments are missing", "": "tool or workflow is missing", "m.text": "no JSON",
		"m.big": "no fingerprint here", "m.running": "nobody knows", "m.odd": `status is "cancelled"`,
	}
	store := ledger.NewMemory()
	defer store.Close()
	wrote, left := carryAll(t, path, store, nil)
	if wrote != 0 || len(left) != len(want) {
		t.Errorf("wrote %d, left out %d, want 0 and %d", wrote, len(left), len(want))
	}
	for tool, reason := range want {
		if !strings.Contains(left[tool], reason) {
			t.Errorf("%s: %q, want %q", tool, left[tool], reason)
		}
	}
	if wrote, _ := carryAll(t, path, store, &Options{Running: true}); wrote != 1 {
		t.Errorf("with those that were running: wrote %d, want 1", wrote)
	}
	for r, err := range store.List(t.Context(), ledger.Filter{}) {
		if err != nil || r.Status() != ledger.StateInDoubt || r.InDoubt != ledger.DoubtBlock {
			t.Errorf("what was running became %s under %s, %v", r.Status(), r.InDoubt, err)
		}
	}
}

// An import that was killed between claim and finish leaves a blocked call, which the next one completes.
func TestCutShort(t *testing.T) {
	path := write(t, schema, row("m.charge", "w", `{"x": 1}`, "success", 1, 1, 0, "17"))
	store := ledger.NewMemory()
	defer store.Close()
	dying := store.Session()
	f, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h, err := fingerprint.New(fingerprint.Rules{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for c, err := range f.Calls(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		carried, err := c.Carry(h, nil, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if wrote, err := Put(t.Context(), unfinished{dying}, carried); wrote || !errors.Is(err, ledger.ErrUnavailable) {
			t.Errorf("got %v, %v", wrote, err)
		}
		if wrote, err := Put(t.Context(), store, carried); wrote || err != nil {
			t.Errorf("while the other import lives: got %v, %v", wrote, err)
		}
		dying.Expire()
		r, err := store.Get(t.Context(), carried.Record.ID)
		if err != nil || r.Status() != ledger.StateInDoubt || r.InDoubt != ledger.DoubtBlock {
			t.Errorf("left behind: %s under %s, %v; want in doubt under block", r.Status(), r.InDoubt, err)
		}
		if wrote, err := Put(t.Context(), store, carried); !wrote || err != nil {
			t.Errorf("again: got %v, %v", wrote, err)
		}
		if r, err = store.Get(t.Context(), carried.Record.ID); err != nil || r.State != ledger.StateSucceeded || string(r.Result) != "17" || r.InDoubt != ledger.DoubtRetry {
			t.Errorf("in the end: %+v, %v", r, err)
		}
	}
}

// unfinished is a store that is lost before the finish.
type unfinished struct{ ledger.Store }

func (unfinished) Finish(context.Context, ledger.Record) error { return ledger.ErrUnavailable }

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database\n", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]error{
		filepath.Join(dir, "missing.db"):         ledger.ErrNotFound,
		text:                                     ledger.ErrInvalid,
		dir:                                      ledger.ErrInvalid,
		write(t, "CREATE TABLE other (id TEXT)"): ledger.ErrInvalid,
		write(t, "CREATE TABLE ledger (id TEXT, balance TEXT)"): ledger.ErrInvalid,
	} {
		if f, err := Open(t.Context(), path); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", path, err, want)
			if err == nil {
				f.Close()
			}
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("refusing made files: %v, %v", entries, err)
	}
}

// The first version's table had no column for the caller; and a directory need not be writable.
func TestOldAndReadOnly(t *testing.T) {
	path := write(t, strings.Replace(schema, ", caller TEXT", ", caller2 TEXT", 1))
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	r := row("m.f", "w", "{}", "success", 1, 1, 0, nil)
	if _, err := db.ExecContext(t.Context(), strings.Replace(insert, ",caller", ",caller2", 1), r...); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(path)
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
	store := ledger.NewMemory()
	defer store.Close()
	if wrote, left := carryAll(t, path, store, nil); wrote != 1 {
		t.Errorf("wrote %d, left out %v", wrote, left)
	}
}
