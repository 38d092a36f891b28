package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/ledger-once/ledger"
)

const idHelp = "ID is workflow/tool/fingerprint, or the fingerprint alone; the fingerprint may be shortened to 4\n" +
	"digits or more, as ledger show prints it. A fingerprint alone is looked for among all calls,\n" +
	"which takes a second on a big ledger, and longer in etcd."

const leastDigits = 4

// find returns the record that s names.
func (at *ledgerAt) find(ctx context.Context, s string) (ledger.Record, error) {
	var f ledger.Filter
	prefix := s
	if strings.Contains(s, "/") {
		id, err := ledger.ParseID(s)
		if err != nil {
			return ledger.Record{}, usage(err)
		}
		r, err := at.Get(ctx, id)
		if !isNotFound(err) || len(id.Fingerprint) >= fullDigits || id.IsCounter() {
			return r, missing(s, err)
		}
		f.Workflow, f.Tool, prefix = id.Workflow, id.Tool, id.Fingerprint
	}
	if len(prefix) < leastDigits || len(prefix) > fullDigits || strings.Trim(prefix, "0123456789abcdef") != "" {
		return ledger.Record{}, usage(fmt.Errorf("%q is no ID; use workflow/tool/fingerprint, or %d or more hex digits of the fingerprint, as ledger show prints them", s, leastDigits))
	}
	f.Fingerprint = prefix
	var found []ledger.Record
	for r, err := range at.List(ctx, f) {
		if err != nil {
			return ledger.Record{}, err
		}
		if found = append(found, r); len(found) > maxNamed {
			break
		}
	}
	switch len(found) {
	case 0:
		return ledger.Record{}, missing(s, ledger.ErrNotFound)
	case 1:
		return found[0], nil
	}
	var b strings.Builder
	for _, r := range found[:min(len(found), maxNamed)] {
		b.WriteString("\n  " + clean(r.ID.String()))
	}
	return ledger.Record{}, usage(fmt.Errorf("%s is short for several calls; name one:%s", s, &b))
}

const (
	fullDigits = 32 // of a fingerprint
	maxNamed   = 8  // calls that an error names
)
