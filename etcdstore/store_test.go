package etcdstore_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
	"github.com/ledger-once/ledger/etcdstore/embedded"
	"github.com/ledger-once/ledger/storetest"
)

// envEndpoints tells the suite's worker processes where the cluster is.
const envEndpoints = "LEDGER_TEST_ETCD_ENDPOINTS"

// fast are the timings of a server that allows leases of 1 s.
func fast() *embedded.Options {
	return &embedded.Options{Heartbeat: 20 * time.Millisecond, Election: 200 * time.Millisecond}
}

// cluster starts n members for the test.
func cluster(t testing.TB, n int) *embedded.Servers {
	t.Helper()
	c, err := embedded.Cluster(t.Context(), n, t.TempDir(), fast())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// prefixOf derives a prefix from a directory, as the suite asks.
func prefixOf(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return "test/" + hex.EncodeToString(sum[:8])
}

// lease is how long the suite's owners live after they die. It has to outlast what a
// loaded machine can keep a living one from renewing, which under the race detector,
// with three members and the suite on two processors, is seconds; and so is what a disk may take for one write.
func lease() time.Duration {
	if raceEnabled {
		return 5 * time.Second
	}
	return 4 * time.Second
}

func opener(endpoints []string) storetest.Opener {
	return func(t testing.TB, dir string) ledger.Store {
		s, err := etcdstore.Open(context.Background(), endpoints, &etcdstore.Options{Prefix: prefixOf(dir), TTL: lease(), RequestTimeout: etcdstore.SlowDisk})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// byKey is the order in which etcd lists.
func byKey(a, b ledger.ID) int { return strings.Compare(a.String(), b.String()) }

// peers are what the members of the cluster, which goes on, serve each other with: they
// open connections when they like. Stores speak gRPC, and have none of these.
var peers = []string{
	"net/http.(*persistConn).readLoop", "net/http.(*persistConn).writeLoop", "net/http.(*Transport).dialConnFor",
	"net/http.(*conn).serve", "net/http.(*connReader).backgroundRead",
}

func TestStore(t *testing.T) {
	sizes := []int{1, 3}
	if testing.Short() && !storetest.IsWorker() { // what three members add is not in this process
		sizes = sizes[:1]
	}
	for _, members := range sizes {
		t.Run(fmt.Sprint(members), func(t *testing.T) {
			if storetest.IsWorker() {
				storetest.Run(t, opener(strings.Split(os.Getenv(envEndpoints), ",")))
			}
			endpoints := func() []string {
				if *elsewhere != "" {
					return clusterElsewhere(t, members)
				}
				return cluster(t, members).Endpoints()
			}()
			t.Setenv(envEndpoints, strings.Join(endpoints, ","))
			storetest.RunWith(t, opener(endpoints), &storetest.Options{Order: byKey, Leaks: peers})
		})
	}
}

func quiet() *zap.Logger { return zap.NewNop() }
