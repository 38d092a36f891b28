package docstest

import (
	"bytes"
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/ledger-once/ledger"

// A snippet is a block of Go as a file that can be compiled.
type snippet struct {
	block
	program bool
	source  string // with a line directive that names the page
}

// snippets are the pages' blocks of Go.
func snippets(t *testing.T, of []page) []snippet {
	t.Helper()
	var all []snippet
	for _, p := range of {
		for _, b := range p.blocks {
			if b.lang != "go" {
				continue
			}
			s, err := wrap(b)
			if err != nil {
				t.Errorf("%s:%d: %v", b.page, b.line, err)
				continue
			}
			all = append(all, s)
		}
	}
	return all
}

func wrap(b block) (snippet, error) {
	s := snippet{block: b}
	at := func(line int) string { return fmt.Sprintf("//line %s:%d\n", b.page, line) }
	if strings.HasPrefix(b.text, "package main\n") {
		s.program, s.source = true, at(b.line)+b.text
		return s, nil
	}
	if strings.Contains(b.text, "// Output:") {
		return s, errors.New("a fragment says what it prints; only a program can be run: begin it with package main")
	}
	// Declarations, if it is nothing else; statements after imports, if it is not.
	source := "package page\n" + at(b.line) + b.text
	if _, err := parser.ParseFile(token.NewFileSet(), "", source, 0); err == nil {
		s.source = source
		return s, nil
	}
	imports, rest, line := "", b.text, b.line
	if strings.HasPrefix(rest, "import ") {
		end := strings.Index(rest, "\n") + 1
		if strings.HasPrefix(rest, "import (") {
			end = strings.Index(rest, "\n)\n") + 3
		}
		imports, rest = rest[:end], rest[end:]
		line += strings.Count(imports, "\n")
	}
	s.source = "package page\n" + at(b.line) + imports + "func _() error {\n" + at(line) + rest + "\nreturn nil\n}\n"
	_, err := parser.ParseFile(token.NewFileSet(), "", s.source, 0)
	return s, err
}

// known are the packages that a fragment may name without an import, besides the preamble's and our own.
var known = map[string]string{
	"context": "context", "errors": "errors", "fmt": "fmt", "json": "encoding/json", "log": "log", "os": "os", "time": "time",
	"http": "net/http", "slog": "log/slog", "testing": "testing", "syscall": "syscall", "strings": "strings", "filepath": "path/filepath",
	"ledger": module, "connect": module + "/connect", "sqlitestore": module + "/sqlitestore", "etcdstore": module + "/etcdstore",
	"embedded": module + "/etcdstore/embedded", "storetest": module + "/storetest", "fingerprint": module + "/fingerprint",
	"chaos": module + "/chaos", "dashboard": module + "/dashboard", "backoff": "github.com/cenkalti/backoff/v4",
}

// addImports declares the known packages that a fragment names and does not import.
func (s *snippet) addImports() {
	fset := token.NewFileSet()
	f, err := parser.ParseFile(fset, "", s.source, 0)
	if err != nil || s.program {
		return
	}
	var have []string
	for _, spec := range f.Imports {
		path, _ := strconv.Unquote(spec.Path.Value) // the parser has read it
		have = append(have, path)
	}
	var add strings.Builder
	for _, unresolved := range f.Unresolved {
		path, ok := known[unresolved.Name]
		if ok && !slices.Contains(have, path) {
			have = append(have, path)
			fmt.Fprintf(&add, "import %s %q;", unresolved.Name, path)
		}
	}
	s.source = strings.Replace(s.source, "package page\n", "package page;"+add.String()+"\n", 1)
}

// exports reads what the go command has compiled of the packages, and of what they import.
func exports(t *testing.T, packages []string) types.Importer {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", append([]string{"list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}"}, packages...)...)
	list.Dir = root
	var stderr bytes.Buffer
	list.Stderr = &stderr
	out, err := list.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	files := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		files[path] = file
	}
	return importer.ForCompiler(token.NewFileSet(), "gc", func(path string) (io.ReadCloser, error) {
		if files[path] == "" {
			return nil, fmt.Errorf("no package %s", path)
		}
		return os.Open(files[path])
	})
}

// check type-checks the snippets, each by itself, and returns what is wrong.
func check(t *testing.T, all []snippet) []string {
	t.Helper()
	preamble, err := os.ReadFile("testdata/preamble.go")
	if err != nil {
		t.Fatal(err)
	}
	fset := token.NewFileSet()
	parse := func(name string, source any) *ast.File {
		f, err := parser.ParseFile(fset, name, source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	shared := parse("preamble.go", preamble)
	files := make([]*ast.File, len(all))
	imported := make(map[string]bool)
	for i := range all {
		all[i].addImports()
		files[i] = parse(all[i].page, all[i].source)
	}
	for _, f := range append([]*ast.File{shared}, files...) {
		for _, spec := range f.Imports {
			path, _ := strconv.Unquote(spec.Path.Value)
			imported[path] = true
		}
	}
	var packages []string
	for path := range imported {
		packages = append(packages, path)
	}
	from := exports(t, packages)
	var wrong []string
	for i, s := range all {
		conf := types.Config{Importer: from, Error: func(err error) {
			var te types.Error
			if errors.As(err, &te) && te.Soft && !s.program {
				return // unused
			}
			wrong = append(wrong, err.Error())
		}}
		of := []*ast.File{files[i]}
		if !s.program {
			of = append(of, shared)
		}
		if _, err := conf.Check("page", fset, of, nil); err != nil && s.program && len(wrong) == 0 {
			wrong = append(wrong, err.Error())
		}
	}
	return wrong
}

func TestGo(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no go command")
	}
	all := snippets(t, read(t, pages...))
	if len(all) < 20 {
		t.Errorf("only %d blocks of Go were found", len(all))
	}
	for _, w := range check(t, all) {
		t.Error(w)
	}
	for _, s := range all {
		if formatted, err := format.Source([]byte(s.text)); err == nil && string(formatted) != s.text {
			t.Errorf("%s:%d: gofmt would make of it\n%s", s.page, s.line, formatted)
		}
	}
}

// What a program prints is what it says.
func TestOutput(t *testing.T) {
	if testing.Short() {
		t.Skip("links programs")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no go command")
	}
	ran := 0
	for _, s := range snippets(t, read(t, pages...)) {
		_, want, ok := strings.Cut(s.text, "// Output:")
		if !s.program || !ok {
			continue
		}
		ran++
		var lines []string
		for line := range strings.Lines(want) {
			if text, ok := strings.CutPrefix(strings.TrimSpace(line), "//"); ok {
				lines = append(lines, strings.TrimSpace(text))
			}
		}
		if got, want := run(t, s.text), strings.Join(lines, "\n"); strings.TrimSpace(got) != strings.TrimSpace(want) {
			t.Errorf("%s:%d prints\n%s\nwant\n%s", s.page, s.line, got, want)
		}
	}
	if ran == 0 {
		t.Error("no page has a program that says what it prints")
	}
}

// run builds the program within the module, and runs it in a directory of its own.
func run(t *testing.T, source string) string {
	t.Helper()
	dir := t.TempDir()
	file, exe := filepath.Join(dir, "main.go"), filepath.Join(dir, "program")
	if runtime.GOOS == "windows" {
		exe += ".exe"
	}
	if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-ldflags", "-s -w", "-o", exe, file) // links faster
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	program := exec.CommandContext(t.Context(), exe)
	program.Dir = t.TempDir()
	var out, stderr bytes.Buffer
	program.Stdout, program.Stderr = &out, &stderr
	if err := program.Run(); err != nil {
		t.Fatalf("%v\n%s%s", err, out.Bytes(), stderr.Bytes())
	}
	return out.String()
}

// The checker finds what is wrong.
func TestGoIsChecked(t *testing.T) {
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no go command")
	}
	for text, want := range map[string]string{
		"guard.Workflow(7)\n": "cannot use 7",
		"res, err := ledger.Do(ctx, order, call, chargeCard)\n": "page.md:3",
		"x := 1\n":                                 "none",
		"func f() { guard.Nope() }\n":              "guard.Nope undefined",
		"package main\n\nfunc main() { x := 1 }\n": "declared and not used",
	} {
		s, err := wrap(block{page: "page.md", line: 3, text: text})
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		got := strings.Join(check(t, []snippet{s}), "\n")
		if want == "none" && got != "" || want != "none" && !strings.Contains(got, want) {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	if _, err := wrap(block{text: "fmt.Println(1)\n// Output:\n// 1\n"}); err == nil {
		t.Error("a fragment with an output is not refused")
	}
	if _, err := wrap(block{text: "if {\n"}); err == nil {
		t.Error("nonsense is not refused")
	}
}
