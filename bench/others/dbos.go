package main

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"time"

	"github.com/dbos-inc/dbos-transact-golang/dbos"
	_ "github.com/dbos-inc/dbos-transact-golang/dbos/driver/sqlite" // registers how it knows the driver's errors
	_ "modernc.org/sqlite"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/benchkit/rounds"
)

// openDBOS guards calls with DBOS Transact: for each call a workflow whose ID is that of the call, and that runs the tool as its only step.
//
// Left alone it opens SQLite with synchronous=NORMAL, which can lose what was acknowledged in a power cut. It gets a pool
// that is like its own in all but that.
func openDBOS(ctx context.Context, path string, t tool) (_ rounds.Way, err error) {
	db, err := openFull(path)
	if err != nil {
		return rounds.Way{}, err
	}
	d, err := dbos.NewContext(ctx, dbos.Config{AppName: "bench", SQLiteSystemDB: db, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return rounds.Way{}, errors.Join(err, db.Close())
	}
	charge := func(ctx dbos.Context, in rounds.ChargeArgs) (rounds.Receipt, error) {
		return dbos.RunAsStep(ctx, func(ctx context.Context) (rounds.Receipt, error) { return t(ctx, in) }, dbos.WithStepName("charge_card"))
	}
	dbos.RegisterWorkflow(d, charge)
	end := func() error { return errors.Join(dbos.Shutdown(d, 10*time.Second), db.Close()) }
	if err := dbos.Launch(d); err != nil {
		return rounds.Way{}, errors.Join(err, end())
	}
	return rounds.Way{Name: "DBOS Transact", Close: end, Call: func(_ context.Context, id ledger.ID) error {
		h, err := dbos.RunWorkflow(d, charge, rounds.Charge(id.Fingerprint), dbos.WithWorkflowID(id.String()))
		if err != nil {
			return err
		}
		_, err = h.GetResult()
		return err
	}}, nil
}

// openFull opens SQLite as DBOS does, but with synchronous=FULL.
func openFull(path string) (*sql.DB, error) {
	db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=foreign_keys(ON)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(8)
	db.SetMaxIdleConns(4)
	db.SetConnMaxLifetime(time.Hour)
	return db, nil
}
