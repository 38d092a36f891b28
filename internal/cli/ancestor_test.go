package cli

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// ancestorFile is the command ledger-ancestor FILE: it makes a file as the Python ledger-once leaves it behind.
func ancestorFile() {
	if err := ancestorAt(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func ancestorAt(path string) error {
	db, err := sql.Open("sqlite", path)
	if err != nil {
		return err
	}
	statements := []string{
		"PRAGMA journal_mode=WAL",
		`CREATE TABLE IF NOT EXISTS ledger (
			id TEXT PRIMARY KEY, tool TEXT, args TEXT, wf TEXT, created TEXT, touched TEXT, since TEXT, status TEXT DEFAULT 'running',
			attempts INT DEFAULT 0, runs INT DEFAULT 0, blocked INT DEFAULT 0, result TEXT, error TEXT, caller TEXT)`,
		"CREATE INDEX IF NOT EXISTS i_wf ON ledger(wf)",
		"CREATE INDEX IF NOT EXISTS i_caller ON ledger(caller)",
	}
	// The ids are what CPython computed.
	for _, row := range []string{
		`'a05d439c9829097c54945c87d26b069c', 'tools.charge_card', '{"customer": "cus_42", "amount": 99.99}', 'order-42', T, NULL, 'success', 3, 1, 2, '{"receipt": "ch_17"}', NULL, 'agent-A'`,
		`'` + strings.Repeat("a", 32) + `', 'tools.charge_card', '{"customer": "cus_43", "at": "10:00"}', 'order-43', T, NULL, 'success', 1, 1, 0, 'null', NULL, NULL`,
		`'d985293556db2dae3bc1d7069f0c213d', 'tools.send_email', '{"to": "ann@example.com"}', 'default', T, NULL, 'failed', 1, 0, 0, NULL, 'CardError: declined', NULL`,
		`'eeec07978dc15e825fed64b7e7eb891f', 'mail.send', '{"to": "bob@example.com"}', 'default', T, NULL, 'success', 1, 1, 0, NULL, NULL, NULL`,
		`'032a0f2b0484f050ea172751c7aa2054', 'tools.notify', '{}', 'default', T, '2026-03-01T10:00:00+00:00', 'running', 1, 0, 0, NULL, NULL, NULL`,
	} {
		row = strings.Replace(row, " T,", " '2026-03-01T10:00:00.000001+00:00', '2026-03-01T10:00:05+00:00',", 1)
		statements = append(statements, "INSERT INTO ledger (id,tool,args,wf,created,touched,since,status,attempts,runs,blocked,result,error,caller) VALUES ("+row+")")
	}
	for _, s := range statements {
		if _, err = db.Exec(s); err != nil {
			break
		}
	}
	return errors.Join(err, db.Close())
}
