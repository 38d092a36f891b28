package ledger_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ledger-once/ledger"
)

// The ancestor's features, line by line of its README, and where each is shown.
// TestFeaturesAreShown fails if a name below does not exist. The CLI, the
// dashboard and the files for coding assistants are not among them.
//
//	Exactly-once for tool calls and retries                       ExampleDo
//	safe across crashes, retries and concurrent workers           TestDoRace, TestStaleRecordRunsOnce
//	race conditions, arg normalization, crash recovery, drift     TestDoOnce, TestFeatureFloatDrift
//	guard(charge_customer, order_id=123): one call                ExampleDo, ExampleDoErr
//	guard.wrap_tools(tools): dict                                 ExampleGuard_WrapTools, TestWrapTools
//	guard.wrap_tools(tools): list                                 TestFeatureToolList
//	easy to audit, few dependencies                               imports_test.go
//	every tool at most once per unique argument set               TestDoOnce
//	duplicate calls are always blocked                            TestDoOnce
//	records persist across restarts                               TestFeatureRestart, sqlitestore: TestKill
//	concurrent workers cannot execute the same tool twice         TestDoRace
//	crashed processes recover                                     TestFeatureCrashRecovery, sqlitestore: TestKill
//	failed tools always retry                                     ExampleNotDone, TestClasses
//	every attempt, execution and blocked duplicate is recorded    TestCountsAreNotLost, TestCountsAreFlushed
//	guard.log()                                                   ExampleGuard_Log, TestLog
//	argument order doesn't matter                                 TestFeatureArgumentOrder
//	float drift is handled                                        TestFeatureFloatDrift
//	key= for non-deterministic args                               ExampleWithKey
//	warns of different args within 10 s                           TestFootgun
//	policy(unlimited=True)                                        ExamplePolicy_unlimited, TestUnlimitedRunsWithoutStore
//	policy(replay=True)                                           ExamplePolicy_replay, TestReplay
//	policy(max=2)                                                 ExamplePolicy_max, TestMaxRace, TestMaxSurvivesFailure
//	policy(ttl=86400)                                             ExamplePolicy_ttl, TestTTL, TestTTLDoesNotSlide
//	blocked_return={"status": "blocked"}                          TestWrapBlocked, ExampleGuard_WrapTools
//	dispatch by name, result as JSON                              TestFeatureDispatch
//	wrap raw functions before the framework's tools               ExampleJSON, ExampleOnce
//	async works automatically                                     TestFeatureConcurrentCalls
//	@guard.once                                                   ExampleOnce, ExampleOnceErr, TestOnceKeepsTheType
//	@guard.once(replay=True)                                      ExamplePolicy_replay
//	guard.retry                                                   ExampleGuard_Retry, TestRetry
//	guard.force                                                   ExampleForce, TestForce
//	guard.stats()                                                 ExampleGuard_Stats
//	guard.history(), by tool, by workflow                         ExampleGuard_History, TestFeatureHistoryFilters
//	on_success, on_block                                          TestHooks, TestHooksPanic
//	assert guard.check()                                          ExampleCheck, TestCheck
//	guard.workflow(...)                                           TestDoOnce, TestIdentityPrecedence
//	guard.as_caller("agent-A")                                    ExampleGuard_History, TestIdentityPrecedence
//	six methods for another store                                 TestFeatureOwnStore, storetest: TestMutants
//	tests without disk I/O                                        TestFeatureIsolatedTest
//	fingerprint of tool, normalized args and workflow             TestDoOnce, TestFields
//	atomic claim                                                  TestStaleRecordRunsOnce
//	RUNNING -> SUCCESS or FAILED                                  TestDecide, TestFinish
//	LEDGER_DB, LEDGER_WORKFLOW, LEDGER_QUIET                      connect: TestFromEnv

func TestFeaturesAreShown(t *testing.T) {
	source, err := os.ReadFile("features_test.go")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]map[string]bool) // by directory
	defined := func(dir string) map[string]bool {
		if names, ok := seen[dir]; ok {
			return names
		}
		names := make(map[string]bool)
		seen[dir] = names
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v", dir, err)
		}
		for _, file := range files {
			names[file] = true
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range regexp.MustCompile(`(?m)^func ((?:Test|Example)\w+)`).FindAllSubmatch(text, -1) {
				names[string(m[1])] = true
			}
		}
		return names
	}
	lines := regexp.MustCompile(`(?m)^//\t.{61} (.+)$`).FindAllSubmatch(source, -1)
	if len(lines) < 40 {
		t.Errorf("the table has %d lines", len(lines))
	}
	for _, line := range lines {
		for _, m := range regexp.MustCompile(`(?:(\w+): )?(\w+(?:\.go)?)`).FindAllSubmatch(line[1], -1) {
			if dir := "./" + string(m[1]); !defined(dir)[string(m[2])] {
				t.Errorf("%s: there is no %s", line[0], m[0])
			}
		}
	}
}

func TestFeatureArgumentOrder(t *testing.T) {
	g, n := newGuard(t, ledger.NewMemory(), nil), &counter{}
	for i, args := range []any{
		json.RawMessage(`{"x":1,"y":{"a":[1,2],"b":null}}`), json.RawMessage(`{"y":{"b":null,"a":[1,2]},"x":1}`),
		map[string]any{"y": map[string]any{"a": []int{1, 2}, "b": nil}, "x": 1},
	} {
		_, err := ledger.Do(t.Context(), g, ledger.Call{Tool: "fn", Args: args}, n.run)
		if (err == nil) != (i == 0) {
			t.Errorf("%d: %v", i, err)
		}
	}
	_, err := ledger.Do(t.Context(), g, ledger.Call{Tool: "fn", Args: json.RawMessage(`{"x":1,"y":{"a":[2,1],"b":null}}`)}, n.run)
	wantErr(t, err) // the order of a list does matter
}

func TestFeatureFloatDrift(t *testing.T) {
	g, n := newGuard(t, ledger.NewMemory(), nil), &counter{}
	for _, c := range []struct {
		a, b float64
		same bool
	}{{99.99, 99.9900000001, true}, {0.3, 0.1 + 0.2, true}, {1, 1 + 1e-12, true}, {99.99, 99.98, false}, {3e-9, 4e-9, false}} {
		_, err := ledger.Do(t.Context(), g, ledger.Call{Tool: "fn", Args: []float64{c.a, c.a, c.b}}, n.run)
		wantErr(t, err)
		_, err = ledger.Do(t.Context(), g, ledger.Call{Tool: "fn", Args: []float64{c.a, c.b, c.b}}, n.run)
		if (err != nil) != c.same {
			t.Errorf("%v and %v: %v", c.a, c.b, err)
		}
	}
}

func TestFeatureToolList(t *testing.T) {
	g := newGuard(t, ledger.NewMemory(), nil)
	type named struct {
		name string
		tool ledger.Tool
	}
	ran := 0
	list := []named{{"search", nil}, {"send", nil}}
	for i := range list {
		list[i].tool = g.WrapTool(list[i].name, ledger.JSON(func(_ context.Context, n int) (int, error) { ran++; return n, nil }), nil)
	}
	for _, item := range list {
		callTool(t, item.tool, `1`, `1`)
		_, err := item.tool.Call(t.Context(), json.RawMessage(`1`))
		blocked(t, err, ledger.ErrDuplicate)
	}
	wantCount(t, "runs", ran, 2)
}

func TestFeatureDispatch(t *testing.T) {
	g := newGuard(t, ledger.NewMemory(), nil)
	tools := g.WrapTools(map[string]ledger.Tool{"send_email": ledger.JSON(func(_ context.Context, m mail) (map[string]string, error) {
		return map[string]string{"status": "sent"}, nil
	})}, &ledger.WrapOptions{BlockedReturn: json.RawMessage(`{"status":"blocked"}`)})
	dispatch := func(name, arguments string) string { // as an agent's loop does
		out, err := tools[name].Call(t.Context(), json.RawMessage(arguments))
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	for _, want := range []string{`{"status":"sent"}`, `{"status":"blocked"}`} {
		if got := dispatch("send_email", `{"to":"ann"}`); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestFeatureRestart(t *testing.T) {
	m, n := ledger.NewMemory(), &counter{}
	for i := range 3 { // each life has a session and a guard of its own
		session := m.Session()
		g, err := ledger.New(session, &ledger.Options{Logger: quiet})
		wantErr(t, err)
		if _, err = ledger.Do(t.Context(), g, charge, n.run); (err == nil) != (i == 0) {
			t.Errorf("life %d: %v", i, err)
		}
		wantErr(t, g.Close(t.Context()))
		wantErr(t, session.Close())
	}
	wantCount(t, "effects", n.count(), 1)
}

// Nobody waits for a timeout: a dead worker's call runs again at once, with its token.
func TestFeatureCrashRecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, n := ledger.NewMemory(), &counter{}
		g := newGuard(t, m, nil)
		token, start := abandon(t, m, g, charge, ledger.DoubtRetry).Token, time.Now()
		_, err := ledger.Do(t.Context(), g, charge, n.run)
		wantErr(t, err)
		if n.tokens[0] != token || time.Since(start) != 0 {
			t.Errorf("token %q, want %q; after %v", n.tokens[0], token, time.Since(start))
		}
	})
}

func TestFeatureConcurrentCalls(t *testing.T) {
	g, n := newGuard(t, ledger.NewMemory(), nil), &counter{}
	post := ledger.Once(g, "post_webhook", func(ctx context.Context, _ string) (int, error) { return n.run(ctx) })
	var all sync.WaitGroup
	for range 20 {
		for _, url := range []string{"a", "b", "c"} {
			all.Go(func() { _, _ = post(t.Context(), url) })
		}
	}
	all.Wait()
	wantCount(t, "effects", n.count(), 3)
}

func TestFeatureHistoryFilters(t *testing.T) {
	g, n := newGuard(t, ledger.NewMemory(), nil), &counter{}
	for _, c := range []ledger.Call{{Tool: "send_email"}, {Tool: "charge"}, {Tool: "send_email", Workflow: "order-42", Caller: "agent-A"}} {
		_, err := ledger.Do(t.Context(), g, c, n.run)
		wantErr(t, err)
	}
	for _, c := range []struct {
		filter ledger.Filter
		want   int
	}{{ledger.Filter{}, 3}, {ledger.Filter{Tool: "send_email"}, 2}, {ledger.Filter{Workflow: "order-42"}, 1}, {ledger.Filter{Caller: "agent-A"}, 1}, {ledger.Filter{Limit: 2}, 2}} {
		got := 0
		for _, err := range g.History(t.Context(), c.filter) {
			wantErr(t, err)
			got++
		}
		wantCount(t, "records", got, c.want)
	}
}

// A store needs the six methods of Store and nothing more.
func TestFeatureOwnStore(t *testing.T) {
	g, n := newGuard(t, unwatched{ledger.NewMemory()}, nil), &counter{}
	for i := range 3 {
		if _, err := ledger.Do(t.Context(), g, charge, n.run); (err == nil) != (i == 0) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	s, err := g.Stats(t.Context(), ledger.Filter{})
	if want := (ledger.Stats{Actions: 1, Attempts: 3, Executed: 1, Blocked: 2}); err != nil || s != want {
		t.Errorf("got %+v, %v, want %+v", s, err, want)
	}
}

func TestFeatureIsolatedTest(t *testing.T) {
	for range 2 { // each has a world of its own
		g, n := newGuard(t, ledger.NewMemory(), nil), &counter{}
		_, _ = ledger.Do(t.Context(), g, charge, n.run)
		_, _ = ledger.Do(t.Context(), g, charge, n.run)
		s, err := g.Stats(t.Context(), ledger.Filter{})
		if err != nil || s.Executed != 1 || s.Blocked != 1 {
			t.Errorf("got %+v, %v", s, err)
		}
	}
}
