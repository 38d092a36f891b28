package report

import (
	"fmt"
	"time"

	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// sampleSummary is a summary that has all of it: passed, of the run in dir.
func sampleSummary(run trace.Run, dir string) *trace.Summary {
	s := &trace.Summary{
		Schema: trace.Schema, Verdict: "passed", Run: run, Took: run.Duration + 21*time.Second, Dir: dir, Beyond: 31,
		Command:  "go run ./cmd/ledger chaos --seed 1 --duration 10m --workers 8 --members 3",
		Schedule: "sha256:9f2c51d0b6c7",
		Faults: map[string]int{
			"kill": 214, "pause": 33, "cut": 18, "cut-in": 9, "cut-out": 11, "delay": 22, "member": 11, "leader": 4, "compact": 9, "revoke": 6, "start": 222, "exit": 8,
		},
		Windows: map[string]int{"before the claim": 61, "claim sent": 12, "claimed, before the effect": 38, "effect done, not recorded": 74, "finish sent": 17, "finished": 45},
		Floors: []trace.Floor{
			{Name: "worker kills a minute", Want: 20, Got: 21.4}, {Name: "pauses beyond the lease a minute", Want: 3, Got: 3.1},
			{Name: "partitions a minute", Want: 3, Got: 3.8}, {Name: "member kills a minute", Want: 1, Got: 1.5}, {Name: "guarded calls a second", Want: 200, Got: 341.72},
		},
		Rate:    341.72,
		Latency: map[string]time.Duration{"p50": 3_410 * time.Microsecond, "p99": 812 * time.Millisecond, "max": 7_940 * time.Millisecond},
		Findings: trace.Findings{
			Calls: 205_034, Open: 388, IDs: 61_207, Grants: 63_311, Takeovers: 211,
			Outcomes: map[string]int{"ok": 60_874, "replayed": 71_020, "duplicate": 48_233, "in_progress": 22_410, "in_doubt": 1_190, "not_started": 911, "tool_failed": 310, "fenced": 14, "unknown": 72},
			Effects:  map[string]int{"effect": 61_020, "known": 71, "refused": 18, "denied": 240, "query": 55},
			Histogram: map[string]map[int]int{
				"block/plain": {0: 312, 1: 12_207}, "retry/plain": {0: 8, 1: 12_410, 2: 61, 3: 2}, "retry/token": {0: 5, 1: 12_371},
				"reconcile/fence": {0: 41, 1: 12_100}, "reconcile/hold": {1: 11_981, 2: 12},
			},
		},
		Explorer: map[string]any{
			"States": 48_112, "Transitions": 171_903, "Depth": 31, "Elapsed": int64(2_310 * time.Millisecond), "Violations": nil, "Cells": sampleBounds(),
		},
	}
	for i, n := range trace.Invariants {
		c := trace.Check{Invariant: n.Name, Checked: 61_207 - 811*i}
		switch n.Name {
		case "I14":
			c.Unknown, c.Note = 203, "counts that killed processes had not flushed"
		case "I8":
			c.Checked = 71_020
		}
		s.Findings.Checks = append(s.Findings.Checks, c)
	}
	s.Cells = sampleCells()
	for _, m := range [][3]string{
		{"unconditional-claim", "a claim that does not look at the version it saw", "I1"}, {"finish-without-fence", "an outcome is written whatever stands there", "I3"},
		{"wall-clock-staleness", "an owner is dead when its wall clock says so", "I1"}, {"get-delete-claim", "a stale record is deleted, then claimed, in two steps", "I1"},
		{"success-on-the-lease", "a success is bound to the lease of its worker", "I6"}, {"ambiguous-is-failure", "a lost answer of a finish is taken for a failure", "I5"},
		{"local-fence", "the fence comes from a counter in the process", "I11"}, {"acknowledged-early", "the caller hears of a success before it is committed", "I6"},
		{"loosened-policy", "the caller's policy replaces the record's", "I13"},
	} {
		s.Mutants = append(s.Mutants, trace.MutantResult{Name: m[0], Text: m[1], Want: []string{m[2]}, Caught: []string{m[2], "L1"}, Runs: 1, OK: true})
	}
	return s
}

func sampleBounds() (cells []map[string]any) {
	for _, fault := range []string{"crash before the effect", "crash after the effect, before the record", "paused beyond the lease", "late message", "partition, ambiguous commit"} {
		for _, w := range [][3]string{{"retry", "plain", "1+T"}, {"retry", "token", "1"}, {"block", "plain", "1"}, {"reconcile", "plain", "1+T"}, {"reconcile", "fence", "1"}} {
			c := map[string]any{"Fault": fault, "Policy": w[0], "World": w[1], "Bound": w[2], "Min": 1, "Max": 1, "Takeovers": 2, "Tight": true, "OK": true}
			switch {
			case fault == "crash before the effect":
				c["Bound"] = "1"
				if w[0] == "block" {
					c["Bound"], c["Min"], c["Max"] = "0", 0, 0
				}
			case w[2] == "1+T":
				c["Max"] = 3
			}
			cells = append(cells, c)
		}
	}
	return cells
}

func sampleCells() (cells []trace.CellCount) {
	points := []string{"before-claim", "claim-sent", "claimed", "effect-done", "effect-acked", "finish-sent", "finished", "renewal", "takeover", "query"}
	faults := []string{"kill", "pause", "cut", "cut-in", "cut-out", "leader", "member", "compact", "revoke"}
	for i, store := range []trace.Cell{{Store: "sqlite"}, {Store: "etcd", Members: 1}, {Store: "etcd", Members: 3}} {
		for j, w := range [][2]string{{"retry", "plain"}, {"retry", "token"}, {"block", "plain"}, {"reconcile", "plain"}, {"reconcile", "fence"}} {
			for k, p := range points {
				for l, f := range faults {
					if i == 0 && (l > 1 || p == "renewal") || store.Members == 1 && f == "leader" || p == "query" && w[0] != "reconcile" {
						continue
					}
					c := store
					c.Point, c.Fault, c.InDoubt, c.World = p, f, w[0], w[1]
					landed := 1 + (i*7+j*5+k*3+l*11)%9*(2+l%3)
					cells = append(cells, trace.CellCount{Cell: c, Aimed: landed + (k+l)%2, Landed: landed, OK: true, Effects: map[int]int{1: landed}, Took: time.Second})
				}
			}
		}
	}
	return cells
}

// violate turns the summary into that of a run in which the call id had two effects.
func violate(s *trace.Summary, id string) {
	s.Verdict, s.Why = "violated", []string{"I5: the world sees no more effects of one run than its policy allows: 1 violation", "cell etcd3/effect-acked/pause/block/plain is not OK"}
	for i := range s.Findings.Checks {
		if s.Findings.Checks[i].Invariant == "I5" {
			s.Findings.Checks[i].Violations = 1
		}
		if s.Findings.Checks[i].Invariant == "L1" {
			s.Findings.Checks[i].Violations = 1
		}
	}
	s.Findings.Checks = s.Findings.Checks[:len(s.Findings.Checks)-1]
	s.Findings.Picture = "porcupine-0001.html"
	s.Findings.Histogram["block/plain"][2] = 1
	v := trace.Violation{Invariant: "I5", ID: id, Text: "two effects in one run under DoubtBlock, which allows one"}
	for i := range 14 {
		v.Evidence = append(v.Evidence, fmt.Sprintf("%2d.%03d s  w0%d.0  claim granted, fence %d, seen %d, session 694d9c3b51a2e80%d", 30+i/4, 137*i%1000, i%3, 90_000+i, 89_000+i, i%3))
	}
	v.Evidence = append(v.Evidence, `31.870 s  world  effect, result {"receipt":"<script>alert(1)</script>"}`)
	s.Findings.Violations = []trace.Violation{v, {Invariant: "L1", Text: "the store's history of this record is not linearizable", Dir: s.Dir}}
	bad := &s.Cells[len(s.Cells)-7]
	bad.OK, bad.Effects, bad.Text = false, map[int]int{1: 3, 2: 1}, "two effects, and the policy allows one"
	s.Cells[3].Landed, s.Cells[3].OK = 0, false
	s.Mutants[2].OK, s.Mutants[2].Caught = false, nil
}
