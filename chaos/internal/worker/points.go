package worker

import (
	"errors"

	"github.com/ledger-once/ledger/chaos/internal/point"
	"github.com/ledger-once/ledger/internal/failpoint"
)

// committing are the points of a call inside of sqlitestore. (Those of etcdstore are seen on the wire.)
var committing = map[string]point.Point{
	failpoint.SQLiteClaimCommitting:  point.ClaimSent,
	failpoint.SQLiteClaimCommitted:   point.ClaimCommitted,
	failpoint.SQLiteFinishCommitting: point.FinishSent,
	failpoint.SQLiteFinishCommitted:  point.FinishCommitted,
	failpoint.SQLiteDeleteCommitting: point.DeleteSent,
	failpoint.SQLiteDeleteCommitted:  point.DeleteCommitted,
}

// armPoints makes the library's own points halt the process where it is told to: by the
// names of package point, or by those of package failpoint.
func (w *worker) armPoints() error {
	if !failpoint.On {
		return nil
	}
	var errs []error
	for _, p := range failpoint.Points() {
		at := point.Point(p.Name)
		if common, ok := committing[p.Name]; ok && w.job.Store == "sqlite" {
			at = common
		}
		errs = append(errs, failpoint.Arm(p.Name, func() { w.halts.at(at, "") }))
	}
	return errors.Join(errs...)
}
