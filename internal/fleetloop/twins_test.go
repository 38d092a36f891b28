//go:build linux

package fleetloop

import (
	"fmt"
	"testing"
	"time"

	"github.com/ledger-once/ledger"
)

// Two processes make the same call at the same time: one runs it, the
// other is blocked, waits, or gets the recorded result.
//
//	go test ./internal/fleetloop -v -run TestTwins -args -rounds 1000
func TestTwins(t *testing.T) {
	f := newFleet(t, 1, 15*time.Second)
	a, b := f.start(), f.start()
	tools := []string{"plain", "replay", "wait", "block"}
	var won, told = [2]int{}, map[string]int{}
	ran := map[string]event{}
	for round := range *rounds {
		tool, key := tools[round%len(tools)], fmt.Sprintf("key-%d", round)
		twins := [2]*call{}
		for i := range twins { // each of the two is asked first in turn
			p := []*proc{a, b}[(round+i)%2]
			twins[(round+i)%2] = p.call(ask{Tool: tool, Key: key})
		}
		events := [2]event{twins[0].wait(), twins[1].wait()}
		winner := 0
		if events[0].Effect.Fence == 0 {
			winner = 1
		}
		w, l := events[winner], events[1-winner]
		won[winner]++
		ran[key] = w
		if w.Effect.Fence == 0 || w.Err != "" || w.Replayed || w.Value != w.Effect.value() {
			t.Fatalf("%s %s: nobody ran it as it should: %+v and %+v", tool, key, w, l)
		}
		switch {
		case l.Effect.Fence != 0:
			t.Errorf("%s %s: both ran it: %+v and %+v", tool, key, w, l)
		case l.Err == "" && tool != "plain" && l.Replayed && l.Value == w.Value:
			told["replayed"]++
		case l.is("duplicate") && tool == "plain":
			told["blocked as a duplicate"]++
		case l.is("in progress") && tool != "wait":
			told["blocked as in progress"]++
		default:
			t.Errorf("%s %s: it ran once, as %q; the other got %+v", tool, key, w.Value, l)
		}
	}
	t.Logf("%d rounds; won %d and %d; the others were %v", *rounds, won[0], won[1], told)
	done := f.effects()
	if len(done) != *rounds {
		t.Errorf("%d calls had effects, want %d", len(done), *rounds)
	}
	fences := map[ledger.Version]bool{}
	for key, effects := range done {
		if len(effects) != 1 || effects[0].Fence != ran[key].Effect.Fence || fences[effects[0].Fence] {
			t.Errorf("%s: the journal has %+v; want one effect, by the fence %d", key, effects, ran[key].Effect.Fence)
		}
		fences[effects[0].Fence] = true
	}
	if *rounds >= 1000 && (won[0] == 0 || won[1] == 0 || told["blocked as in progress"] == 0) {
		t.Error("the run is invalid: the two did not meet")
	}
}
