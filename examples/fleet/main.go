// Fleet: several workers that share an etcd are all handed the same jobs, as an at-least-once queue may do.
//
// The etcd here runs inside of this process. In production: etcdstore.Open(ctx, []string{"etcd-1:2379", ...}, nil).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
	"github.com/ledger-once/ledger/etcdstore/embedded"
)

const workers, jobs = 3, 5

func main() {
	dir, err := os.MkdirTemp("", "fleet")
	if err != nil {
		log.Fatal(err)
	}
	err = run(context.Background(), os.Stdout, dir)
	if err = errors.Join(err, os.RemoveAll(dir)); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, w io.Writer, dir string) error {
	server, err := embedded.Start(ctx, dir, nil)
	if err != nil {
		return err
	}
	defer server.Close()

	var sent atomic.Int64 // by the mail service, which does not know about tokens
	var wg sync.WaitGroup
	answers := make(chan error, workers)
	for i := range workers {
		wg.Go(func() { answers <- worker(ctx, server.Endpoints(), fmt.Sprintf("worker-%d", i), &sent) })
	}
	wg.Wait()
	close(answers)
	for err := range answers {
		if err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(w, "%d workers were asked for %d mails each; %d were sent\n", workers, jobs, sent.Load())
	return err
}

// worker is one process of the fleet: a store of its own, and so a lease of its own. If it dies, the others take its
// calls over once that is up.
func worker(ctx context.Context, endpoints []string, name string, sent *atomic.Int64) (err error) {
	store, err := etcdstore.Open(ctx, endpoints, nil)
	if err != nil {
		return err
	}
	defer store.Close()
	guard, err := ledger.New(store, &ledger.Options{
		Caller: name,
		// A worker that finds a job running elsewhere waits for its result, instead of reporting that it is blocked.
		Default: ledger.Policy{Replay: true, Wait: 30 * time.Second},
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, guard.Close(ctx)) }() // before the store's

	send := ledger.Once(guard, "send_mail", func(context.Context, string) (int64, error) { return sent.Add(1), nil })
	for job := range jobs {
		if _, err := send(ctx, fmt.Sprintf("customer-%d@example.com", job)); err != nil {
			return err
		}
	}
	return nil
}
