//go:build linux

package chaos_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/ledger-once/ledger/chaos"
)

// What can not be run is refused before anything starts, with what there is. A run that is one takes seconds at least.
func ExampleRun() {
	for _, o := range []chaos.Options{{Store: "redis"}, {Layers: []string{chaos.Soak}, Store: "sqlite", Faults: []string{"cut"}}} {
		_, err := chaos.Run(context.Background(), &o)
		fmt.Println(errors.Is(err, chaos.ErrOptions))
	}
	// Output:
	// true
	// true
}

// A run that somebody ends keeps what it wrote.
func ExampleDirOf() {
	dir, err := os.MkdirTemp("", "chaos")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = chaos.Run(ctx, &chaos.Options{Layers: []string{chaos.Explore}, Dir: dir})
	fmt.Println(errors.Is(err, context.Canceled), strings.HasPrefix(chaos.DirOf(err), dir))
	// Output: true true
}

func ExampleFaults() {
	fmt.Println(chaos.Faults()[:3]) // and more
	// Output: [kill pause cut]
}

// The first thing in main, or in TestMain: a process that Run has started as a worker stays in it.
func ExampleEnter() {
	chaos.Enter(nil)
	fmt.Println("not a worker: on with the program")
	// Output: not a worker: on with the program
}

// Only a run whose histories were kept can be checked again.
func ExampleCheck() {
	_, err := chaos.Check(context.Background(), os.TempDir())
	fmt.Println(errors.Is(err, chaos.ErrOptions))
	// Output: true
}

func ExampleLeftovers() {
	dir, err := os.MkdirTemp("", "chaos")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	fmt.Println(len(chaos.Leftovers(dir)))
	// Output: 0
}

// From the summary.json of an earlier run.
func ExampleReport_Passed() {
	var report chaos.Report
	err := json.Unmarshal([]byte(`{"verdict": "invalid", "why": ["too few faults"]}`), &report)
	fmt.Println(report.Passed(), report.Why, err) // a run that showed too little has not passed
	// Output: false [too few faults] <nil>
}

func ExampleReport_Print() {
	var report chaos.Report
	if err := json.Unmarshal([]byte(`{"verdict": "invalid", "why": ["too few faults"]}`), &report); err != nil {
		panic(err)
	}
	var text strings.Builder
	err := report.Print(&text, 80, false)
	verdict, _, _ := strings.Cut(text.String(), "\n")
	fmt.Println(verdict, err)
	// Output: ∅ invalid <nil>
}
