package connect

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/ledger-once/ledger"
)

// Variables of the environment. One that is set but empty counts as not set.
const (
	EnvDB       = "LEDGER_DB"       // path of the SQLite file. Defaults to ./ledger.db
	EnvStore    = "LEDGER_STORE"    // URL for Open; wins over LEDGER_DB
	EnvWorkflow = "LEDGER_WORKFLOW" // Defaults to "default"
	EnvQuiet    = "LEDGER_QUIET"    // "1" silences the log. Defaults to "0"

	// The password for etcd URLs; wins over the ETCDCTL_* variables, which Open describes.
	EnvEtcdPassword = "LEDGER_ETCD_PASSWORD"
)

// FromEnv returns a ready guard, and the one function that closes it together
// with its store:
//
//	guard, closeGuard, err := connect.FromEnv(ctx)
//	if err != nil {
//		return err
//	}
//	defer closeGuard(context.Background())
//
// closeGuard may be called again; it then returns what it returned at first. Where a
// tool does not return even after its context was cancelled, it returns an error matching
// [ledger.ErrRunning] and leaves the store open: the claim must outlive the tool.
//
// It logs to standard error at level Info unless LEDGER_QUIET is 1. It returns
// an error that names the variable, if one has a value that can not be used.
// With an etcd URL, LEDGER_ETCD_PASSWORD and the ETCDCTL_* variables count too: see [Open].
func FromEnv(ctx context.Context) (guard *ledger.Guard, closeGuard func(context.Context) error, err error) {
	return FromEnvWith(ctx, nil)
}

// FromEnvWith is FromEnv with options, for policies above all. LEDGER_WORKFLOW
// and LEDGER_QUIET, where they are set, win over o, which is not changed. nil works.
func FromEnvWith(ctx context.Context, o *ledger.Options) (guard *ledger.Guard, closeGuard func(context.Context) error, err error) {
	return fromEnv(ctx, o, os.Getenv)
}

func fromEnv(ctx context.Context, o *ledger.Options, env func(string) string) (*ledger.Guard, func(context.Context) error, error) {
	var opts ledger.Options
	if o != nil {
		opts = *o
	}
	if w := env(EnvWorkflow); w != "" {
		id := ledger.ID{Workflow: w, Tool: "any"}
		if err := id.Validate(); err != nil {
			return nil, nil, fmt.Errorf("connect: %s: %w", EnvWorkflow, err)
		}
		opts.Workflow = w
	}
	quiet := false
	if v := env(EnvQuiet); v != "" {
		var err error
		if quiet, err = strconv.ParseBool(v); err != nil {
			return nil, nil, fmt.Errorf("connect: %s: %w", EnvQuiet, invalid("%q is not understood; use 1 or true, 0 or false", v))
		}
	}
	switch {
	case quiet:
		opts.Logger = slog.New(slog.DiscardHandler)
	case opts.Logger == nil:
		opts.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}

	store, err := storeFromEnv(ctx, env, opts.Logger)
	if err != nil {
		return nil, nil, fmt.Errorf("connect: %w", err)
	}
	closer, _ := store.(io.Closer)
	guard, err := ledger.New(store, &opts)
	if err != nil {
		if closer != nil {
			err = errors.Join(err, closer.Close())
		}
		return nil, nil, err
	}
	return guard, closeBoth(guard, closer), nil
}

// closeBoth returns the function that closes guard, then store, once.
func closeBoth(guard *ledger.Guard, store io.Closer) func(context.Context) error {
	var once sync.Once
	var err error
	return func(ctx context.Context) error {
		once.Do(func() {
			err = guard.Close(ctx)
			// The claim of a tool that does not return must outlive it, or another
			// worker takes the call over; so its store stays open until the process ends.
			if store != nil && !errors.Is(err, ledger.ErrRunning) {
				err = errors.Join(err, store.Close())
			}
		})
		return err
	}
}

func storeFromEnv(ctx context.Context, env func(string) string, logger *slog.Logger) (ledger.Store, error) {
	name, url := EnvStore, env(EnvStore)
	if url == "" {
		name, url = EnvDB, env(EnvDB)
		if url == "" {
			url = "ledger.db"
		}
		if strings.Contains(url, "://") || strings.EqualFold(url, "memory:") {
			return nil, fmt.Errorf("%s: %w", name, invalid("it is the path of a file; a URL belongs in %s", EnvStore))
		}
	}
	store, err := open(ctx, url, env, logger)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return store, nil
}
