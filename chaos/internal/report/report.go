// Package report shows a chaos run to people: as one page of HTML that needs
// nothing beside itself, and as text for a terminal.
//
// The page makes no request: its style is in it, it has no script, and its content
// security policy forbids everything else. What it shows of the run's own words (evidence, names,
// commands) is escaped and cut to a bounded length; so is what goes to a terminal.
//
// The figures are the summary's. The package reads the run's directory for one
// thing only, the swimlanes: which is why a page without that directory lacks nothing but them.
package report

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io"
	"sync"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed page.css
	pageCSS string

	// Parsed when it is asked for: the command, which links it, starts often and shows it seldom.
	pageTemplate = sync.OnceValue(func() *template.Template { return template.Must(template.New("page").Parse(pageHTML)) })
)

// HTML writes the page of a run. dir is the run's directory, which has the
// histories that the swimlanes are drawn from; a violation's own directory is preferred. If it is
// "", or can not be read, the page has no swimlanes and says why. The page's links are relative to dir.
// HTML returns the error of w, or of ill data in s.Explorer.
func HTML(w io.Writer, s *trace.Summary, dir string) error {
	p := newPage(s)
	p.Lanes = drawLanes(s, dir)
	p.sections()
	p.Style = template.CSS(pageCSS) // ours, embedded
	// The style is allowed by its digest, so that no other can be slipped in; nothing else is allowed at all.
	digest := sha256.Sum256([]byte(pageCSS))
	p.Policy = "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) +
		"'; base-uri 'none'; form-action 'none'"
	return pageTemplate().Execute(w, p)
}
