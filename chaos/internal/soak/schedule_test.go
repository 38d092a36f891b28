package soak

import (
	"crypto/sha256"
	"encoding/hex"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

func config(seed uint64, d time.Duration) Config {
	return Config{Seed: seed, Duration: d, Workers: 8, Members: 3, TTL: 2 * time.Second, InWire: true}
}

func digestOf(events []Event) string {
	h := sha256.New()
	Digest(h, events)
	return hex.EncodeToString(h.Sum(nil))
}

// The same seed gives the same faults, another one others.
func TestScheduleRepeats(t *testing.T) {
	c := config(1, 10*time.Minute)
	one := Schedule(c)
	if diff := cmp.Diff(one, Schedule(c)); diff != "" {
		t.Errorf("the same seed gives another schedule: %s", diff)
	}
	if digestOf(one) != digestOf(Schedule(c)) {
		t.Error("the same schedule has another digest")
	}
	if digestOf(one) == digestOf(Schedule(config(2, 10*time.Minute))) {
		t.Error("another seed gives the same schedule")
	}
}

// Each minute has its floor of faults, whatever the seed; and what is planned can be carried out:
// a worker has one fault at a time, half of them are left alone, one member is down at most.
func TestScheduleKeepsItsRules(t *testing.T) {
	for seed := range uint64(50) {
		c := config(seed, 5*time.Minute)
		minutes := c.Duration.Minutes()
		counts := map[string]float64{}
		busy := make([]time.Duration, c.Workers)
		var member, last time.Duration
		for _, e := range Schedule(c) {
			counts[e.Kind]++
			if e.At < last {
				t.Fatalf("seed %d: %+v comes after one at %v", seed, e, last)
			}
			last = e.At
			switch {
			case e.Kind == trace.FaultMember || e.Kind == trace.FaultLeader:
				if e.At < member {
					t.Errorf("seed %d: %+v, and another member is down until %v", seed, e, member)
				}
				member = e.At + e.For
			case e.Worker >= 0:
				if e.At < busy[e.Worker] {
					t.Errorf("seed %d: %+v, and the worker is busy until %v", seed, e, busy[e.Worker])
				}
				busy[e.Worker] = e.At + e.For
				left := 0
				for _, until := range busy {
					if until <= e.At {
						left++
					}
				}
				if left < c.Workers/2 {
					t.Errorf("seed %d: %+v leaves %d workers alone", seed, e, left)
				}
			case e.Kind != trace.FaultCompact:
				t.Errorf("seed %d: %+v hits nobody", seed, e)
			}
			if e.Kind == trace.FaultPause && e.For < 2*c.TTL {
				t.Errorf("seed %d: %+v is not beyond the lease", seed, e)
			}
		}
		cuts := counts[trace.FaultCut] + counts[trace.FaultCutIn] + counts[trace.FaultCutOut]
		for _, floor := range []struct {
			name      string
			got, want float64
		}{
			{"kills", counts[trace.FaultKill], 20}, {"pauses", counts[trace.FaultPause], 3}, {"cuts", cuts, 3},
			{"members", counts[trace.FaultMember] + counts[trace.FaultLeader], 1},
		} {
			if floor.got/minutes < floor.want {
				t.Errorf("seed %d: %.1f %s a minute are planned; %v are needed", seed, floor.got/minutes, floor.name, floor.want)
			}
		}
	}
}

// A store without a cluster has no faults of one; asked for some kinds, there are no others; a leader dies in the shortest run.
func TestScheduleKinds(t *testing.T) {
	c := config(3, time.Minute)
	c.Members, c.TTL, c.InWire = 0, 0, false
	for _, e := range Schedule(c) {
		if e.Kind != trace.FaultKill && e.Kind != trace.FaultPause {
			t.Errorf("on a file: %+v", e)
		}
		if onWire(e.Point) {
			t.Errorf("at a point that is not there: %+v", e)
		}
	}
	c = config(3, time.Minute)
	c.Kinds = []string{trace.FaultRevoke}
	for _, e := range Schedule(c) {
		if e.Kind != trace.FaultRevoke {
			t.Errorf("not asked for: %+v", e)
		}
	}
	leaders := 0
	for _, e := range Schedule(config(3, 10*time.Second)) {
		if e.Kind == trace.FaultLeader {
			leaders++
		}
	}
	if leaders != 1 {
		t.Errorf("%d leaders die within 10s, want 1", leaders)
	}
}

// Each policy meets each world.
func TestTools(t *testing.T) {
	seen := map[string]bool{}
	for _, tool := range Tools([]string{"retry", "block"}, []string{trace.WorldPlain, trace.WorldFence}) {
		if seen[tool.Name] {
			t.Errorf("%s is there twice", tool.Name)
		}
		seen[tool.Name] = true
	}
	for _, want := range []string{"retry_plain", "retry_fence", "block_plain", "block_fence", "twice_retry_plain"} {
		if !seen[want] {
			t.Errorf("no tool %s", want)
		}
	}
}
