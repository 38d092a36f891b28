package sqlitestore

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/ledger-once/ledger"
)

// applicationID marks a ledger in the header of the file: "Ldgr".
const applicationID = 0x4c646772

// schema is the version that this package reads and writes: the number of migrations.
var schema = len(migrations)

// migrations[i] brings a database from version i to version i+1. They are only
// ever appended to. All that are missing run in one transaction.
var migrations = [...]string{
	`
-- rec is the version of the first claim: it grows, so that new records gather at
-- the table's end, in few pages, whatever their fingerprints.
--
-- A row without a workflow is no record but a commit: each commit adds one, behind its new records. So the greatest
-- rec is the version counter, and its row is never removed. The commits are here, and not in a table of their own,
-- because a claim or a finish then writes one page less.
CREATE TABLE records (
	rec         INTEGER PRIMARY KEY, -- of a commit: the version of all that it wrote over
	version     INTEGER NOT NULL, -- of the last write; 0 for a counter
	state       INTEGER NOT NULL, -- see stateCodes
	started     INTEGER NOT NULL DEFAULT 0,  -- of the last claim, in microseconds since 1970
	nonce       TEXT    NOT NULL DEFAULT '', -- of the last claim
	owner       TEXT    NOT NULL DEFAULT '', -- the session of the last claim
	key         TEXT    NOT NULL DEFAULT '',
	workflow    TEXT,
	tool        TEXT    NOT NULL DEFAULT '',
	fingerprint TEXT    NOT NULL DEFAULT '',
	data        TEXT    NOT NULL DEFAULT '', -- the record as JSON: internal/recordjson
	mark        INTEGER, -- of a commit: tells whether one of unknown outcome happened
	notes       BLOB     -- of a commit: tell watchers what it wrote
) STRICT;

-- A finish changes none of its columns: so only the first claim writes to a page that the fingerprint chooses.
CREATE UNIQUE INDEX records_by_id ON records (workflow, tool, fingerprint) WHERE workflow IS NOT NULL;

-- Few records are running, in doubt or failed: their index stays small and in memory.
CREATE INDEX records_open ON records (state) WHERE state > 1;

CREATE TABLE tallies (
	rec      INTEGER PRIMARY KEY,
	attempts INTEGER NOT NULL,
	executed INTEGER NOT NULL,
	blocked  INTEGER NOT NULL
) STRICT;

INSERT INTO records (rec, version, state, mark, notes) VALUES (0, 0, -1, 0, x'');
`,
	// The state -2 came: what programs of version 1 would not take for running. See freshFrom.
	`SELECT 1`,
	`
-- How far the record is from what its state lets expect: one start, and one execution if it succeeded. Of a running record
-- they are those of its last finish, or 0. Few records need them: so counting does not have to read all.
ALTER TABLE tallies ADD COLUMN more_starts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE tallies ADD COLUMN more_executed INTEGER NOT NULL DEFAULT 0;
INSERT INTO tallies (rec, attempts, executed, blocked, more_starts, more_executed)
	SELECT rec, 0, 0, 0, max(min(starts, 1099511627776), -1099511627776) - 1, max(min(executed, 1099511627776), -1099511627776) - (state = 1)
	FROM (SELECT rec, state, coalesce(data ->> 'starts', 0) AS starts, coalesce(data ->> 'executed', 0) AS executed
		FROM records WHERE workflow IS NOT NULL AND state IN (1, 3, 4) AND json_valid(data))
	WHERE starts <> 1 OR executed <> (state = 1)
	ON CONFLICT (rec) DO UPDATE SET more_starts = excluded.more_starts, more_executed = excluded.more_executed;

-- As before, and now the failed ones of a tool can be counted in it.
DROP INDEX records_open;
CREATE INDEX records_open ON records (state, tool) WHERE state > 1;

-- The sums of the tallies of a tool, each taken for 2^40 at most so that a sum does not overflow, and the number of its guarded calls whose rec is less than that of the row of no tool. Claims and
-- finishes do not touch them: commits count the records that grew old, many at a time.
CREATE TABLE totals (
	tool     TEXT    PRIMARY KEY,
	calls    INTEGER NOT NULL DEFAULT 0,
	attempts INTEGER NOT NULL DEFAULT 0, -- with more_starts
	executed INTEGER NOT NULL DEFAULT 0, -- with more_executed
	blocked  INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;
INSERT INTO totals (tool, calls)
	SELECT tool, count(*) FROM records WHERE workflow IS NOT NULL AND fingerprint <> '' GROUP BY tool;
INSERT INTO totals (tool, attempts, executed, blocked)
	SELECT r.tool, sum(max(min(t.attempts, 1099511627776), -1099511627776) + t.more_starts), sum(max(min(t.executed, 1099511627776), -1099511627776) + t.more_executed), sum(max(min(t.blocked, 1099511627776), -1099511627776))
	FROM tallies AS t CROSS JOIN records AS r ON r.rec = t.rec WHERE r.workflow IS NOT NULL GROUP BY r.tool
	ON CONFLICT (tool) DO UPDATE SET attempts = excluded.attempts, executed = excluded.executed, blocked = excluded.blocked;
INSERT INTO totals (tool, calls) SELECT '', max(rec) + 1 FROM records;

CREATE TRIGGER tallies_added AFTER INSERT ON tallies BEGIN
	INSERT INTO totals (tool, attempts, executed, blocked)
		SELECT tool, max(min(new.attempts, 1099511627776), -1099511627776) + new.more_starts, max(min(new.executed, 1099511627776), -1099511627776) + new.more_executed, max(min(new.blocked, 1099511627776), -1099511627776) FROM records WHERE rec = new.rec
		ON CONFLICT (tool) DO UPDATE SET attempts = attempts + excluded.attempts, executed = executed + excluded.executed, blocked = blocked + excluded.blocked;
END;
CREATE TRIGGER tallies_changed AFTER UPDATE ON tallies BEGIN
	UPDATE totals SET
		attempts = attempts + max(min(new.attempts, 1099511627776), -1099511627776) + new.more_starts - max(min(old.attempts, 1099511627776), -1099511627776) - old.more_starts,
		executed = executed + max(min(new.executed, 1099511627776), -1099511627776) + new.more_executed - max(min(old.executed, 1099511627776), -1099511627776) - old.more_executed,
		blocked = blocked + max(min(new.blocked, 1099511627776), -1099511627776) - max(min(old.blocked, 1099511627776), -1099511627776)
		WHERE tool = (SELECT tool FROM records WHERE rec = new.rec);
END;
-- The record goes after its tallies: until then it tells their tool.
CREATE TRIGGER tallies_removed BEFORE DELETE ON tallies BEGIN
	UPDATE totals SET
		attempts = attempts - max(min(old.attempts, 1099511627776), -1099511627776) - old.more_starts,
		executed = executed - max(min(old.executed, 1099511627776), -1099511627776) - old.more_executed,
		blocked = blocked - max(min(old.blocked, 1099511627776), -1099511627776)
		WHERE tool = (SELECT tool FROM records WHERE rec = old.rec);
END;
`,
	`
-- What filters ask for, of the records whose rec is less than totals says for no tool: a look through these short rows takes a tenth
-- of one through the records, and no claim or finish writes a page of them, as it would of indexes. Commits add the records
-- that grew old, many at a time; who writes over one of those writes it here too.
CREATE TABLE facets (
	rec     INTEGER PRIMARY KEY,
	started INTEGER NOT NULL,
	key     TEXT    NOT NULL,
	tool    TEXT    NOT NULL,
	print   TEXT    NOT NULL, -- the first 8 characters of the fingerprint
	caller  TEXT -- NULL where the record can not be read, or is so long that reading it would hold up a commit
) STRICT;
INSERT INTO facets ` + selectFacets + ` WHERE workflow IS NOT NULL AND rec < (SELECT calls FROM totals WHERE tool = '');
`,
}

// selectFacets selects the rows of facets. A migration uses it: to change it takes another one, which fills facets anew.
const selectFacets = `SELECT rec, started, key, tool, substr(fingerprint, 1, 8), CASE WHEN state = 0 THEN '' WHEN octet_length(data) > 16384 THEN NULL WHEN json_valid(data) THEN coalesce(data ->> '$.owner.caller', '') END FROM records`

// State codes are stored: only ever append. Those greater than 1 are in records_open.
const (
	codeFresh     = -2 // running, since a moment: see freshFrom
	codeCommit    = -1 // the row is no record
	codeNone      = 0
	codeSucceeded = 1
	codeRunning   = 2
	codeInDoubt   = 3
	codeFailed    = 4
)

// A first claim is written as codeFresh, which is not in records_open: most calls finish soon, and so neither claim nor finish
// touches that index. Commits make the fresh records that grow old codeRunning, freshAfter of them at a time.
const freshAfter = 1 << 9

// freshFrom is the least rec that may be fresh where last is the greatest rec: the condition of those who look
// for fresh records, and kept by all who commit.
func freshFrom(last int64) int64 { return last&^(freshAfter-1) - 2*freshAfter }

func codeOf(s ledger.State) (int64, error) {
	switch s {
	case ledger.StateNone:
		return codeNone, nil
	case ledger.StateSucceeded:
		return codeSucceeded, nil
	case ledger.StateRunning:
		return codeRunning, nil
	case ledger.StateInDoubt:
		return codeInDoubt, nil
	case ledger.StateFailed:
		return codeFailed, nil
	}
	return 0, fmt.Errorf("%w: unknown state %q", ledger.ErrInvalid, s)
}

// schemaOf returns the version of c's schema; 0 for a database without any
// table. It refuses what is no ledger, or a newer one.
func schemaOf(c *conn) (int, error) {
	app, err := number(c, "PRAGMA application_id")
	if err != nil {
		return 0, err
	}
	version, err := number(c, "PRAGMA user_version")
	if err != nil {
		return 0, err
	}
	tables, err := number(c, "SELECT count(*) FROM sqlite_schema")
	if err != nil {
		return 0, err
	}
	switch {
	case app == 0 && version == 0 && tables == 0:
		return 0, nil
	case app != applicationID:
		return 0, fmt.Errorf("%w: the file is an SQLite database of another program (application_id %d, user_version %d, %d tables and indexes); name another file", ledger.ErrInvalid, app, version, tables)
	case version > schema:
		return 0, fmt.Errorf("%w: the ledger has schema version %d, and this program knows versions up to %d; upgrade this program", ledger.ErrInvalid, version, schema)
	case version < 1:
		return 0, fmt.Errorf("%w: the ledger has schema version %d, which never was; restore a backup", ledger.ErrInvalid, version)
	}
	return version, nil
}

func number(c *conn, sql string) (int, error) {
	text, err := c.text(sql)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(text)
}

// migrate brings the database to the current schema.
func migrate(c *conn, from int) error {
	if from == schema {
		return nil
	}
	if err := c.run("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := func() error {
		from, err := schemaOf(c) // again: now nobody else can write
		if err != nil {
			return err
		}
		for _, m := range migrations[from:] {
			if err := c.run(m); err != nil {
				return fmt.Errorf("migrate to schema version %d: %w", from+1, err)
			}
		}
		if err := c.run(fmt.Sprintf("PRAGMA application_id = %d", applicationID)); err != nil {
			return err
		}
		if err := c.run(fmt.Sprintf("PRAGMA user_version = %d", schema)); err != nil {
			return err
		}
		return c.run("COMMIT")
	}()
	if err != nil {
		return errors.Join(err, c.run("ROLLBACK"))
	}
	return nil
}
