package docstest

import (
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// libraries are the packages that a user imports.
var libraries = []string{".", "fingerprint", "sqlitestore", "etcdstore", "etcdstore/embedded", "connect", "dashboard", "storetest", "chaos"}

// calledByOthers are methods that a user does not call by name: errors, fmt and encoding/json do.
var calledByOthers = map[string]bool{"Error": true, "Is": true, "Unwrap": true, "String": true, "MarshalText": true, "UnmarshalText": true}

// withoutExample are the verbs of the libraries that no Example shows, and the Examples that print nothing, each with the reason.
var withoutExample = map[string]string{
	".:StateMachine":                "only this module can call it",
	"storetest:ExampleRun":          "only a test has the *testing.T that it takes",
	"storetest:ExampleRunWith":      "likewise; examples/customstore runs it",
	"storetest:ExampleRunInProcess": "likewise; the root package runs it, on Memory",
}

// source parses the package's files, or those of its tests. Files for one system are parsed too: their verbs want an example as well.
func source(t *testing.T, dir string, tests bool) []*ast.File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: no Go: %v", dir, err)
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") != tests {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return files
}

// verbs are the package's exported functions, and the exported methods of its exported types that are no interfaces, those called by others apart: "Do", "Guard.Log".
func verbs(files []*ast.File) map[string]bool {
	all := make(map[string]bool)
	for _, f := range files {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok || !fn.Name.IsExported() {
				continue
			}
			name := fn.Name.Name
			if fn.Recv != nil {
				of := receiver(fn.Recv.List[0].Type)
				if !ast.IsExported(of) {
					continue
				}
				if calledByOthers[name] {
					continue
				}
				name = of + "." + name
			}
			all[name] = true
		}
	}
	return all
}

func receiver(typ ast.Expr) string {
	switch typ := typ.(type) {
	case *ast.StarExpr:
		return receiver(typ.X)
	case *ast.IndexExpr:
		return receiver(typ.X)
	case *ast.IndexListExpr:
		return receiver(typ.X)
	case *ast.Ident:
		return typ.Name
	}
	return ""
}

// TestVerbsHaveExamples: whoever looks a verb up finds a use of it that compiles and prints what it says.
func TestVerbsHaveExamples(t *testing.T) {
	excused := maps.Clone(withoutExample)
	seen := 0
	for _, dir := range libraries {
		shown := make(map[string]bool)
		for _, e := range doc.Examples(source(t, dir, true)...) {
			name := e.Name
			if of, _, ok := strings.Cut(name, "_"); ok && e.Suffix != "" && strings.HasSuffix(name, "_"+e.Suffix) {
				name = of
			}
			shown[strings.Replace(name, "_", ".", 1)] = true
			if e.Output == "" && !e.EmptyOutput {
				if _, ok := excused[dir+":Example"+e.Name]; !ok {
					t.Errorf("%s: Example%s has no output, so that it only compiles", dir, e.Name)
				}
				delete(excused, dir+":Example"+e.Name)
			}
		}
		for _, verb := range slices.Sorted(maps.Keys(verbs(source(t, dir, false)))) {
			seen++
			why, ok := excused[dir+":"+verb]
			delete(excused, dir+":"+verb)
			switch {
			case !shown[verb] && !ok:
				t.Errorf("%s: %s has no Example%s; write one that prints something", dir, verb, strings.Replace(verb, ".", "_", 1))
			case shown[verb] && ok:
				t.Errorf("%s: %s has an example, and is excused (%s) all the same", dir, verb, why)
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d verbs were found", seen)
	}
	for name := range excused {
		t.Errorf("%s is excused from an example, and there is no such thing", name)
	}
}

func TestVerbsAreFound(t *testing.T) {
	f, err := parser.ParseFile(token.NewFileSet(), "", `package p
func Do() {}
func do() {}
type T struct{}
func (*T) Run() {}
func (T) run() {}
func (T) String() string { return "" }
type G[A any] struct{}
func (*G[A]) Run() {}
type Two[A, B any] struct{}
func (Two[A, B]) Run() {}
type hidden struct{}
func (hidden) Run() {}
type I interface{ Run() }
`, 0)
	if err != nil {
		t.Fatal(err)
	}
	got, want := slices.Sorted(maps.Keys(verbs([]*ast.File{f}))), []string{"Do", "G.Run", "T.Run", "Two.Run"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
