package doctor

import (
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/etcdstore"
	"github.com/ledger-once/ledger/internal/leakcheck"
	"github.com/ledger-once/ledger/internal/open"
)

func TestMain(m *testing.M) { leakcheck.Main(m) }

// statuses returns the worst status of each check.
func statuses(r *Report) map[string]Status {
	rank := map[Status]int{OK: 1, Warn: 2, Fail: 3}
	all := map[string]Status{}
	for _, f := range r.Findings {
		if rank[f.Status] > rank[all[f.Check]] {
			all[f.Check] = f.Status
		}
	}
	return all
}

func wantStatuses(t *testing.T, r *Report, want map[string]Status) {
	t.Helper()
	got := statuses(r)
	for check, s := range want {
		if got[check] != s {
			t.Errorf("%s is %q, want %q", check, got[check], s)
		}
	}
	for _, f := range r.Findings {
		if f.Found == "" || (f.Status != OK) != (f.Do != "") {
			t.Errorf("%+v does not say what to do, or says it in vain", f)
		}
	}
	if t.Failed() {
		t.Logf("%+v", r.Findings)
	}
}

func cert(until time.Time) *x509.Certificate { return &x509.Certificate{NotAfter: until} }

func TestHealth(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	good := func() *etcdstore.Health {
		return &etcdstore.Health{Prefix: "ledger", Schema: 1, Read: time.Millisecond, Commit: 10 * time.Millisecond, Client: cert(now.AddDate(1, 0, 0)),
			Members: []etcdstore.Member{{Endpoint: "https://h1:2379", Version: "3.7.3", Answer: time.Millisecond, Leader: true,
				DBSize: 100 << 20, DBInUse: 80 << 20, Quota: 2 << 30, ClockKnown: true, Server: cert(now.AddDate(1, 0, 0)), Authority: cert(now.AddDate(9, 0, 0))}}}
	}
	fine := map[string]Status{"permissions": OK, "commit": OK, "member": OK, "version": OK, "quota": OK, "clock": OK, "TLS": OK}
	for name, c := range map[string]struct {
		change func(h *etcdstore.Health, m *etcdstore.Member)
		check  string
		want   Status
	}{
		"nothing":              {func(*etcdstore.Health, *etcdstore.Member) {}, "member", OK},
		"no reads":             {func(h *etcdstore.Health, _ *etcdstore.Member) { h.ReadErr = errors.New("denied") }, "permissions", Fail},
		"no writes":            {func(h *etcdstore.Health, _ *etcdstore.Member) { h.CommitErr = errors.New("denied") }, "permissions", Fail},
		"slow disks":           {func(h *etcdstore.Health, _ *etcdstore.Member) { h.Commit = time.Second }, "commit", Warn},
		"a member down":        {func(_ *etcdstore.Health, m *etcdstore.Member) { m.Err = errors.New("refused") }, "member", Warn},
		"an old server":        {func(_ *etcdstore.Health, m *etcdstore.Member) { m.TooOld = true }, "version", Fail},
		"nearly full":          {func(_ *etcdstore.Health, m *etcdstore.Member) { m.DBSize = 1800 << 20 }, "quota", Warn},
		"full":                 {func(_ *etcdstore.Health, m *etcdstore.Member) { m.Errors = []string{"memberID:1 alarm:NOSPACE "} }, "quota", Fail},
		"no leader":            {func(_ *etcdstore.Health, m *etcdstore.Member) { m.Errors = []string{"etcdserver: no leader"} }, "alarm", Fail},
		"a clock behind":       {func(_ *etcdstore.Health, m *etcdstore.Member) { m.Ahead = -time.Minute }, "clock", Warn},
		"a server's last days": {func(_ *etcdstore.Health, m *etcdstore.Member) { m.Server = cert(now.AddDate(0, 0, 3)) }, "TLS", Warn},
		"an authority expired": {func(_ *etcdstore.Health, m *etcdstore.Member) { m.Authority = cert(now.AddDate(0, 0, -3)) }, "TLS", Fail},
		"a client's last days": {func(h *etcdstore.Health, _ *etcdstore.Member) { h.Client = cert(now.AddDate(0, 0, 20)) }, "TLS", Warn},
	} {
		t.Run(name, func(t *testing.T) {
			h, r := good(), &Report{}
			c.change(h, &h.Members[0])
			r.health(h, now)
			want := map[string]Status{c.check: c.want}
			if name == "nothing" {
				want = fine
			}
			wantStatuses(t, r, want)
		})
	}
}

// A file that others may read, and a call that waits for a person, are told; nothing is written.
func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.db")
	store, closer, err := open.Store(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	id := ledger.ID{Workflow: "w", Tool: "t", Fingerprint: "0123456789abcdef0123456789abcdef"}
	r, won, err := store.Claim(t.Context(), ledger.Claim{Next: ledger.Record{ID: id, State: ledger.StateRunning, Nonce: "n", InDoubt: ledger.DoubtBlock, Started: time.Now().Add(-2 * time.Hour)}})
	if err != nil || !won {
		t.Fatal(r, won, err)
	}
	report, err := Examine(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	wantStatuses(t, report, map[string]Status{"store": OK, "read": OK, "file mode": OK, "workers": OK, "stale owners": OK, "calls in doubt": OK, "calls in flight": Warn})
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	report, err = Examine(t.Context(), path)
	if err != nil || !report.Reachable || report.Err() != nil {
		t.Fatal(report, err)
	}
	wantStatuses(t, report, map[string]Status{"file mode": Warn, "schema": OK, "calls in doubt": Warn, "calls in flight": OK})
	if after, err := os.ReadFile(path); err != nil || string(after) != string(before) {
		t.Errorf("the file was changed: %v", err)
	}
	report, err = Examine(t.Context(), path+".missing")
	if err != nil || report.Reachable || !errors.Is(report.Err(), ledger.ErrNotFound) {
		t.Errorf("a missing file: %+v, %v", report, err)
	}
	wantStatuses(t, report, map[string]Status{"store": Fail})
}
