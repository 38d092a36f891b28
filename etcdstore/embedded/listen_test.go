package embedded

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
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
	for _, tt := range []struct {
		name         string
		freed, ended time.Duration // after which the address is free, and the context ends
		took         time.Duration
		want         error
	}{
		{name: "free", freed: 0, ended: time.Hour, took: 0},
		{name: "held for a moment", freed: takenLimit / 2, ended: time.Hour, took: takenLimit / 2},
		{name: "taken", freed: time.Hour, ended: time.Hour, took: takenLimit, want: syscall.EADDRINUSE},
		{name: "context ends", freed: time.Hour, ended: takenLimit / 4, took: takenLimit / 4, want: context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				held, err := listenAnywhere()
				if err != nil {
					t.Fatal(err)
				}
				if tt.freed == 0 {
					held.Close()
				}
				free := time.AfterFunc(tt.freed, func() { held.Close() })
				defer held.Close()
				defer free.Stop()
				ctx, cancel := context.WithTimeout(t.Context(), tt.ended)
				defer cancel()
				start := time.Now()
				l, err := listenOn(ctx, held.Addr().String())
				if !errors.Is(err, tt.want) {
					t.Errorf("got error %v, want %v", err, tt.want)
				}
				if err == nil {
					l.Close()
				}
				if took := time.Since(start); took < tt.took || took > tt.took+takenPause {
					t.Errorf("it took %v, want %v", took, tt.took)
				}
			})
		})
	}
}
