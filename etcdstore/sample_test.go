package etcdstore_test

import (
	"testing"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
	"github.com/ledger-once/ledger/internal/benchkit/rounds"
)

func sampleClaim(id ledger.ID) ledger.Claim { return ledger.Claim{Next: rounds.Claimed(id)} }

func sampleDone(r ledger.Record) ledger.Record { return rounds.Done(r) }

func openFor(t testing.TB, endpoints []string, o *etcdstore.Options) *etcdstore.Store {
	t.Helper()
	s, err := etcdstore.Open(t.Context(), endpoints, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
