package ledger_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/ledger-once/ledger"

// arrows says which of the project's packages a package may import; tests are
// free. A prefix ends in "/...". What is not listed may import nothing of ours.
//
// internal/failpoint is below everything: the points and rules that the chaos harness breaks are in the real
// guard and the real stores. Without its build tag it is a constant false.
var arrows = map[string][]string{
	".":                      {"fingerprint", "internal/failpoint", "internal/seam"},
	"fingerprint":            {},
	"internal/failpoint":     {},
	"internal/seam":          {},
	"internal/recordjson":    {"."},
	"internal/leakcheck":     {},
	"storetest":              {".", "internal/leakcheck"},
	"sqlitestore":            {".", "internal/failpoint", "internal/recordjson"},
	"etcdstore":              {".", "internal/failpoint", "internal/recordjson"},
	"etcdstore/embedded":     {},
	"connect":                {".", "sqlitestore", "etcdstore"},
	"dashboard":              {".", "internal/callview"},
	"internal/callview":      {"."},
	"cmd/ledger":             {"internal/cli"},
	"internal/open":          {".", "connect", "etcdstore", "etcdstore/embedded"},
	"internal/cli":           {".", "chaos", "connect", "etcdstore", "dashboard", "fingerprint", "internal/ancestor", "internal/callview", "internal/child", "internal/demo", "internal/doctor", "internal/open"},
	"internal/doctor":        {".", "connect", "etcdstore", "internal/open"},
	"internal/ancestor":      {".", "fingerprint"},
	"internal/bulk":          {"."},
	"internal/mangen":        {"internal/cli"},
	"internal/demo":          {".", "connect", "etcdstore", "etcdstore/embedded", "internal/open"},
	"chaos/internal/explore": {".", "internal/seam"},
	"chaos": {"chaos/internal/check", "chaos/internal/cluster", "chaos/internal/explore", "chaos/internal/lab", "chaos/internal/points",
		"chaos/internal/powercut", "chaos/internal/proc", "chaos/internal/report", "chaos/internal/soak", "chaos/internal/trace",
		"chaos/internal/worker", "internal/failpoint"},
	"chaos/internal/point": {},
	"chaos/internal/points": {".", "chaos/internal/check", "chaos/internal/lab", "chaos/internal/point", "chaos/internal/proc",
		"chaos/internal/trace", "chaos/internal/worker", "internal/failpoint"},
	"chaos/internal/soak": {"chaos/internal/lab", "chaos/internal/point", "chaos/internal/trace", "chaos/internal/worker"},
	"chaos/internal/lab": {".", "chaos/internal/cluster", "chaos/internal/point", "chaos/internal/proc", "chaos/internal/proxy",
		"chaos/internal/snap", "chaos/internal/trace", "chaos/internal/worker", "chaos/internal/world", "etcdstore", "sqlitestore"},
	"chaos/internal/worker": {".", "chaos/internal/point", "chaos/internal/snap", "chaos/internal/trace", "chaos/internal/world",
		"etcdstore", "internal/failpoint", "sqlitestore"},
	"internal/killloop":        {".", "sqlitestore"},
	"chaos/internal/report":    {"chaos/internal/trace"},
	"chaos/internal/snap":      {".", "chaos/internal/trace"},
	"chaos/internal/world":     {"chaos/internal/trace"},
	"chaos/internal/proc":      {"chaos/internal/trace"},
	"chaos/internal/cluster":   {".", "chaos/internal/proc", "chaos/internal/snap", "chaos/internal/trace", "etcdstore/embedded", "internal/recordjson"},
	"bench":                    {".", "etcdstore", "etcdstore/embedded", "fingerprint", "internal/benchkit", "internal/benchkit/rounds", "sqlitestore"},
	"bench/others":             {".", "internal/benchkit/rounds"}, // a module of its own
	"internal/benchkit":        {".", "etcdstore", "internal/benchkit/rounds", "internal/recordjson", "sqlitestore"},
	"internal/benchkit/rounds": {"."},
	// It is worker and judge of its own runs.
	"chaos/internal/powercut": {".", "chaos/internal/proc", "chaos/internal/trace", "internal/failpoint", "sqlitestore"},
	// An example shows one use, with the store that it needs.
	"examples/agenttest":   {"."},
	"examples/anthropic":   {"."},
	"examples/customstore": {"."},
	"examples/dailyreport": {"."},
	"examples/langchain":   {"."},
	"examples/fleet":       {".", "etcdstore", "etcdstore/embedded"},
	"examples/openai":      {"."},
	"examples/quickstart":  {".", "sqlitestore"},
	"examples/stripe":      {"."},
	"examples/toolset":     {"."},
	"examples/webhook":     {"."},
	// What judges the library shares no code with it.
	"chaos/internal/trace": {},
	"chaos/internal/check": {"chaos/internal/trace"},
}

// foreign is what the root package may import beside the standard library.
var foreign = map[string]bool{
	"github.com/cenkalti/backoff/v4":     true,
	"github.com/hashicorp/golang-lru/v2": true,
}

func TestImportArrows(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && file != "." || d.Name() == "testdata") {
			return fs.SkipDir
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		pkg := path.Dir(filepath.ToSlash(file))
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		seen++
		for _, spec := range f.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if why := wrongArrow(pkg, imported); why != "" {
				t.Errorf("%s imports %s: %s", file, imported, why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 20 {
		t.Errorf("only %d files were looked at", seen)
	}
}

// wrongArrow says what is wrong with the import, or "".
func wrongArrow(pkg, imported string) string {
	ours := ""
	switch {
	case imported == module:
		ours = "."
	case strings.HasPrefix(imported, module+"/"):
		ours = strings.TrimPrefix(imported, module+"/")
	case pkg == "." && strings.Contains(strings.Split(imported, "/")[0], ".") && !foreign[imported]:
		return "the root package imports the standard library, fingerprint and a few small libraries; see docs/adr"
	default:
		return ""
	}
	for _, ok := range arrows[pkg] {
		if ours == ok {
			return ""
		}
	}
	return "wrong arrow: cmd, examples -> connect, dashboard -> stores -> ledger -> fingerprint"
}

// Who imports a store must not compile etcd's server for it: package
// etcdstore/embedded alone imports that.
func TestNoServerInClients(t *testing.T) {
	gocmd, err := exec.LookPath("go")
	if err != nil {
		t.Skip("there is no go command to ask")
	}
	list := exec.CommandContext(t.Context(), gocmd, "list", "-deps", "./connect", "./etcdstore")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		t.Fatal(err)
	}
	deps := strings.Fields(string(out))
	if !slices.Contains(deps, module+"/etcdstore") || !slices.Contains(deps, "go.etcd.io/etcd/client/v3") {
		t.Errorf("the list of %d dependencies lacks what it must have", len(deps))
	}
	for _, dep := range deps {
		if strings.HasPrefix(dep, "go.etcd.io/etcd/server/") || strings.HasPrefix(dep, "go.etcd.io/bbolt") || strings.HasPrefix(dep, "go.etcd.io/raft") {
			t.Errorf("connect or etcdstore depends on %s, a part of etcd's server", dep)
		}
	}
}

func TestWrongArrowIsRefused(t *testing.T) {
	for _, tt := range []struct {
		pkg, imported string
		ok            bool
	}{
		{".", module + "/fingerprint", true},
		{".", module + "/sqlitestore", false},
		{".", "modernc.org/sqlite", false},
		{".", "net/http", true},
		{".", module + "/internal/failpoint", true},
		{"internal/failpoint", module, false},
		{"fingerprint", module, false},
		{"sqlitestore", module, true},
		{"sqlitestore", module + "/connect", false},
		{"connect", module + "/sqlitestore", true},
		{"connect", module + "/etcdstore/embedded", false},
		{"internal/demo", module + "/etcdstore/embedded", true},
		{"chaos/internal/check", module + "/chaos/internal/trace", true},
		{"chaos/internal/check", module, false},
		{"nowhere", module, false},
	} {
		if got := wrongArrow(tt.pkg, tt.imported) == ""; got != tt.ok {
			t.Errorf("%s importing %s: allowed is %v, want %v", tt.pkg, tt.imported, got, tt.ok)
		}
	}
}
