//go:build linux

package killloop

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/sqlitestore"
)

// A job is what a worker process is told, as JSON in its environment.
type job struct {
	DB, URL string
	Seed    uint64
	Worker  int
	Workers int
	Ops     int
	From    int    // the first operation to do; those before are acknowledged
	Key     string // do this one call only
}

const jobEnv = "LEDGER_KILLLOOP_JOB"

// hotKeys are called by all workers again and again; a third of the operations.
const hotKeys = 16

// key returns the key of a worker's operation. Each cold key belongs to two workers.
func (j *job) key(op int) string {
	rng := rand.New(rand.NewPCG(j.Seed, uint64(j.Worker)<<32|uint64(op)))
	if rng.IntN(3) == 0 {
		return fmt.Sprintf("hot-%d", rng.IntN(hotKeys))
	}
	return fmt.Sprintf("cold-%d", rng.IntN(j.Workers*j.Ops/3+1))
}

// toolOf spreads the keys over the in-doubt policies.
func toolOf(key string) string {
	sum := 0
	for _, c := range key {
		sum += int(c)
	}
	return []string{"retry", "block"}[sum%2]
}

func options() *ledger.Options {
	return &ledger.Options{
		Policies: map[string]ledger.Policy{
			"retry": {Replay: true, InDoubt: ledger.DoubtRetry},
			"block": {Replay: true, InDoubt: ledger.DoubtBlock},
		},
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

// An effect is what the world is asked to do.
type effect struct {
	Key     string
	Token   string
	Fence   ledger.Version
	Attempt int
	PID     int
	Worker  int
}

// work is the main function of a worker process. It writes one line per
// operation to standard output, with a single write, after the call returned:
// "ok OP KEY RESULT", "doubt OP KEY" or "busy OP KEY".
func work(ctx context.Context, j job) error {
	store, err := sqlitestore.Open(ctx, j.DB, nil)
	if err != nil {
		return err
	}
	defer store.Close()
	guard, err := ledger.New(store, options())
	if err != nil {
		return err
	}
	for op := j.From; op < j.Ops; op++ {
		key := j.Key
		if key == "" {
			key = j.key(op)
		}
		line, err := j.call(ctx, guard, op, key)
		if err != nil {
			return err
		}
		if _, err := os.Stdout.WriteString(line + "\n"); err != nil {
			return err
		}
	}
	return guard.Close(ctx)
}

func (j *job) call(ctx context.Context, guard *ledger.Guard, op int, key string) (string, error) {
	res, err := ledger.Do(ctx, guard, ledger.Call{Tool: toolOf(key), Key: key}, func(ctx context.Context) (string, error) {
		claim, _ := ledger.ClaimFrom(ctx)
		return j.act(ctx, effect{Key: key, Token: claim.Token, Fence: claim.Fence, Attempt: claim.Attempt, PID: os.Getpid(), Worker: j.Worker})
	})
	switch {
	case err == nil:
		return fmt.Sprintf("ok %d %s %s", op, key, res.Value), nil
	case errors.Is(err, ledger.ErrInDoubt):
		return fmt.Sprintf("doubt %d %s", op, key), nil
	case errors.Is(err, ledger.ErrInProgress):
		return fmt.Sprintf("busy %d %s", op, key), nil
	}
	return "", fmt.Errorf("operation %d on %s: %w", op, key, err)
}

// act asks the world for the effect and returns its receipt.
func (j *job) act(ctx context.Context, e effect) (string, error) {
	body, err := json.Marshal(e)
	if err != nil {
		return "", ledger.NotDone(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, j.URL, bytes.NewReader(body))
	if err != nil {
		return "", ledger.NotDone(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	receipt, err := io.ReadAll(io.LimitReader(resp.Body, 1<<10))
	if err != nil || resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("status %d, %q: %w", resp.StatusCode, receipt, err)
	}
	return string(receipt), nil
}

// runWorker is where a re-executed test binary ends.
func runWorker(spec string) int {
	var j job
	if err := json.Unmarshal([]byte(spec), &j); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	defer cancel()
	if err := work(ctx, j); err != nil {
		fmt.Fprintf(os.Stderr, "worker %d: %v\n", j.Worker, err)
		return 1
	}
	return 0
}

// A line is what a worker acknowledged.
type line struct {
	verdict, key, receipt string
	op                    int
}

func parseLine(s string) (line, error) {
	f := strings.Fields(s)
	if len(f) < 3 || len(f) > 4 {
		return line{}, fmt.Errorf("worker wrote %q", s)
	}
	op, err := strconv.Atoi(f[1])
	l := line{verdict: f[0], op: op, key: f[2]}
	if len(f) == 4 {
		l.receipt = f[3]
	}
	return l, err
}
