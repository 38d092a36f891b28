package main

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ledger-once/ledger/internal/leakcheck"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "--worker-store":
			main()
			return
		case "--list", "works", "breaks", "ends":
			standIn(os.Args[1])
			return
		}
	}
	leakcheck.Main(m)
}

func tiny(t *testing.T, only string) options {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return options{out: t.TempDir(), dir: t.TempDir(), only: regexp.MustCompile(only), exe: exe, plan: plan{
		round: 20 * time.Millisecond, rounds: 2, callers: []int{1, 4}, records: []int{20, 50}, etcdRecs: []int{20, 50},
		warm: 10, settle: 20 * time.Millisecond, othersCallers: []int{1, 3}, growth: 200, etcdGrow: 200, workers: []int{2}, waiters: []int{3}, argBytes: []int{1000}, fillFor: time.Minute,
	}}
}

func load(t *testing.T, dir string) *Result {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "results.json"))
	if err != nil {
		t.Fatal(err)
	}
	r := new(Result)
	if err := json.Unmarshal(b, r); err != nil {
		t.Fatal(err)
	}
	return r
}

// Every cell is measured on the smallest scale, and written in every form.
func TestAll(t *testing.T) {
	if testing.Short() {
		t.Skip("starts clusters")
	}
	o := tiny(t, "")
	o.readme, o.profile = filepath.Join(t.TempDir(), "README.md"), t.TempDir()
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.readme, page, 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := measure(t.Context(), o, "go run ./bench", &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	r := load(t, o.out)
	if r.Partial {
		t.Error("it says that it is partial")
	}
	for _, name := range []string{"local", "accesses", "sqlite/callers=4", "sqlite/records", "sqlite/records/costs", "sqlite/growth", "sqlite/growth/ratio", "etcd1/growth/ratio", "sqlite/workers=2", "sqlite/waiters=3", "sqlite/args=1000",
		"etcd1/callers=4", "etcd1/client", "etcd3/callers=4", "etcd1/records", "etcd1/workers=2", "etcd1/waiters=3", "etcd1/args=1000"} {
		found := false
		for _, c := range r.Cells {
			if c.Name != name {
				continue
			}
			found = true
			for _, row := range c.Rows {
				if row.Value.Median <= 0 && name != "accesses" && row.Name != "heap, growth of a call" || row.Value.Min > row.Value.Median || row.Value.Median > row.Value.Max {
					t.Errorf("%s: %s: %v", name, row.Name, row.Value)
				}
			}
		}
		if !found {
			t.Errorf("there is no cell %s", name)
		}
	}
	if row := r.row("accesses", "store accesses of a local duplicate"); row == nil || row.Value.Max != 0 {
		t.Errorf("a local duplicate asks the store: %v", row)
	}
	svgs, err := filepath.Glob(filepath.Join(o.out, "*.svg"))
	if err != nil || len(svgs) < 8 {
		t.Errorf("got %d plots, %v", len(svgs), err)
	}
	for _, name := range svgs {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for d := xml.NewDecoder(bytes.NewReader(b)); ; {
			if _, err := d.Token(); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		if bytes.Contains(b, []byte("NaN")) || bytes.Contains(b, []byte("Inf")) {
			t.Errorf("%s has a point that is no number", name)
		}
	}
	filled, err := os.ReadFile(o.readme)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(filled); strings.Count(text, "Not measured in this run.") != 1 || !strings.Contains(text, "| duplicate from the local cache") { // only others was not
		t.Errorf("the page is:\n%s", text)
	}
	links := regexp.MustCompile(`\]\(([^)]+\.svg)\)`).FindAllStringSubmatch(string(filled), -1)
	for _, m := range links {
		if _, err := os.Stat(filepath.Join(filepath.Dir(o.readme), filepath.FromSlash(m[1]))); err != nil {
			t.Errorf("the page links a plot that there is not: %v", err)
		}
	}
	if len(links) != len(svgs) {
		t.Errorf("the page links %d plots of %d", len(links), len(svgs))
	}
	if profiles, err := filepath.Glob(filepath.Join(o.profile, "sqlite-callers=4.*.pprof")); err != nil || len(profiles) != 4 {
		t.Errorf("got the profiles %q, %v", profiles, err)
	}
	if left, err := os.ReadDir(o.dir); err != nil || len(left) > 0 {
		t.Errorf("measured files are left: %v, %v", left, err)
	}
}

// An interrupted run keeps what it has, and says that it is partial.
func TestInterrupted(t *testing.T) {
	o := tiny(t, "^local|^sqlite/callers")
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	if err := measure(ctx, o, "", &out, writerFunc(func(line string) {
		if strings.Contains(line, "callers=4") {
			cancel()
		}
	})); err != nil {
		t.Fatal(err)
	}
	r := load(t, o.out)
	if !r.Partial || !strings.Contains(out.String(), "PARTIAL") {
		t.Errorf("partial is %t, and it printed:\n%s", r.Partial, &out)
	}
	if r.row("sqlite/callers=1", "guarded call") == nil || r.row("sqlite/callers=4", "guarded call") != nil {
		t.Error("got other cells than those before the interruption")
	}
}

type writerFunc func(string)

func (f writerFunc) Write(b []byte) (int, error) {
	f(string(b))
	return len(b), nil
}

func TestSpreads(t *testing.T) {
	if got, want := spread([]float64{3, 1, 2}), (Spread{2, 1, 3}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := spread([]float64{4, 1, 2, 3}), (Spread{2.5, 1, 4}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := paired([]float64{2, 9, 4}, []float64{1, 3, 4}), (Spread{2, 1, 3}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := (Spread{2, 1, 4}).inverse(), (Spread{0.5, 0.25, 1}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 1.23456: "1.235", 9999.4: "9999", 12345: "12,350", -13572468: "-13,570,000", 99996: "100,000", 0.00012: "0.00012"} {
		if got := number(v); got != want {
			t.Errorf("%g: got %s, want %s", v, got, want)
		}
	}
}

func TestFloors(t *testing.T) {
	r := &Result{Cells: []Cell{
		{Name: "sqlite/callers=128", Rows: []Row{{Name: "guarded call", Ratios: map[string]Spread{"bare transactions": {9, 7, 11}}}}},
		{Name: "sqlite/callers=1", Rows: []Row{{Name: "guarded call", Ratios: map[string]Spread{"bare transactions": {0.5, 0.4, 0.8}}}}},
		{Name: "etcd3/callers=128", Rows: []Row{{Name: "guarded call", Ratios: map[string]Spread{"raw puts": {1.6, 1.5, 1.8}}}}},
	}}
	want := map[string]string{
		"SQLite, 128 callers: rate against two bare transactions":                       "met",
		"SQLite, 1 caller: time against two bare transactions":                          "NOT MET",
		"etcd, 3 members, 128 callers: calls a second against single raw puts a second": "met",
		"etcd, 3 members, 128 callers: rate against bare transactions":                  "not measured",
		"SQLite: how much the rate falls from 10^3 to 10^6 records":                     "not measured",
	}
	for _, f := range floors(r) {
		if v, ok := want[f.Name]; ok && f.verdict() != v {
			t.Errorf("%s: got %s of %v, want %s", f.Name, f.verdict(), f.Figure, v)
		}
		delete(want, f.Name)
	}
	if len(want) > 0 {
		t.Errorf("there are no such floors: %v", want)
	}
}
