package cli

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestDescribe(t *testing.T) {
	built := func(v string, settings ...string) *debug.BuildInfo {
		info := &debug.BuildInfo{Main: debug.Module{Version: v}}
		for i := 0; i < len(settings); i += 2 {
			info.Settings = append(info.Settings, debug.BuildSetting{Key: settings[i], Value: settings[i+1]})
		}
		return info
	}
	vcs := []string{"vcs.revision", "0123456789abcdef0123456789abcdef01234567", "vcs.time", "2026-11-26T02:00:00Z", "vcs.modified", "false"}
	for _, c := range []struct {
		what            string
		info            *debug.BuildInfo
		v, commit, date string
		want            string
	}{
		{"a release", built("v1.2.3"), "v1.2.3", "fedcba9876543210", "2026-12-01T00:00:00Z", "ledger v1.2.3 fedcba987654 2026-12-01"},
		{"a release wins over what git says", built("v1.2.4-0.2026", vcs...), "v1.2.3", "", "", "ledger v1.2.3 0123456789ab 2026-11-26"},
		{"go install of a version", built("v1.2.3"), "", "", "", "ledger v1.2.3"},
		{"go build in a clone", built("(devel)", vcs...), "", "", "", "ledger (devel) 0123456789ab 2026-11-26"},
		{"with changes", built("", append(vcs, "vcs.modified", "true")...), "", "", "", "ledger (devel) 0123456789ab (modified) 2026-11-26"},
		{"without build information", nil, "", "", "", "ledger (unknown)"},
		{"odd stamps", nil, "v1", "abc", "today", "ledger v1 abc"},
	} {
		want := c.want + " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
		if got := describe(c.info, c.v, c.commit, c.date); got != want {
			t.Errorf("%s: got %q, want %q", c.what, got, want)
		}
	}
}
