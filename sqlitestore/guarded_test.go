package sqlitestore

import (
	"context"
	"database/sql"
	"path/filepath"
	"sync"
	"testing"

	"github.com/ledger-once/ledger"
)

// guarded is a whole guarded call: fingerprint, claim, tool, finish.
type guarded struct{ g *ledger.Guard }

type chargeArgs struct {
	ID       string
	Customer string
	Amount   int
	Currency string
	Rate     float64
}

type receipt struct{ ID, Status string }

func newGuarded(t *testing.T) guarded {
	g, err := ledger.New(openTest(t, filepath.Join(t.TempDir(), "ledger.db")), &ledger.Options{Default: ledger.Policy{Replay: true}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := g.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return guarded{g}
}

func (g guarded) call(ctx context.Context, id ledger.ID) error {
	_, err := ledger.Do(ctx, g.g, ledger.Call{Tool: "charge_card", Key: id.Fingerprint, Args: chargeArgs{id.Fingerprint, "cus_9s6XKzkNRiz8i3", 4200, "eur", 1.25}},
		func(context.Context) (receipt, error) {
			return receipt{"ch_3MmlLrLkdIwHu7ix0snN0B15", "succeeded"}, nil
		})
	return err
}

// byHand is what a user would write: INSERT and UPDATE through database/sql,
// prepared, each in a transaction of its own, on one connection; WAL, synchronous=FULL.
type byHand struct {
	mu             sync.Mutex
	conn           *sql.Conn
	insert, update *sql.Stmt
}

func newByHand(t *testing.T) *byHand {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "byhand.db")+"?_pragma=journal_mode(wal)&_pragma=synchronous(full)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	h := &byHand{}
	if h.conn, err = db.Conn(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.conn.Close() })
	if _, err := h.conn.ExecContext(t.Context(), "CREATE TABLE calls (id TEXT PRIMARY KEY, state TEXT, args TEXT, result TEXT)"); err != nil {
		t.Fatal(err)
	}
	if h.insert, err = h.conn.PrepareContext(t.Context(), "INSERT OR IGNORE INTO calls (id, state, args) VALUES (?, 'running', ?)"); err != nil {
		t.Fatal(err)
	}
	if h.update, err = h.conn.PrepareContext(t.Context(), "UPDATE calls SET state = 'succeeded', result = ? WHERE id = ?"); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *byHand) call(ctx context.Context, id ledger.ID) error {
	if err := h.step(ctx, h.insert, id.String(), `{"amount":4200,"currency":"eur","customer":"cus_9s6XKzkNRiz8i3"}`); err != nil {
		return err
	}
	return h.step(ctx, h.update, `{"id":"ch_3MmlLrLkdIwHu7ix0snN0B15","status":"succeeded"}`, id.String())
}

func (h *byHand) step(ctx context.Context, stmt *sql.Stmt, args ...any) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	tx, err := h.conn.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.StmtContext(ctx, stmt).ExecContext(ctx, args...); err != nil {
		return err
	}
	return tx.Commit()
}
