package storetest

import (
	"slices"
	"sync"
	"testing"

	"github.com/ledger-once/ledger"
)

// memories is an Opener's memory: one store for each dir.
type memories struct {
	mu   sync.Mutex
	dirs map[string]*ledger.Memory
}

func (m *memories) open(dir string) *ledger.Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.dirs[dir]; s != nil {
		return s.Session()
	}
	if m.dirs == nil {
		m.dirs = map[string]*ledger.Memory{}
	}
	s := ledger.NewMemory()
	m.dirs[dir] = s
	return s
}

func TestMemory(t *testing.T) {
	var m memories
	RunInProcess(t, func(_ testing.TB, dir string) ledger.Store { return m.open(dir) })
}

// TestFile runs the cases with several processes, and those that need few
// writes: this store writes its whole file each time.
func TestFile(t *testing.T) {
	open := func(t testing.TB, dir string) ledger.Store { return openFile(t, dir, "") }
	if IsWorker() {
		work(t, open)
	}
	var quick []group
	for _, g := range groups() {
		if slices.Contains([]string{"claim", "owner", "finish", "delete", "version", processGroup}, g.name) {
			quick = append(quick, g)
		}
	}
	var o *Options
	run(t, open, o.withDefaults(), quick)
}
