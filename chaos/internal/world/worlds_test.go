package world

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ledger-once/ledger/chaos/internal/trace"
)

// What each world does with requests, what it writes down, and what their callers are told.
func TestWorlds(t *testing.T) {
	type step struct {
		query bool
		token string
		fence int64
		ask   string
		did   string // in the journal
		told  string // "": a query's "did not happen"
	}
	for tool, steps := range map[string][]step{
		"plain": {
			{true, "a", 1, "", trace.Asked, ""},
			{false, "a", 1, "", trace.Done, "c#1"},
			{false, "a", 2, "", trace.Done, "c#2"},
			{true, "a", 9, "", trace.Asked, "c#1"},
			{false, "a", 1, "", trace.Done, "c#3"}, // an old fence means nothing to it, nor does the query
			{false, "a", 9, AskDeny, trace.Denied, "denied"},
			{false, "b", 10, AskPermanent, trace.Denied, "permanent"},
			{false, "b", 11, AskFail, trace.Done, "uncertain"},
			{true, "b", 12, "", trace.Asked, "c#4"},
		},
		"hold": {
			{false, "a", 1, "", trace.Done, "c#1"},
			{false, "a", 1, "", trace.Done, "c#2"},
			{false, "a", 1, AskFail, trace.Done, "uncertain"},
		},
		"token": {
			{false, "a", 1, AskDeny, trace.Denied, "denied"},
			{true, "a", 2, "", trace.Asked, ""},
			{false, "a", 3, AskFail, trace.Done, "uncertain"},
			{false, "a", 4, AskFail, trace.Known, "uncertain"},
			{false, "a", 2, "", trace.Known, "c#1"},
			{false, "a", 5, AskDeny, trace.Known, "c#1"}, // it happened: nothing else may be said
			{false, "a", 5, AskPermanent, trace.Known, "c#1"},
			{false, "b", 6, "", trace.Done, "c#2"},
			{false, "a", 7, "", trace.Known, "c#1"},
			{true, "b", 8, "", trace.Asked, "c#2"},
		},
		"fence": {
			{false, "a", 3, "", trace.Done, "c#1"},
			{false, "a", 2, "", trace.Refused, "refused"}, // lower than one that acted
			{false, "a", 2, AskFail, trace.Refused, "refused"},
			{false, "a", 3, "", trace.Done, "c#2"},
			{false, "a", 5, AskDeny, trace.Denied, "denied"}, // neither asked nor acted
			{false, "a", 4, "", trace.Done, "c#3"},
			{true, "a", 7, "", trace.Asked, "c#1"},
			{false, "a", 6, "", trace.Refused, "refused"}, // lower than one that asked
			{false, "a", 6, AskDeny, trace.Refused, "refused"},
			{true, "a", 6, "", trace.Refused, "refused"},
			{false, "b", 7, "", trace.Done, "c#4"},
		},
	} {
		t.Run(tool, func(t *testing.T) {
			w, c, journal := start(t, nil)
			var want []trace.Effect
			requests, queries, happened := 0, 0, map[string]int{}
			for i, s := range steps {
				q := request(tool, "c", s.token, s.fence)
				q.Ask = s.ask
				var got string
				if s.query {
					queries++
					did, result, err := c.Query(t.Context(), q)
					if did != (result != "") {
						t.Errorf("step %d: happened is %v with result %q", i, did, result)
					}
					got = told(result, err)
				} else {
					requests++
					got = told(c.Act(t.Context(), q))
				}
				if got != s.told {
					t.Errorf("step %d, %+v: told %q", i, s, got)
				}
				if s.did == trace.Done {
					happened[s.token]++
				}
				e := trace.Effect{Seq: uint64(i + 1), Did: s.did, ID: "c", Tool: tool, Token: s.token, Fence: s.fence, Attempt: 1, Worker: "w03.2", PID: os.Getpid()}
				e.Happened = s.did == trace.Asked && s.told != ""
				if tool == "hold" {
					e.Answer = "held"
				}
				want = append(want, e)
			}
			got := effects(t, journal)
			for i := range got {
				got[i].At = 0
				if s := steps[i]; s.did != trace.Denied && s.did != trace.Refused && s.told != "uncertain" && s.told != "" && got[i].Result != `"`+s.told+`"` {
					t.Errorf("step %d: result %s in the journal, and %q was told", i, got[i].Result, s.told)
				} else if (got[i].Result != "") != (s.did == trace.Done || s.did == trace.Known || s.did == trace.Asked && s.told != "") {
					t.Errorf("step %d: result %s in the journal", i, got[i].Result)
				}
				got[i].Result = ""
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("journal (-want +got):\n%s", diff)
			}
			if w.Requests("c") != requests || w.Queries("c") != queries || w.Effects("c") != happened["a"]+happened["b"] {
				t.Errorf("%d requests, %d queries, %d effects", w.Requests("c"), w.Queries("c"), w.Effects("c"))
			}
			for _, token := range []string{"a", "b", "c"} {
				if w.EffectsOf("c", token) != happened[token] || w.Happened("c", token) != (happened[token] > 0) {
					t.Errorf("token %s: %d effects, want %d", token, w.EffectsOf("c", token), happened[token])
				}
			}
			if w.Effects("another") != 0 || w.Totals()[trace.Done] != w.Effects("c") {
				t.Errorf("totals %v", w.Totals())
			}
		})
	}
}
