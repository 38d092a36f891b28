package sqlitestore

import (
	"errors"
	"path/filepath"
)

// MakeNewer gives the closed database in dir a schema of the future.
func MakeNewer(dir string) error {
	c, err := openConn(filepath.Join(dir, "ledger.db"), nil)
	if err != nil {
		return err
	}
	return errors.Join(c.run("PRAGMA user_version = 99"), c.close())
}
