package powercut

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the driver of the integrity check

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/chaos/internal/trace"
	"github.com/ledger-once/ledger/sqlitestore"
)

// ledgerFile is the name of the ledger in the worker's directory.
const ledgerFile = "ledger.db"

// A memory is what the worker had said by a cut.
type memory struct {
	acked    map[string]say  // the last write of each call that was acknowledged
	removed  map[string]say  // the last removal of each call that was asked for
	claims   map[string]bool // the nonces of claims that were asked for
	ends     map[say]bool    // the finishes that were asked for, as acknowledged ones
	greatest int64           // version that was acknowledged
	acks     int
}

// remember looks at what was said before the cut. What was about to be said counts: it needs no further sync.
func remember(all []heard, c cut) memory {
	m := memory{acked: map[string]say{}, removed: map[string]say{}, claims: map[string]bool{}, ends: map[say]bool{}}
	newest := func(in map[string]say, s say) {
		if old, ok := in[s.ID]; !ok || s.after(old) {
			in[s.ID] = s
		}
	}
	for _, h := range all {
		s := h.say
		switch {
		case h.line > c.at || s.Op == opEnd:
		case !s.Asked:
			m.acks++
			m.greatest = max(m.greatest, s.At)
			newest(m.acked, s)
		case s.Op == opClaim:
			m.claims[s.Nonce] = true
		case s.Op == opFinish:
			s.Asked = false
			m.ends[s] = true
		case s.Op == opRemove:
			newest(m.removed, s)
		}
	}
	return m
}

// verify opens the ledger that a cut left in dir and compares it with what was acknowledged. An error says that it could not.
func verify(ctx context.Context, dir string, c cut, all []heard) (lost []trace.Violation, err error) {
	m := remember(all, c)
	found := func(invariant, id, format string, args ...any) {
		lost = append(lost, trace.Violation{Invariant: invariant, ID: id, Text: fmt.Sprintf(format, args...), Evidence: []string{c.String()}})
	}
	path := filepath.Join(dir, ledgerFile)
	store, err := sqlitestore.Open(ctx, path, nil)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		found("I6", "", "the ledger can not be opened after a power cut, with %d acknowledged writes: %v", m.acks, err)
		return lost, nil
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if verdict, err := integrity(ctx, path); err != nil || verdict != "ok" {
		found("I6", "", "the database is damaged after a power cut: %s (%v)", verdict, err)
	}
	for name, acked := range m.acked {
		why, err := m.stands(ctx, store, name, acked)
		if err != nil {
			return lost, err
		}
		if why != "" {
			found("I6", name, "a power cut lost what was acknowledged, the %s: %s", acked, why)
		}
	}
	// The ledger goes on, and no version comes again.
	now := time.Now().UTC()
	next, won, err := store.Claim(ctx, ledger.Claim{Next: ledger.Record{
		ID:    ledger.ID{Workflow: "default", Tool: "after", Fingerprint: "00000000000000000000000000000001"},
		State: ledger.StateRunning, Nonce: "after-the-cut", Token: "after", Created: now, Started: now,
	}})
	switch {
	case err != nil || !won:
		found("I6", "", "the ledger takes no claim after a power cut: won is %t, %v", won, err)
	case int64(next.Version) <= m.greatest:
		found("I11", "", "after a power cut a claim got the version %d, and %d was acknowledged before", next.Version, m.greatest)
	}
	return lost, nil
}

// stands says what is wrong with the record of a call; "": nothing.
func (m *memory) stands(ctx context.Context, store *sqlitestore.Store, name string, acked say) (string, error) {
	id, err := ledger.ParseID(name)
	if err != nil {
		return "", err
	}
	r, err := store.Get(ctx, id)
	switch {
	case errors.Is(err, ledger.ErrNotFound):
		removed, asked := m.removed[name]
		if acked.Op == opRemove || asked && removed.after(acked) {
			return "", nil
		}
		return "there is no record", nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		return err.Error(), nil
	}
	now := say{Op: opFinish, ID: name, Nonce: r.Nonce, At: int64(r.Fence), State: string(r.State), Result: string(r.Result)}
	stands := fmt.Sprintf("the record is %s, with fence %d", r.State, r.Fence)
	switch {
	case r.Fence < ledger.Version(acked.At), acked.Op == opRemove && r.Fence == ledger.Version(acked.At):
		return stands, nil
	case acked.Op == opFinish && r.Fence == ledger.Version(acked.At) && now != acked:
		return stands + fmt.Sprintf(" and a result of %d bytes instead of %d", len(now.Result), len(acked.Result)), nil
	case !m.claims[r.Nonce]:
		return stands + ", of a claim that nobody had asked for", nil
	case r.State != ledger.StateRunning && !m.ends[now]:
		return stands + ", an outcome that nobody had asked for", nil
	}
	return "", nil
}

func integrity(ctx context.Context, path string) (verdict string, err error) {
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: "mode=ro"}).String())
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return verdict, db.QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&verdict)
}
