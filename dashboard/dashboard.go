// Package dashboard serves a page that shows the calls of a ledger while they happen,
// and lets a person settle those in doubt.
//
//	d, err := dashboard.New(store, nil)
//	http.Handle("/ledger/", http.StripPrefix("/ledger", d))
//
// It works on every [ledger.Store], and imports none. The page takes all it needs from this
// package; no request goes elsewhere.
//
// # What it guards against
//
// Another web page must not change a ledger, nor read it. So requests are refused whose Host is not
// expected (DNS rebinding), which another origin sends (see [net/http.CrossOriginProtection]), or which write and are not JSON.
// The page runs no inline script or style, and writes no HTML of what a record says. What it does not do: it
// knows no users. Whoever reaches it sees all records, with arguments and results as far as they are not redacted or sealed,
// and, unless ReadOnly, can change them. Options.Token asks for a secret; anything finer belongs in front of it.
package dashboard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/ledger-once/ledger"
)

// Options of a dashboard. The zero value, and nil, work.
type Options struct {
	// Name is what the page calls the ledger, such as its file. Defaults to "ledger".
	Name string
	// Version is shown at the foot of the page. Defaults to "".
	Version string
	// ReadOnly refuses whatever would change a record.
	ReadOnly bool
	// By is who is recorded for a decision where the page does not say. Defaults to "dashboard".
	By string
	// Hosts are names under which the page may be asked for, besides localhost and loopback addresses: "ops.example.com", without a port.
	Hosts []string
	// Token, if set, has to be given by whoever opens the page. At least 16 bytes.
	Token string
	// Secure says that the page is reached by TLS only: the cookie that remembers the token is then never sent without.
	Secure bool
	// Logger gets decisions (who, what, why) and errors; never arguments, results or tokens. Defaults to slog.Default().
	Logger *slog.Logger
}

// Limits of the server.
const (
	maxBody       = 1 << 20          // bytes of a request
	maxStreams    = 64               // pages that follow at the same time
	queryTimeout  = 10 * time.Second // of one request to the store
	countFor      = 5 * time.Second  // how long all records are counted, before only some are
	scanFor       = 2 * time.Second  // how long a search looks, before it says that it did not look at all
	clearTimeout  = 5 * time.Minute
	writeTimeout  = 10 * time.Second // of one piece of a stream
	readTimeout   = 10 * time.Second // of a request's body
	minTokenBytes = 16
)

// A Dashboard is the handler. It is safe for concurrent use.
type Dashboard struct {
	store   ledger.Store
	o       Options
	handler http.Handler
	feed    *feed
	streams chan struct{} // one for each page that follows
	logins  sync.Mutex    // one try at the token at a time
	cookie  string        // what the cookie holds; "" without a token
	size    size
	slow    time.Duration // how long the body of a request may take
}

// New returns a dashboard over store, which stays the caller's to close. It returns an error
// matching [ledger.ErrInvalid] for options that can not be used.
func New(store ledger.Store, o *Options) (*Dashboard, error) {
	d := &Dashboard{store: store, streams: make(chan struct{}, maxStreams), slow: readTimeout}
	if o != nil {
		d.o = *o
	}
	if store == nil {
		return nil, fmt.Errorf("dashboard: %w: the store is nil", ledger.ErrInvalid)
	}
	if d.o.Token != "" && len(d.o.Token) < minTokenBytes {
		return nil, fmt.Errorf("dashboard: %w: the token has %d bytes; use %d or more", ledger.ErrInvalid, len(d.o.Token), minTokenBytes)
	}
	if d.o.Name == "" {
		d.o.Name = "ledger"
	}
	if d.o.By == "" {
		d.o.By = "dashboard"
	}
	if d.o.Logger == nil {
		d.o.Logger = slog.Default()
	}
	for _, h := range d.o.Hosts {
		if h == "" || strings.ContainsAny(h, "/ ") {
			return nil, fmt.Errorf("dashboard: %w: Hosts has %q; use a name such as ops.example.com", ledger.ErrInvalid, h)
		}
	}
	d.cookie = sealOf(d.o.Token)
	d.feed = newFeed(d)
	d.handler = d.routes()
	return d, nil
}

// Handler is New for options that are known to be right: it panics where New returns an error.
func Handler(store ledger.Store, o *Options) http.Handler {
	d, err := New(store, o)
	if err != nil {
		panic(err)
	}
	return d
}

// ServeHTTP answers a request.
func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) { d.handler.ServeHTTP(w, r) }

// Run follows the ledger until ctx ends, so that the chart of duplicates has no gaps while nobody looks. It is optional.
func (d *Dashboard) Run(ctx context.Context) error {
	s := d.feed.subscribe()
	defer d.feed.unsubscribe(s)
	for {
		select {
		case <-s.events: // somebody has to take them
		case <-ctx.Done():
			return nil
		}
	}
}

// unavailable reports whether err says that the store is out of reach.
func unavailable(err error) bool {
	return errors.Is(err, ledger.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
}
