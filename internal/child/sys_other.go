//go:build !unix

package child

import (
	"os"
	"os/exec"
	"os/signal"
)

func attributes(*exec.Cmd) bool     { return false }
func fromTerminal(s os.Signal) bool { return s == os.Interrupt }

// Forwarded has the signals that are to be passed on sent to c, until stop is called.
func Forwarded(c chan<- os.Signal) (stop func()) {
	signal.Notify(c, os.Interrupt)
	return func() { signal.Stop(c) }
}

// Ends reports whether s asks a program to end.
func Ends(s os.Signal) bool                   { return s == os.Interrupt }
func send(p *os.Process, _ bool, s os.Signal) { _ = p.Signal(s) }
func terminate(p *os.Process, _ bool)         { _ = p.Kill() } // there is nothing gentler
func kill(p *os.Process, _ bool)              { _ = p.Kill() }
func hold(*exec.Cmd, *os.File)                {}
func exitCode(s *os.ProcessState) int         { return s.ExitCode() }
func present(*os.File, []byte) int            { return 0 } // pipes have no deadlines here
