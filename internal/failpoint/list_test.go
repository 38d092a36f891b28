package failpoint_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

	"github.com/ledger-once/ledger/internal/failpoint"
)

// Every constant of a point or mutant is listed, once, and nothing else is.
func TestLists(t *testing.T) {
	points, mutants := make(map[string]int), make(map[string]int)
	for _, p := range failpoint.Points() {
		points[p.Name]++
		if p.Text == "" || len(p.Stores) == 0 {
			t.Errorf("%+v says too little", p)
		}
	}
	for _, m := range failpoint.Mutants() {
		mutants[m.Name]++
		if m.Text == "" || len(m.Invariants) == 0 || len(m.Stores) == 0 {
			t.Errorf("%+v says too little", m)
		}
	}
	for file, list := range map[string]map[string]int{"points.go": points, "mutants.go": mutants} {
		consts := stringConsts(t, file)
		if len(consts) < 10 {
			t.Errorf("%s has only %d constants", file, len(consts))
		}
		for name, value := range consts {
			if list[value] != 1 {
				t.Errorf("%s (%q) is listed %d times", name, value, list[value])
			}
			delete(list, value)
		}
		for value := range list {
			t.Errorf("%q is listed, and no constant of %s", value, file)
		}
	}
}

func stringConsts(t *testing.T, file string) map[string]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	consts := make(map[string]string)
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, spec := range g.Specs {
			v := spec.(*ast.ValueSpec)
			if lit, ok := v.Values[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if consts[v.Names[0].Name], err = strconv.Unquote(lit.Value); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	return consts
}
