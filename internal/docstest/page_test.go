package docstest

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// root is the module's, from here.
const root = "../.."

// pages are what strangers read; the glob of each has to match something.
var pages = []string{"README.md", "docs/*.md", "llms.txt", "AGENTS.md", "CLAUDE.md", "CONTRIBUTING.md", "SECURITY.md"}

// A block is what stands between two fences.
type block struct {
	page, lang string
	line       int // of the first line within
	text       string
}

// A page is one file.
type page struct {
	name   string // with slashes, from the module's root
	text   string // all of it
	prose  string // without what stands in fences
	blocks []block
}

func read(t *testing.T, globs ...string) []page {
	t.Helper()
	var all []page
	for _, glob := range globs {
		names, err := filepath.Glob(filepath.Join(root, glob))
		if err != nil || len(names) == 0 {
			t.Fatalf("no page matches %s: %v", glob, err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			rel, err := filepath.Rel(root, name)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, parse(t, filepath.ToSlash(rel), string(text)))
		}
	}
	return all
}

func parse(t *testing.T, name, text string) page {
	t.Helper()
	p := page{name: name, text: text}
	var prose, inside strings.Builder
	var open *block
	lines, n := bufio.NewScanner(strings.NewReader(text)), 0
	for lines.Scan() {
		n++
		line := lines.Text()
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && open == nil:
			open = &block{page: name, lang: strings.TrimSpace(fence), line: n + 1}
			inside.Reset()
		case isFence:
			open.text = inside.String()
			p.blocks = append(p.blocks, *open)
			open = nil
		case open != nil:
			inside.WriteString(line + "\n")
		default:
			prose.WriteString(line)
		}
		if open == nil || isFence {
			prose.WriteString("\n") // keeps the line numbers
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	if open != nil {
		t.Fatalf("%s:%d: the fence is never closed", name, open.line-1)
	}
	p.prose = prose.String()
	return p
}
