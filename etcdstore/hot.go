package etcdstore

import (
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/ledger-once/ledger"
)

// hotset remembers IDs whose last claim was refused. The next one is likely to
// be refused too, and would fail the flat transaction that it shares with others.
type hotset struct {
	ids *lru.Cache[ledger.ID, struct{}]
}

func newHotset() *hotset {
	ids, _ := lru.New[ledger.ID, struct{}](4096) // fails for sizes below 1 only
	return &hotset{ids}
}

func (h *hotset) add(id ledger.ID)      { h.ids.Add(id, struct{}{}) }
func (h *hotset) forget(id ledger.ID)   { h.ids.Remove(id) }
func (h *hotset) has(id ledger.ID) bool { return h.ids.Contains(id) }
