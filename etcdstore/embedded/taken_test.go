package embedded

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// testPatience tests what waits for something to be free. Of what start returns the first function frees it, and may
// be called twice; the second one waits for it.
func testPatience(t *testing.T, taken error, start func(t *testing.T) (free func(), wait func(context.Context) error)) {
	for _, tt := range []struct {
		name         string
		freed, ended time.Duration // after which it is free, and the context ends
		took         time.Duration
		want         error
	}{
		{name: "free", freed: 0, ended: time.Hour, took: 0},
		{name: "held for a moment", freed: takenLimit / 2, ended: time.Hour, took: takenLimit / 2},
		{name: "taken", freed: time.Hour, ended: time.Hour, took: takenLimit, want: taken},
		{name: "context ends", freed: time.Hour, ended: takenLimit / 4, took: takenLimit / 4, want: context.DeadlineExceeded},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				free, wait := start(t)
				defer free()
				if tt.freed == 0 {
					free()
				}
				defer time.AfterFunc(tt.freed, free).Stop()
				ctx, cancel := context.WithTimeout(t.Context(), tt.ended)
				defer cancel()
				began := time.Now()
				if err := wait(ctx); !errors.Is(err, tt.want) {
					t.Errorf("got error %v, want %v", err, tt.want)
				}
				if took := time.Since(began); took < tt.took || took > tt.took+takenPause {
					t.Errorf("it took %v, want %v", took, tt.took)
				}
			})
		})
	}
}
