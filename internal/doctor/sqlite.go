package doctor

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
)

// lookAtFile looks at the file of an SQLite ledger and at what is around it. It is for before the store is
// opened: closing the file drops the process's locks on it (https://sqlite.org/howtocorrupt.html, 2.2).
func (r *Report) lookAtFile(path string) {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return // opening the store says it better
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if runtime.GOOS != "windows" {
		s := OK
		if info.Mode().Perm()&0o077 != 0 {
			s = Warn
		}
		r.add("file mode", s, fmt.Sprintf("%s has mode %04o", path, info.Mode().Perm()),
			"arguments and results may hold secrets that others can read or change; chmod 600 "+path)
	}
	dir := filepath.Dir(path)
	if known, ok := writable(path); known && !ok {
		r.add("writable", Fail, "this user can not write "+path, "run workers as its owner, or give them the right to write it")
	} else if known, ok := writable(dir); known && !ok {
		r.add("writable", Fail, "this user can not write the directory "+dir, "give workers the right to: SQLite makes a log beside the database, and ledger lock files")
	} else if known {
		r.add("writable", OK, "this user can write the file and its directory", "")
	}
	r.space(path, dir, info.Size())
	if version, ok := header(path); ok {
		r.add("schema", OK, fmt.Sprintf("version %d", version), "")
	}
}

// space compares what is free with what the ledger takes.
func (r *Report) space(path, dir string, size int64) {
	var log int64
	if wal, err := os.Stat(path + "-wal"); err == nil {
		log = wal.Size()
	}
	if log > gib/2 {
		r.add("log", Warn, fmt.Sprintf("%s-wal has %s", path, bytesText(log)),
			"look for a program that has had the ledger open for reading for long, such as a backup or an sqlite3 shell, and end it")
	}
	free, total, ok := space(dir)
	if !ok {
		return
	}
	found := fmt.Sprintf("%s free of %s; the ledger takes %s", bytesText(free), bytesText(total), bytesText(size+log))
	switch {
	case free < 64<<20:
		r.add("disk", Fail, found, "free some space: without it no call can be claimed, and outcomes wait in the workers")
	case free < gib || free < size/4:
		r.add("disk", Warn, found, "free some space, or delete old calls: ledger prune --older-than 90d")
	default:
		r.add("disk", OK, found, "")
	}
}

// header reads the schema version off the database's header (https://sqlite.org/fileformat2.html, 1.3): the
// user version, where the application id is ledger's. It may still be in the log; then ok is false.
func header(path string) (version uint32, ok bool) {
	f, err := os.Open(path)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	b := make([]byte, 100)
	if _, err := io.ReadFull(f, b); err != nil || binary.BigEndian.Uint32(b[68:]) != applicationID {
		return 0, false
	}
	return binary.BigEndian.Uint32(b[60:]), true
}

// applicationID is that of package sqlitestore's databases.
const applicationID = 0x4c646772
