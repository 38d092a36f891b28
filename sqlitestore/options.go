package sqlitestore

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/ledger-once/ledger"
)

// Options adapt a store; nil works.
type Options struct {
	// BusyTimeout is how long a write waits for a program that is not ledger and
	// holds the database's write lock (a shell, a backup), and how long Close
	// waits for the turns of queued writes. The wait for other ledger processes is
	// bounded by the caller's context alone. Defaults to 5 s.
	BusyTimeout time.Duration
	// MaxBatch is the greatest number of claims, finishes, deletes and tallies
	// that share one commit, which takes no more once they have 4 MiB of records. Defaults to 256.
	MaxBatch int
	// Readers is the greatest number of listings at the same time; each keeps one
	// connection, opened at its first use. One more is for reads of single records
	// and of changes, which do not wait for listings. Defaults to 4.
	Readers int
	// CheckpointPages is the size of the write-ahead log, in pages of 4 KiB, from
	// which its content is copied into the database. Defaults to 4000.
	CheckpointPages int
	// PollMin and PollMax bound the pause between two looks for changes by other
	// processes, while somebody watches. It is PollMax at least while all who watch want
	// notices only, as a guard does, and up to ten times that on a busy machine. Default to 5 ms and 50 ms.
	PollMin, PollMax time.Duration
	// Logger gets what nobody else is told: an owner file that had to be made
	// anew, a COMMIT whose error was none. Never arguments or results. Defaults to no log.
	Logger *slog.Logger
}

func (o *Options) withDefaults() (Options, error) {
	var opts Options
	if o != nil {
		opts = *o
	}
	if opts.BusyTimeout < 0 || opts.MaxBatch < 0 || opts.Readers < 0 || opts.CheckpointPages < 0 || opts.PollMin < 0 || opts.PollMax < 0 {
		return opts, fmt.Errorf("%w: an option is negative; leave it 0 for its default", ledger.ErrInvalid)
	}
	if opts.BusyTimeout == 0 {
		opts.BusyTimeout = 5 * time.Second
	}
	if opts.MaxBatch == 0 {
		opts.MaxBatch = 256
	}
	if opts.Readers == 0 {
		opts.Readers = 4
	}
	if opts.CheckpointPages == 0 {
		opts.CheckpointPages = 4000
	}
	if opts.PollMin == 0 {
		opts.PollMin = 5 * time.Millisecond
	}
	if opts.PollMax == 0 {
		opts.PollMax = 50 * time.Millisecond
	}
	opts.PollMax = max(opts.PollMax, opts.PollMin)
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	return opts, nil
}
