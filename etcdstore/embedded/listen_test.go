package embedded

import (
	"context"
	"net"
	"syscall"
	"testing"
)

// take listens at an address that was just closed, which a child process that
// is being started may hold for a moment.
func take(t *testing.T, addr string) net.Listener {
	t.Helper()
	l, err := listenOn(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

func TestListenOn(t *testing.T) {
	testPatience(t, syscall.EADDRINUSE, func(t *testing.T) (func(), func(context.Context) error) {
		held, err := listenAnywhere()
		if err != nil {
			t.Fatal(err)
		}
		return func() { held.Close() }, func(ctx context.Context) error {
			l, err := listenOn(ctx, held.Addr().String())
			if err == nil {
				l.Close()
			}
			return err
		}
	})
}
