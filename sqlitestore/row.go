package sqlitestore

import (
	"database/sql/driver"
	"unsafe"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/failpoint"
	"github.com/ledger-once/ledger/internal/recordjson"
)

// A row is a record as it is stored, decoded only where somebody reads it.
type row struct {
	found   bool
	alive   bool // by the census, for a running record
	rec     int64
	version int64
	state   int64
	nonce   string
	owner   string
	key     string
	data    string
	tally   ledger.Tally
}

const (
	rowColumns = `r.rec, r.version, r.state, r.nonce, r.owner, r.key, r.data, t.attempts, t.executed, t.blocked`
	rowTables  = `records AS r LEFT JOIN tallies AS t ON t.rec = r.rec`
	byID       = `r.workflow = ? AND r.tool = ? AND r.fingerprint = ?`
	selectByID = `SELECT ` + rowColumns + ` FROM ` + rowTables + ` WHERE ` + byID
)

func (r *row) scan(v []driver.Value) {
	r.found = true
	r.rec, r.version, r.state = v[0].(int64), v[1].(int64), v[2].(int64)
	if r.state == codeFresh {
		r.state = codeRunning
	}
	r.nonce, r.owner, r.key, r.data = v[3].(string), v[4].(string), v[5].(string), v[6].(string)
	r.tally = ledger.Tally{}
	if attempts, ok := v[7].(int64); ok {
		r.tally.Attempts, r.tally.Executed, r.tally.Blocked = attempts, v[8].(int64), v[9].(int64)
	}
}

// record decodes the row.
func (r *row) record(id ledger.ID) (ledger.Record, error) {
	if r.state == codeNone {
		counter := ledger.Record{ID: id}
		counter.AddTally(r.tally)
		return counter, nil
	}
	out, err := recordjson.Decode(id, ledger.Version(r.version), bytesOf(r.data))
	if err != nil {
		return out, err
	}
	out.Alive = r.alive && r.state == codeRunning
	out.AddTally(r.tally)
	return out, nil
}

// aliveRow reports whether r is running and its owner lives.
func (c *census) aliveRow(r *row) (bool, error) {
	if !r.found || r.state != codeRunning {
		return false, nil
	}
	if failpoint.On && failpoint.Mutant(failpoint.MutantWallClock) {
		return r.fresh()
	}
	return c.alive(r.owner)
}

// text is b as a string, without a copy; b is not written to afterwards.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// bytesOf is s as bytes, without a copy; nobody writes to them.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
