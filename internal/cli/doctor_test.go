package cli

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mattn/go-runewidth"

	"github.com/ledger-once/ledger/internal/doctor"
)

var update = flag.Bool("update", false, "write the golden files anew")

// A report is laid out alike at 80 and at 120 columns; no line is longer, also where there is room for next to nothing.
func TestDoctorReport(t *testing.T) {
	r := &doctor.Report{Store: "etcds://h1:2379/ledger", Reachable: true, Findings: []doctor.Finding{
		{Check: "store", Status: doctor.OK, Found: "etcd at https://h1.example.com:2379,https://h2.example.com:2379, prefix ledger is reached"},
		{Check: "read", Status: doctor.OK, Found: "a read takes 1.2ms"},
		{Check: "permissions", Status: doctor.Fail, Found: "nothing can be written below the prefix: permission denied\x1b[31m", Do: "see what it says; who only looks needs no more than to read"},
		{Check: "TLS", Status: doctor.Warn, Found: "https://h1.example.com:2379's certificate expires on 2026-03-21, in 20 days", Do: "renew it before; new connections are refused afterwards"},
		{Check: "calls in doubt", Status: doctor.Warn, Found: "3, of which 1 are not run again by themselves", Do: "list them with ledger show --status in_doubt, find out what happened, and settle each with ledger resolve"},
		{Check: "calls in flight", Status: doctor.OK, Found: "1, the oldest for 2m0s: %E6%B3%A8%E6%96%87-%E4%B8%89/請求書を送信する担当者へ請求書を送信する担当者へ請求書を送信する担当者へ/e1b2c3d4000000000000000000000000, by node-1:4711"},
	}}
	for _, width := range []int{80, 120, 30, 10} {
		var b bytes.Buffer
		if err := (&screen{w: bufio.NewWriter(&b), width: width}).report(r); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			if n := runewidth.StringWidth(strings.TrimRight(line, "\n")); n > width && width >= 30 && !strings.HasPrefix(line, "3 ok") {
				t.Errorf("at %d columns a line has %d: %q", width, n, line)
			}
		}
		if width < 80 {
			continue
		}
		golden := filepath.Join("testdata", fmt.Sprintf("doctor-%d.txt", width))
		if *update {
			if err := os.WriteFile(golden, b.Bytes(), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil || b.String() != string(want) {
			t.Errorf("%s differs (go test ./internal/cli -run TestDoctorReport -update writes it anew): %v\n%s", golden, err, &b)
		}
	}
}
