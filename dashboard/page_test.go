package dashboard_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/dashboard"
	"github.com/ledger-once/ledger/etcdstore"
	"github.com/ledger-once/ledger/etcdstore/embedded"
	"github.com/ledger-once/ledger/sqlitestore"
)

// evil is in every field that a caller can fill.
const evil = `"><script>document.title='owned'</script><img src=x onerror="document.title='owned'">`

// A place is a store that can be lost.
type place struct {
	store        ledger.Store
	lose, regain func()
}

// away is SQLite that can be out of reach, as when its disk is gone.
type away struct {
	*sqlitestore.Store
	gone atomic.Bool
}

func (a *away) Get(ctx context.Context, id ledger.ID) (ledger.Record, error) {
	if a.gone.Load() {
		return ledger.Record{}, fmt.Errorf("%w: the disk is gone", ledger.ErrUnavailable)
	}
	return a.Store.Get(ctx, id)
}

func sqlitePlace(t *testing.T) place {
	s, err := sqlitestore.Open(t.Context(), filepath.Join(t.TempDir(), "ledger.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	a := &away{Store: s}
	return place{a, func() { a.gone.Store(true) }, func() { a.gone.Store(false) }}
}

func etcdPlace(t *testing.T) place {
	dir := t.TempDir()
	server, err := embedded.Start(t.Context(), dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	s, err := etcdstore.Open(t.Context(), server.Endpoints(), &etcdstore.Options{RequestTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return place{s, func() { server.Kill() }, func() {
		if server, err = embedded.Start(t.Context(), dir, nil); err != nil {
			t.Fatal(err)
		}
	}}
}

// A front is an HTTP server that can stop, and come back at its address.
type front struct {
	t       *testing.T
	handler http.Handler
	server  *httptest.Server
	addr    string
}

func serve(t *testing.T, h http.Handler) *front {
	f := &front{t: t, handler: h}
	f.start()
	t.Cleanup(func() { f.stop() })
	return f
}

func (f *front) url() string { return "http://" + f.addr }

func (f *front) start() {
	f.t.Helper()
	f.server = httptest.NewUnstartedServer(f.handler)
	if f.addr != "" {
		l, err := net.Listen("tcp", f.addr)
		if err != nil {
			f.t.Fatal(err)
		}
		_ = f.server.Listener.Close()
		f.server.Listener = l
	}
	f.server.Start()
	f.addr = f.server.Listener.Addr().String()
}

func (f *front) stop() {
	f.server.CloseClientConnections()
	f.server.Close()
}

func quote(s string) string { return strconv.Quote(s) }

// TestPage does in a real browser what an operator does.
func TestPage(t *testing.T) {
	if testing.Short() {
		t.Skip("a browser takes a while")
	}
	open := browser(t)
	for name, at := range map[string]func(*testing.T) place{"sqlite": sqlitePlace, "etcd": etcdPlace} {
		t.Run(name, func(t *testing.T) {
			where := at(t)
			d, err := dashboard.New(where.store, &dashboard.Options{Name: evil, By: "ana", Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			operate(t, open, where, serve(t, d))
		})
	}
	t.Run("burst", func(t *testing.T) { burst(t, open) })
}

// burst: of 50,000 changes the page shows the newest, and says how many it left out.
func burst(t *testing.T, open func(*testing.T, string) *tab) {
	d, err := dashboard.New(ledger.NewMemory(), nil)
	if err != nil {
		t.Fatal(err)
	}
	f := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/api/events" {
			d.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for m := range 50 {
			var changes []map[string]any
			for i := range 100 {
				changes = append(changes, map[string]any{"at": time.Now().UTC(), "was": "running", "call": map[string]any{
					"id": fmt.Sprintf("w/t/%d-%d", m, i), "workflow": "w", "tool": fmt.Sprintf("tool-%d-%d", m, i), "status": "succeeded",
				}})
			}
			b, _ := json.Marshal(map[string]any{"changes": changes, "skipped": 900})
			fmt.Fprintf(w, "event: changes\ndata: %s\n\n", b)
		}
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	p := open(t, f.url())
	p.wait(`document.getElementById('feed-note').textContent.includes('47,000 more changes')`)
	p.holds(`document.querySelectorAll('#feed li').length === 60 && document.querySelector('#feed .tool').textContent === 'tool-49-99'`)
	p.quiet(false)
}

func operate(t *testing.T, open func(*testing.T, string) *tab, where place, f *front) {
	guard, err := ledger.New(where.store, &ledger.Options{
		Caller: evil, Workflow: evil, Logger: slog.New(slog.DiscardHandler), Policies: map[string]ledger.Policy{"pay": {InDoubt: ledger.DoubtBlock}, evil: {Replay: true}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = guard.Close(context.WithoutCancel(t.Context())) })
	call := func(c ledger.Call, fail error) {
		t.Helper()
		_, err := ledger.Do(t.Context(), guard, c, func(context.Context) (string, error) { return evil, fail })
		if fail == nil && err != nil && !errors.Is(err, ledger.ErrDuplicate) {
			t.Fatal(err)
		}
	}
	p := open(t, f.url())

	// An empty ledger says how to make the first call.
	p.wait(`document.getElementById('welcome').checkVisibility() && document.querySelector('#welcome pre').textContent.includes('ledger run --key')`)

	// A call shows up while one looks; a duplicate is counted; nothing of it becomes HTML.
	call(ledger.Call{Tool: evil, Key: evil, Args: map[string]string{evil: evil}}, nil)
	p.wait(`[...document.querySelectorAll('#feed li[data-state="succeeded"] .tool')].some((a) => a.textContent === ` + quote(evil) + `)`)
	p.wait(`document.getElementById('card-executed').textContent === '1'`)
	call(ledger.Call{Tool: evil, Key: evil, Args: map[string]string{evil: evil}}, nil)
	p.wait(`document.getElementById('card-blocked').textContent === '1'`)
	p.holds(`document.querySelector('#tools tbody th').textContent === ` + quote(evil))
	p.holds(`!document.getElementById('doubt').checkVisibility()`)

	// What is in doubt asks for a decision, and takes none without a reason.
	call(ledger.Call{Tool: "pay", Key: "inv-7", Workflow: "order-7", Args: map[string]any{"cents": json.Number("9007199254740993"), "note": evil}}, errors.New(evil))
	p.wait(`document.querySelector('#doubt .decide') && document.getElementById('card-in_doubt').textContent === '1'`)
	p.holds(`document.querySelector('#doubt .why').textContent.includes(` + quote(evil) + `) && document.querySelector('#doubt pre').textContent.includes('9007199254740993')`)
	p.click(`#doubt button[data-as="happened"]`)
	p.fill(`#dialog-result`, `{"receipt":9007199254740993}`)
	p.click(`#dialog-ok`)
	p.wait(`document.querySelector('dialog .error').textContent.includes('Say why')`)
	p.fill(`#dialog-reason`, `the bank shows it `+evil)
	p.click(`#dialog-ok`)
	p.wait(`!document.querySelector('dialog') && !document.getElementById('doubt').checkVisibility()`)
	id := settled(t, where.store, "happened", "the bank shows it "+evil, `{"receipt":9007199254740993}`)

	// Drill down, and back.
	p.do(chromedp.Navigate(f.url() + "/?tool=pay"))
	p.wait(`document.querySelectorAll('.calls tbody tr').length === 1 && document.getElementById('page-text')`)
	p.click(`.calls tbody a[data-row]`)
	p.wait(`new URLSearchParams(location.search).get('call') === ` + quote(id) + ` && document.querySelectorAll('#timeline li').length >= 2`)
	p.holds(`document.getElementById('call-args').textContent.includes(` + quote(evil[20:40]) + `) && document.getElementById('call-result').textContent.includes('9007199254740993')`)
	p.holds(`document.querySelector('.call').innerText.includes('the bank shows it')`)
	p.press("\x1b")
	p.wait(`new URLSearchParams(location.search).get('tool') === 'pay' && document.querySelectorAll('.calls tbody tr').length === 1`)

	// Many calls: the feed keeps its length, a page has 50, and the keyboard goes along them.
	p.do(chromedp.Navigate(f.url()))
	p.wait(`document.body.dataset.link === 'live' && document.getElementById('card-executed').textContent !== '–'`)
	for i := range 120 {
		call(ledger.Call{Tool: "mail", Workflow: "batch", Key: strconv.Itoa(i)}, nil)
	}
	p.wait(`document.getElementById('card-executed').textContent === '122'`)
	p.holds(`document.querySelectorAll('#feed li').length <= 60`)
	p.wait(`document.querySelectorAll('#latest tbody tr').length === 10 && document.querySelector('#latest tbody').innerText.includes('batch')`)
	p.click(`#latest .head a`)
	p.wait(`new URLSearchParams(location.search).get('all') && document.querySelectorAll('.calls tbody tr').length === 50 && !document.getElementById('page-next').disabled`)
	p.do(chromedp.NavigateBack())
	p.wait(`document.getElementById('latest')`)
	p.press("/")
	p.wait(`document.activeElement.id === 'q'`)
	eval[string](p, `document.getElementById('q').value = ''`) // unlike a keyboard, the protocol sends the slash as text too
	p.fill(`#q`, "batch\r")
	p.wait(`location.search.includes('q=batch') && document.querySelectorAll('.calls tbody tr').length === 50`)
	first := eval[string](p, `document.querySelector('.calls tbody tr').dataset.id`)
	p.click(`#page-next`)
	p.wait(`location.search.includes('after=') && document.querySelectorAll('.calls tbody tr').length === 50 && document.querySelector('.calls tbody tr').dataset.id !== ` + quote(first))
	p.click(`#page-next`)
	p.wait(`document.querySelectorAll('.calls tbody tr').length === 20 && document.getElementById('page-next').disabled`)
	p.do(chromedp.NavigateBack())
	p.wait(`document.querySelectorAll('.calls tbody tr').length === 50 && !document.getElementById('page-next').disabled`)
	p.click(`#page-back`)
	p.wait(`document.querySelector('.calls tbody tr')?.dataset.id === ` + quote(first))
	eval[any](p, `document.activeElement.blur()`)
	p.press("j")
	p.press("j")
	p.press("k")
	p.wait(`document.activeElement.closest('tr')?.dataset.id === ` + quote(first))
	p.press("\r")
	p.wait(`new URLSearchParams(location.search).get('call') === ` + quote(first) + ` && document.getElementById('timeline')`)
	p.press("?")
	p.wait(`document.getElementById('help-dialog')?.open`)
	p.press("\x1b")
	p.wait(`!document.querySelector('dialog')`)

	// A workflow is cleared only after its name was typed.
	p.do(chromedp.Navigate(f.url() + "/?workflow=batch"))
	p.click(`#clear`)
	p.fill(`#dialog-confirm`, "bath")
	p.fill(`#dialog-reason`, "a test run")
	p.click(`#dialog-ok`)
	p.wait(`document.querySelector('dialog .error').textContent.includes('batch')`)
	eval[string](p, `document.getElementById('dialog-confirm').value = ''`)
	p.fill(`#dialog-confirm`, "batch")
	p.click(`#dialog-ok`)
	p.wait(`!document.querySelector('dialog') && document.getElementById('none').checkVisibility()`)

	pauseIt(t, p, f, call)
	p.size(390, 800)
	p.holds(`document.documentElement.scrollWidth <= 390`)
	p.size(1280, 1000)
	p.holds(`document.title !== 'owned' && !document.querySelector('main script, main img, dialog script')`)
	p.quiet(false)

	readOnly(t, open, where.store, call)
	loseIt(p, where, f, call)
}

// pauseIt: while the feed is paused it stays as it is, and says what it leaves out.
func pauseIt(t *testing.T, p *tab, f *front, call func(ledger.Call, error)) {
	t.Helper()
	p.do(chromedp.Navigate(f.url()))
	p.wait(`document.body.dataset.link === 'live' && document.getElementById('card-executed').textContent === '2'`)
	p.click(`#pause`)
	call(ledger.Call{Tool: "mail", Workflow: "while-paused"}, nil)
	p.wait(`document.getElementById('feed-note').textContent.includes('newer')`)
	p.holds(`!document.getElementById('feed').textContent.includes('while-paused')`)
	p.click(`#pause`)
	p.wait(`document.getElementById('feed').textContent.includes('while-paused') && document.getElementById('card-executed').textContent === '3'`)
}

// readOnly: no buttons; what the server refuses is its own tests' matter.
func readOnly(t *testing.T, open func(*testing.T, string) *tab, s ledger.Store, call func(ledger.Call, error)) {
	t.Helper()
	d, err := dashboard.New(s, &dashboard.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	call(ledger.Call{Tool: "pay", Key: "inv-8", Workflow: "order-8"}, errors.New("no answer"))
	f := serve(t, d)
	p := open(t, f.url())
	p.wait(`document.querySelector('#doubt .decide')`)
	p.holds(`document.getElementById('read-only').checkVisibility() && !document.querySelector('[data-as]') && document.querySelector('#doubt .note').textContent.includes('Read-only')`)
	p.do(chromedp.Navigate(f.url() + "/?workflow=order-8"))
	p.wait(`document.querySelectorAll('.calls tbody tr').length === 1`)
	p.holds(`!document.getElementById('clear')`)
	p.quiet(false)
}

// loseIt: the page says that the store, and that the dashboard, went away; and goes on when they are back.
func loseIt(p *tab, where place, f *front, call func(ledger.Call, error)) {
	p.t.Helper()
	where.lose()
	p.wait(`document.body.dataset.link === 'down' && document.getElementById('gone').checkVisibility() && document.getElementById('gone').textContent.includes('store does not answer')`)
	p.holds(`document.getElementById('card-executed').textContent === '3'`) // what was known stays
	where.regain()
	p.wait(`document.body.dataset.link === 'live' && !document.getElementById('gone').checkVisibility()`)
	call(ledger.Call{Tool: "mail", Workflow: "after-the-loss"}, nil)
	p.wait(`document.getElementById('feed').textContent.includes('after-the-loss')`)

	f.stop()
	p.wait(`document.body.dataset.link === 'lost' && document.getElementById('gone').checkVisibility()`)
	f.start()
	p.wait(`document.body.dataset.link === 'live' && !document.getElementById('gone').checkVisibility()`)
	call(ledger.Call{Tool: "mail", Workflow: "after-the-restart"}, nil)
	p.wait(`document.getElementById('feed').textContent.includes('after-the-restart')`)
	p.quiet(true)
}

// settled checks the one record of "pay", and returns its ID.
func settled(t *testing.T, s ledger.Store, how, reason, result string) string {
	t.Helper()
	for r, err := range s.List(t.Context(), ledger.Filter{Tool: "pay"}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.State != ledger.StateSucceeded || r.Settled == nil || r.Settled.How != how || r.Settled.By != "ana" || r.Settled.Reason != reason || string(r.Result) != result {
			t.Fatalf("the record is %+v, settled %+v", r, r.Settled)
		}
		return r.ID.String()
	}
	t.Fatal("the record is gone")
	return ""
}
