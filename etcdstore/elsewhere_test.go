package etcdstore_test

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

var (
	elsewhere = flag.String("elsewhere", "", "TestStore's clusters run in this test binary")
	serve     = flag.Int("serve", 0, "TestServe starts a cluster of so many members")
)

// TestServe is the cluster of clusterElsewhere: it says where it is, and ends with its standard input.
func TestServe(t *testing.T) {
	if *serve == 0 {
		t.Skip("-serve names no number of members")
	}
	fmt.Printf("endpoints %s\n", strings.Join(cluster(t, *serve).Endpoints(), ","))
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// clusterElsewhere starts a cluster whose servers are built without the race detector, which looks for races in the
// store, and would spend most of its time in them:
//
//	go test -c -o /tmp/plain ./etcdstore
//	go test -race ./etcdstore -run TestStore -timeout 0 -args -elsewhere /tmp/plain
func clusterElsewhere(t *testing.T, members int) []string {
	t.Helper()
	cmd := exec.Command(*elsewhere, "-test.run=^TestServe$", "-serve", fmt.Sprint(members))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	t.Cleanup(func() {
		_ = in.Close()
		for lines.Scan() { // until it has ended: Wait closes the pipe
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("the cluster ended with %v", err)
		}
	})
	for lines.Scan() {
		if endpoints, ok := strings.CutPrefix(lines.Text(), "endpoints "); ok {
			return strings.Split(endpoints, ",")
		}
	}
	t.Fatalf("%s started no cluster", *elsewhere)
	return nil
}
