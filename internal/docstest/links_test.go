package docstest

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/ledger-once/ledger/chaos"
)

// everyPage is where links are looked at.
var everyPage = append([]string{"docs/adr/*.md", "chaos/README.md", "CHANGELOG.md", ".github/ISSUE_TEMPLATE/*.md"}, pages...)

var (
	linkTo   = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	codeSpan = regexp.MustCompile("`([^`\n]+)`")
	testName = regexp.MustCompile(`\b(?:Test|Benchmark|Fuzz)[A-Z]\w+`)
)

// spans yields the code within a page's prose, with its line.
func spans(p page) func(yield func(int, string) bool) {
	return func(yield func(int, string) bool) {
		n := 0
		for line := range strings.Lines(p.prose) {
			n++
			for _, m := range codeSpan.FindAllStringSubmatch(line, -1) {
				if !yield(n, m[1]) {
					return
				}
			}
		}
	}
}

// anchors are the fragments that GitHub gives a page's headings.
func anchors(prose string) map[string]bool {
	all := make(map[string]bool)
	for line := range strings.Lines(prose) {
		level := len(line) - len(strings.TrimLeft(line, "#"))
		if level == 0 || level > 6 || line[level] != ' ' {
			continue
		}
		var slug strings.Builder
		for _, c := range strings.ToLower(strings.TrimSpace(line[level:])) {
			switch {
			case c == ' ':
				slug.WriteByte('-')
			case c == '-' || c == '_' || unicode.IsLetter(c) || unicode.IsDigit(c):
				slug.WriteRune(c)
			}
		}
		name := slug.String()
		for n := 1; all[name]; n++ {
			name = fmt.Sprintf("%s-%d", slug.String(), n)
		}
		all[name] = true
	}
	return all
}

func exists(name string) bool {
	_, err := os.Stat(filepath.Join(root, filepath.FromSlash(name)))
	return err == nil
}

// broken says what is wrong with a link from the page, or "".
func broken(t *testing.T, p page, target string) string {
	if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
		return ""
	}
	file, fragment, _ := strings.Cut(target, "#")
	to := p
	if file != "" {
		name := path.Join(path.Dir(p.name), file)
		if strings.HasPrefix(name, "..") || !exists(name) {
			return "there is no " + name
		}
		if fragment == "" || !strings.HasSuffix(name, ".md") {
			return ""
		}
		to = read(t, name)[0]
	}
	if fragment != "" && !anchors(to.prose)[fragment] {
		return fmt.Sprintf("%s has no heading #%s", to.name, fragment)
	}
	return ""
}

func TestLinks(t *testing.T) {
	seen := 0
	for _, p := range read(t, everyPage...) {
		n := 0
		for line := range strings.Lines(p.prose) {
			n++
			for _, m := range linkTo.FindAllStringSubmatch(codeSpan.ReplaceAllString(line, ""), -1) {
				seen++
				if why := broken(t, p, m[1]); why != "" {
					t.Errorf("%s:%d: %s: %s", p.name, n, m[1], why)
				}
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d links were found", seen)
	}
	p := parse(t, "docs/page.md", "# A heading, `with` code\n\n## Twice\n## Twice\n")
	for target, ok := range map[string]bool{
		"#a-heading-with-code": true, "#twice-1": true, "#thrice": false, "operations.md": true, "nothing.md": false,
		"../README.md": true, "../../README.md": false, "operations.md#backup-and-restore": true, "operations.md#x": false, "https://example.com": true,
	} {
		if why := broken(t, p, target); (why == "") != ok {
			t.Errorf("%s: %q, fine is to be %v", target, why, ok)
		}
	}
}

// Paths of the repository that stand in the text as code have to exist. Not so in
// docs/adr, which tells of what was not taken, too.
func TestPaths(t *testing.T) {
	tops, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	top := make(map[string]bool)
	for _, e := range tops {
		top[e.Name()] = e.IsDir() && e.Name() != ".git"
	}
	plain := regexp.MustCompile(`^(\./)?[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*/?$`)
	seen := 0
	for _, p := range read(t, append([]string{"chaos/README.md", ".github/ISSUE_TEMPLATE/*.md"}, pages...)...) {
		for n, code := range spans(p) {
			for word := range strings.FieldsSeq(code) {
				first, _, isPath := strings.Cut(strings.TrimPrefix(word, "./"), "/")
				if !isPath || !plain.MatchString(word) || !top[first] {
					continue
				}
				name := strings.TrimSuffix(strings.TrimPrefix(word, "./"), "/...")
				seen++
				if !exists(name) {
					t.Errorf("%s:%d: there is no %s", p.name, n, name)
				}
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d paths were found", seen)
	}
}

// tests are the names of all test functions of the module.
func tests(t *testing.T) map[string]bool {
	t.Helper()
	all := make(map[string]bool)
	declared := regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz)\w+)\(`)
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(file, "_test.go") {
			return err
		}
		text, err := os.ReadFile(file)
		for _, m := range declared.FindAllSubmatch(text, -1) {
			all[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// begins reports whether some test's name begins so; -run takes that.
func begins(known map[string]bool, name string) bool {
	for k := range known {
		if strings.HasPrefix(k, name) {
			return true
		}
	}
	return false
}

// A page that points to a test points to one that there is.
func TestTestNames(t *testing.T) {
	known := tests(t)
	seen := 0
	for _, p := range read(t, append([]string{"chaos/README.md", "CHANGELOG.md"}, pages...)...) {
		for n, code := range spans(p) {
			for _, name := range testName.FindAllString(code, -1) {
				seen++
				if !known[name] && !(strings.Contains(code, "-run") && begins(known, name)) {
					t.Errorf("%s:%d: there is no test %s", p.name, n, name)
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d names of tests were found", seen)
	}
}

// docs/failure-model.md says what comes of each kind of fault that chaos plays, and names no other.
func TestFailureModelHasTheFaults(t *testing.T) {
	p := read(t, "docs/failure-model.md")[0]
	said := make(map[string]bool)
	for _, m := range regexp.MustCompile("faults? ((?:`[a-z-]+`(?:, )?)+)").FindAllStringSubmatch(p.prose, -1) {
		for _, code := range codeSpan.FindAllStringSubmatch(m[1], -1) {
			said[code[1]] = true
		}
	}
	for _, kind := range chaos.Faults() {
		if !said[kind] {
			t.Errorf("%s does not say what comes of the fault %s", p.name, kind)
		}
		delete(said, kind)
	}
	for kind := range said {
		t.Errorf("%s names the fault %s, and chaos has none of that name", p.name, kind)
	}
}
