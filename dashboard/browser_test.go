package dashboard_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// patience is how long a page may take for one thing; the machine may be busy.
const patience = 30 * time.Second

// A tab is a page in a real browser, and what it complained about.
type tab struct {
	t   *testing.T
	ctx context.Context

	mu         sync.Mutex
	complaints []string
}

// browser starts one, and returns what opens tabs in it. Without a browser the test is skipped, in CI it fails.
func browser(t *testing.T) func(t *testing.T, url string) *tab {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		if os.Getenv("CI") != "" {
			t.Fatal("there is no browser, so the page is not tested; apt-get install chromium")
		}
		t.Skip("there is no browser, so the page is not tested; apt-get install chromium")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WSURLReadTimeout(2*patience))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	t.Cleanup(stop)
	window, closeWindow := chromedp.NewContext(allocator)
	t.Cleanup(func() {
		_ = chromedp.Cancel(window)
		closeWindow()
	})
	if err := chromedp.Do(window); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return func(t *testing.T, url string) *tab {
		t.Helper()
		ctx, closeTab := chromedp.NewContext(window)
		p := &tab{t: t, ctx: ctx}
		messages := chromedp.Console(ctx)
		var read sync.WaitGroup
		read.Go(func() {
			for m, err := range messages {
				if err != nil {
					return
				}
				if m.Type == "error" || m.Type == "warning" || m.IsException() || m.Source == "security" {
					p.mu.Lock()
					p.complaints = append(p.complaints, fmt.Sprintf("%s %s (%s)", m.Source, m.String(), m.URL))
					p.mu.Unlock()
				}
			}
		})
		t.Cleanup(func() {
			closeTab()
			read.Wait()
		})
		p.size(1280, 1000)
		p.do(chromedp.Navigate(url))
		p.wait(`document.body.dataset.link === 'live'`)
		return p
	}
}

func (p *tab) size(width, height int64) {
	p.t.Helper()
	_, err := chromedp.Call(p.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: width, Height: height, DeviceScaleFactor: 1, Mobile: width < 500,
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatalf("%v\nThe page:\n%s", err, p.text())
	}
}

// wait waits until the expression holds.
func (p *tab) wait(expression string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if _, err := chromedp.Run(ctx, chromedp.Poll[bool]("Boolean("+expression+")", chromedp.WithPollingInterval(50*time.Millisecond))); err != nil {
		p.t.Fatalf("it never came true: %s: %v\nComplaints: %q\nThe page:\n%s", expression, err, p.said(), p.text())
	}
}

// holds fails the test unless the expression holds now.
func (p *tab) holds(expression string) {
	p.t.Helper()
	if !eval[bool](p, "Boolean("+expression+")") {
		p.t.Fatalf("it does not hold: %s\nThe page:\n%s", expression, p.text())
	}
}

func eval[T any](p *tab, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		p.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

func (p *tab) click(selector string) {
	p.t.Helper()
	p.do(chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

func (p *tab) fill(selector, text string) {
	p.t.Helper()
	p.do(chromedp.SendKeys(chromedp.CSS(selector), text, chromedp.NodeVisible))
}

func (p *tab) press(key string) {
	p.t.Helper()
	p.do(chromedp.KeyEvent(key))
}

// text is what a person reads.
func (p *tab) text() string {
	ctx, cancel := context.WithTimeout(p.ctx, 5*time.Second)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](`location.search + '\n' + document.body.innerText + '\n' + (document.querySelector('dialog')?.innerText ?? '')`))
	if err != nil {
		return err.Error()
	}
	return text
}

// said returns what the browser's console has complained about: errors of scripts and violations of the policy too.
func (p *tab) said() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.complaints...)
}

// quiet fails the test if the console has complained; about a server that is away it may, where that is what was tested.
func (p *tab) quiet(away bool) {
	p.t.Helper()
	for _, c := range p.said() {
		if !away || !strings.HasPrefix(c, "network ") {
			p.t.Errorf("the console says: %s", c)
		}
	}
}
