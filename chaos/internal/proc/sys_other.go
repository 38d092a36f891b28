//go:build !linux

package proc

import (
	"errors"
	"io/fs"
	"syscall"
)

// errSystem is what everything returns: without Pdeathsig a killed harness would leave its children behind.
var errSystem = errors.New("proc: it needs Linux: a chaos run kills and stops processes, and leaves none behind if it is killed itself")

func supported() error                  { return errSystem }
func attributes() *syscall.SysProcAttr  { return nil }
func signalGroup(int, signal) error     { return errSystem }
func awaitExit(int)                     {}
func isStopped(int) (bool, error)       { return false, errSystem }
func startTime(int) (uint64, error)     { return 0, errSystem }
func isAlive(int, uint64) (bool, error) { return false, errSystem }
func bootID() (string, error)           { return "", errSystem }
func isMine(fs.FileInfo) bool           { return false }
