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

	"github.com/ledger-once/ledger"
)

// Variables of the environment. One that is set but empty counts as not set.
const (
	EnvDB       = "LEDGER_DB"       // path of the SQLite file. Defaults to ./ledger.db
	EnvStore    = "LEDGER_STORE"    // URL for Open; wins over LEDGER_DB
	EnvWorkflow = "LEDGER_WORKFLOW" // Defaults to "default"
	EnvQuiet    = "LEDGER_QUIET"    // "1" silences the log. Defaults to "0"
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
// It logs to standard error at level Info unless LEDGER_QUIET is 1. It returns
// an error that names the variable, if one has a value that can not be used.
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
			return nil, nil, fmt.Errorf("connect: %s: %w", EnvQuiet, invalid("%q is neither 0 nor 1", v))
		}
	}
	switch {
	case quiet:
		opts.Logger = slog.New(slog.DiscardHandler)
	case opts.Logger == nil:
		opts.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}

	store, err := storeFromEnv(ctx, env)
	if err != nil {
		return nil, nil, err
	}
	closer, _ := store.(io.Closer)
	guard, err := ledger.New(store, &opts)
	if err != nil {
		if closer != nil {
			err = errors.Join(err, closer.Close())
		}
		return nil, nil, err
	}
	return guard, func(ctx context.Context) error {
		err := guard.Close(ctx)
		if closer != nil {
			err = errors.Join(err, closer.Close())
		}
		return err
	}, nil
}

func storeFromEnv(ctx context.Context, env func(string) string) (ledger.Store, error) {
	if url := env(EnvStore); url != "" {
		store, err := Open(ctx, url)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", EnvStore, err)
		}
		return store, nil
	}
	path := env(EnvDB)
	if path == "" {
		path = "ledger.db"
	}
	if strings.Contains(path, "://") || strings.EqualFold(path, "memory:") {
		return nil, fmt.Errorf("connect: %s: %w", EnvDB, invalid("it is the path of a file; a URL belongs in %s", EnvStore))
	}
	store, err := Open(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", EnvDB, err)
	}
	return store, nil
}
