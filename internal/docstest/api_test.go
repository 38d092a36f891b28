package docstest

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/doc"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the list of the API in llms.txt anew")

// surface lists what the package exports: declarations without bodies and field
// comments, each with the first sentence of its documentation.
func surface(t *testing.T, dir string) string {
	t.Helper()
	fset := token.NewFileSet()
	names, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") || regexp.MustCompile(`_(windows|other|unix|linux|darwin)\.go$`).MatchString(name) {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	p, err := doc.NewFromFiles(fset, files, module+"/"+dir)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	line := func(decl, comment string) {
		fmt.Fprintf(&b, "%s\n", decl)
		if text := strings.Join(strings.Fields(p.Synopsis(comment)), " "); text != "" {
			fmt.Fprintf(&b, "    %s\n", text)
		}
	}
	funcs := func(all []*doc.Func) {
		for _, f := range all {
			if f.Name == "StateMachine" || strings.HasSuffix(f.Name, "Text") || strings.HasPrefix(f.Doc, f.Name+" implements ") {
				continue // not for users; for encoding/json; said with the interface
			}
			line(signature(t, fset, f.Decl), f.Doc)
		}
	}
	values := func(all []*doc.Value) {
		for _, v := range all {
			line(v.Decl.Tok.String()+" "+strings.Join(v.Names, ", "), v.Doc)
		}
	}
	values(p.Consts)
	values(p.Vars)
	funcs(p.Funcs)
	for _, typ := range p.Types {
		line(declaration(t, fset, typ.Decl.Specs[0].(*ast.TypeSpec)), typ.Doc)
		values(typ.Consts)
		funcs(typ.Funcs)
		funcs(typ.Methods)
	}
	return b.String()
}

func printed(t *testing.T, fset *token.FileSet, node any) string {
	t.Helper()
	var b bytes.Buffer
	if err := format.Node(&b, fset, node); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func signature(t *testing.T, fset *token.FileSet, f *ast.FuncDecl) string {
	f.Body, f.Doc = nil, nil
	return printed(t, fset, f)
}

// declaration is a type on one line: with the names and types of its exported fields, or its methods.
func declaration(t *testing.T, fset *token.FileSet, spec *ast.TypeSpec) string {
	head := "type " + spec.Name.Name
	if spec.TypeParams != nil {
		head += "[T any]"
	}
	var parts []string
	switch typ := spec.Type.(type) {
	case *ast.StructType:
		for _, f := range typ.Fields.List {
			var names []string
			for _, n := range f.Names {
				if n.IsExported() {
					names = append(names, n.Name)
				}
			}
			if len(names) > 0 {
				parts = append(parts, strings.Join(names, ", ")+" "+printed(t, fset, f.Type))
			}
		}
		head += " struct"
	case *ast.InterfaceType:
		for _, f := range typ.Methods.List {
			if len(f.Names) > 0 {
				parts = append(parts, f.Names[0].Name+strings.TrimPrefix(printed(t, fset, f.Type), "func"))
			}
		}
		head += " interface"
	default:
		return head + " " + printed(t, fset, spec.Type)
	}
	if len(parts) == 0 {
		return head
	}
	return head + " { " + strings.Join(parts, "; ") + " }"
}

// TestAPI compares the lists of the API in llms.txt with the packages.
func TestAPI(t *testing.T) {
	name := filepath.Join(root, "llms.txt")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	was := strings.ReplaceAll(string(text), "\r\n", "\n")
	parts := regexp.MustCompile(`(?s)<!-- begin api of (\S+), generated -->\n.*?<!-- end api -->\n`)
	var dirs []string
	fresh := parts.ReplaceAllStringFunc(was, func(part string) string {
		dir := parts.FindStringSubmatch(part)[1]
		dirs = append(dirs, dir)
		return fmt.Sprintf("<!-- begin api of %s, generated -->\n```text\n%s```\n<!-- end api -->\n", dir, surface(t, dir))
	})
	if want := []string{".", "connect", "sqlitestore", "etcdstore", "dashboard", "storetest"}; !slices.Equal(dirs, want) {
		t.Errorf("llms.txt has the API of %q, want %q", dirs, want)
	}
	if fresh == was {
		return
	}
	if !*update {
		t.Fatal("the lists of the API in llms.txt are out of date: go test ./internal/docstest -run TestAPI -update")
	}
	if err := os.WriteFile(name, []byte(fresh), 0o644); err != nil {
		t.Fatal(err)
	}
}
