package cli

import (
	"testing"
	"time"
)

func TestMoment(t *testing.T) {
	now := time.Date(2026, 3, 15, 12, 0, 0, 0, time.UTC)
	for s, want := range map[string]time.Time{
		"":                     {},
		"90m":                  now.Add(-90 * time.Minute),
		"7d":                   now.Add(-7 * 24 * time.Hour),
		"2w":                   now.Add(-14 * 24 * time.Hour),
		"2026-01-31T15:04:05Z": time.Date(2026, 1, 31, 15, 4, 5, 0, time.UTC),
		"2026-01-31":           time.Date(2026, 1, 31, 0, 0, 0, 0, time.Local),
		"2026-01-31 08:30":     time.Date(2026, 1, 31, 8, 30, 0, 0, time.Local),
	} {
		if got, err := moment("--since", s, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: got %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"yesterday", "-5m", "7", "d", "-1d", "1.5d", "99999d", "40000w", "2026-13-01", "5 m"} {
		if got, err := moment("--since", s, now); err == nil {
			t.Errorf("%q: got %v, want an error", s, got)
		}
	}
}

// All ways to name a store end in one URL.
func TestTargetURL(t *testing.T) {
	env := map[string]string{}
	for _, c := range []struct {
		named string
		t     target
		env   map[string]string
		want  string // "": refused
	}{
		{"", target{}, nil, "ledger.db"},
		{"x.db", target{}, map[string]string{"LEDGER_STORE": "etcd://h"}, "x.db"},
		{"", target{store: "x.db"}, map[string]string{"LEDGER_STORE": "etcd://h"}, "x.db"},
		{"", target{}, map[string]string{"LEDGER_STORE": "etcd://h/p", "LEDGER_DB": "y.db"}, "etcd://h/p"},
		{"", target{}, map[string]string{"LEDGER_DB": "y.db"}, "y.db"},
		{"", target{endpoints: "h1:2379, h2"}, map[string]string{"LEDGER_STORE": "y.db"}, "etcd://h1:2379,h2"},
		{"", target{endpoints: "https://h1/,https://h2:1", prefix: "a b/c"}, nil, "etcds://h1,h2:1/a%20b/c"},
		{"", target{endpoints: "h", ca: "my ca.pem", cert: "c", key: "k", user: "ann"}, nil, "etcd://h?ca=my+ca.pem&cert=c&key=k&user=ann"},
		{"etcds://h/p?ttl=5s", target{ca: "ca.pem"}, nil, "etcds://h/p?ttl=5s&ca=ca.pem"},
		{"", target{user: "ann"}, map[string]string{"LEDGER_STORE": "etcd:///p"}, "etcd:///p?user=ann"},
		{"x.db", target{store: "x.db"}, nil, ""},
		{"x.db", target{endpoints: "h"}, nil, ""},
		{"x.db", target{user: "ann"}, nil, ""},
		{"", target{prefix: "p"}, nil, ""},
		{"", target{endpoints: "ftp://h"}, nil, ""},
		{"", target{endpoints: "http://h,https://h"}, nil, ""},
	} {
		env = c.env
		got, err := c.t.url(c.named, func(name string) string { return env[name] })
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%q, %+v: got %q, %v; want %q", c.named, c.t, got, err, c.want)
		}
	}
}
