//go:build !windows

package main

import (
	"errors"
	"os"
)

// syncDir makes a name in the directory last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
