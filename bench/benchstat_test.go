package main

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ledger-once/ledger/internal/benchkit"
	"github.com/ledger-once/ledger/internal/benchkit/rounds"
)

// Duplicates that this process remembers and that the store is asked for, and fingerprints.
func BenchmarkLocal(b *testing.B) {
	l, err := openLocals(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := l.close(); err != nil {
			b.Error(err)
		}
	})
	for _, t := range l.things {
		b.Run(strings.NewReplacer(", ", "/", " ", "-").Replace(t.name), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := t.do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The ways, for benchstat:
//
//	go test ./bench -run ^$ -bench . -count 10 | benchstat -col /way -
func BenchmarkSQLite(b *testing.B) {
	ways, err := benchkit.SQLite(b.Context(), b.TempDir(), benchkit.FirstRound)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := benchkit.Close(ways); err != nil {
			b.Error(err)
		}
	})
	each(b, ways)
}

func BenchmarkEtcd(b *testing.B) {
	for _, members := range []int{1, 3} {
		b.Run(fmt.Sprintf("members=%d", members), func(b *testing.B) {
			f := &fleet{}
			if err := f.start(b.Context(), &runner{dir: b.TempDir()}, members, "etcd"); err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() {
				if err := f.servers.Close(); err != nil {
					b.Error(err)
				}
			})
			ways, err := benchkit.Etcd(b.Context(), f.servers.Endpoints())
			if err != nil {
				b.Fatal(err)
			}
			each(b, ways)
			if err := benchkit.Close(ways); err != nil {
				b.Error(err)
			}
		})
	}
}

func each(b *testing.B, ways []rounds.Way) {
	for _, callers := range []int{1, 16, 128} {
		for _, w := range ways {
			b.Run(fmt.Sprintf("callers=%d/way=%s", callers, strings.ReplaceAll(w.Name, " ", "-")), func(b *testing.B) {
				b.ReportAllocs()
				var wg sync.WaitGroup
				var taken atomic.Int64
				for range callers {
					wg.Go(func() {
						for taken.Add(1) <= int64(b.N) {
							if err := w.Call(b.Context(), rounds.RandomID()); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
			})
		}
	}
}
