package sqlitestore

import (
	"encoding/binary"
	"errors"

	"github.com/ledger-once/ledger"
)

// The notes of a commit: one for each write: kind, rec
// as uvarint, and for a removed record its ID. They are stored: only ever append kinds.
const (
	noteNew    byte = 1 // the first claim; its rec is its version, the commit's is that of all others
	noteClaim  byte = 2 // a claim over a stored record
	noteFinish byte = 3
	noteRemove byte = 4 // by a finish: nobody but the claim's owner knew the record
	noteDelete byte = 5
)

type note struct {
	kind    byte
	version int64
	commit  int64 // in which it is
	rec     int64
	id      ledger.ID // of a removed record
}

var errNotes = errors.New("the notes of a commit are not readable; was it written by a newer version?")

// parseNotes reads the notes of the commit of the given version.
func parseNotes(version int64, b []byte) ([]note, error) {
	var notes []note
	for len(b) > 0 {
		n := note{kind: b[0], version: version, commit: version}
		rec, size := binary.Uvarint(b[1:])
		if size <= 0 || n.kind < noteNew || n.kind > noteDelete {
			return nil, errNotes
		}
		n.rec, b = int64(rec), b[1+size:]
		if n.kind == noteNew {
			n.version = n.rec
		}
		if n.kind == noteRemove || n.kind == noteDelete {
			for _, part := range []*string{&n.id.Workflow, &n.id.Tool, &n.id.Fingerprint} {
				length, size := binary.Uvarint(b)
				if size <= 0 || length > uint64(len(b)-size) {
					return nil, errNotes
				}
				*part, b = string(b[size:size+int(length)]), b[size+int(length):]
			}
		}
		notes = append(notes, n)
	}
	return notes, nil
}

func (n *note) removed() bool { return n.kind == noteRemove || n.kind == noteDelete }

// notice reports whether it makes stale what others remember; see ledger.WatchOptions.
func (n *note) notice() bool { return n.kind == noteClaim || n.kind == noteDelete }
