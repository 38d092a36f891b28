//go:build linux

package killloop

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/ledger-once/ledger"
)

// world is the downstream: it writes each effect to its journal, with fsync,
// before it answers. It honours idempotency tokens of the retry tool, and counts
// every request of the block tool as an effect of its own. It refuses a fence that is
// not above those it has seen for the key: the request of a dead worker may arrive
// after that of the one that took its call over, and nobody hears that answer; a
// worker that lives and hears it ends, and the run fails.
type world struct {
	journal *os.File

	mu       sync.Mutex
	effects  map[string][]effect  // by key, in order; a request with a known token is none
	requests map[string][]effect  // by key, all, also those refused
	receipts map[string]string    // by key and token
	killed   map[string]time.Time // when the caller for this key was killed
	recovery []time.Duration      // from that to the next request for the key
	rng      *rand.Rand
	odds     float64 // of killing a caller whose effect is done
	quota    int     // of such kills left
	kills    int
	stop     func(effect) bool // SIGSTOP this caller and hold the answer until released
	release  chan struct{}
	stopped  chan effect
}

func newWorld(journal *os.File, seed uint64) *world {
	return &world{
		journal: journal, effects: map[string][]effect{}, requests: map[string][]effect{}, receipts: map[string]string{},
		killed: map[string]time.Time{}, rng: rand.New(rand.NewPCG(seed, 1)), release: make(chan struct{}), stopped: make(chan effect, 1),
	}
}

func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	var e effect
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	receipt, hold, err := w.act(e)
	if errors.Is(err, errFenced) {
		http.Error(rw, err.Error(), http.StatusConflict)
		return
	}
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	if hold {
		w.stopped <- e
		<-w.release
	}
	fmt.Fprint(rw, receipt)
}

var errFenced = errors.New("fenced")

func (w *world) act(e effect) (receipt string, hold bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var last ledger.Version
	for _, q := range w.requests[e.Key] {
		last = max(last, q.Fence)
	}
	w.requests[e.Key] = append(w.requests[e.Key], e)
	if e.Fence <= last {
		return "", false, fmt.Errorf("%s: fence %d after %d: %w", e.Key, e.Fence, last, errFenced)
	}
	if at, ok := w.killed[e.Key]; ok {
		w.recovery = append(w.recovery, time.Since(at))
		delete(w.killed, e.Key)
	}
	id := e.Key + " " + e.Token
	receipt, known := w.receipts[id]
	if !known || toolOf(e.Key) == "block" {
		receipt = fmt.Sprintf("%s/%d", e.Key, len(w.effects[e.Key])+1)
		if err := json.NewEncoder(w.journal).Encode(e); err != nil {
			return "", false, err
		}
		if err := w.journal.Sync(); err != nil {
			return "", false, err
		}
		w.effects[e.Key] = append(w.effects[e.Key], e)
		w.receipts[id] = receipt
	}
	if w.stop != nil && w.stop(e) {
		w.stop = nil
		return receipt, true, syscall.Kill(e.PID, syscall.SIGSTOP)
	}
	if w.quota > 0 && w.rng.Float64() < w.odds {
		w.quota--
		w.kills++
		w.killed[e.Key] = time.Now()
		return "", false, syscall.Kill(e.PID, syscall.SIGKILL) // it never reads the answer
	}
	return receipt, false, nil
}

// done is how many effects the key had.
func (w *world) done(key string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.effects[key])
}

// asked is how often the key's tool ran.
func (w *world) asked(key string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.requests[key])
}

// killing sets how many callers are killed once their effect is done, and the odds for each.
func (w *world) killing(quota int, odds float64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.quota, w.odds = quota, odds
}
