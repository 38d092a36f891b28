package cli

import (
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Colours are for terminals, and for those who do not forbid them.
func TestPrinterOnTerminal(t *testing.T) {
	tty := pty(t, 60)
	for _, c := range []struct {
		name  string
		env   map[string]string
		color bool
	}{
		{"terminal", map[string]string{"TERM": "xterm-256color"}, true},
		{"NO_COLOR", map[string]string{"TERM": "xterm-256color", "NO_COLOR": "yes"}, false},
		{"NO_COLOR, empty", map[string]string{"TERM": "xterm", "NO_COLOR": ""}, true},
		{"dumb", map[string]string{"TERM": "dumb"}, false},
	} {
		a := &app{environ: func(name string) string { return c.env[name] }}
		p := a.printer(tty)
		if p.Color != c.color || p.Width != 60 {
			t.Errorf("%s: got colour %v, width %d; want %v, 60", c.name, p.Color, p.Width, c.color)
		}
	}
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	a := &app{environ: func(string) string { return "" }}
	if p := a.printer(file); p.Color || p.Width != 0 {
		t.Errorf("a file: got colour %v, width %d", p.Color, p.Width)
	}
}

func pty(t *testing.T, columns uint16) *os.File {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { master.Close() })
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}); err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tty.Close() })
	return tty
}
