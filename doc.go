// Package ledger makes the side effects of tool calls happen exactly once.
//
// Agents and workers retry: after time-outs, crashes, reconnects and
// re-planning. Each retry of "charge the card" charges it again. A [Guard]
// fingerprints each call (tool, arguments, workflow), claims it in one atomic
// step of a shared [Store], runs it and records its outcome. A duplicate is blocked,
// or answered with the recorded result.
//
// # The promise, and its limits
//
// A side effect in somebody else's system can not be made atomic with our
// record of it. So a call can be in doubt, and what happens then is yours to choose:
//
//   - A call that finished, and comes again, is blocked or replayed. It does
//     not run, unless its Policy says so (Max, TTL) or you do (Retry, Force).
//   - A call that is running, here or in another process, is blocked, or it
//     waits for that run's result (Policy.Wait).
//   - A tool that fails with [NotDone] certainly did nothing: the next call runs. If an
//     earlier attempt of the run is in doubt, it runs with the same [Token] all the same, so a
//     downstream that remembers a refusal under a token goes on refusing until [Guard.Retry].
//     With [Permanent] it failed for good: the call never runs again.
//   - Any other error, a panic, or the death of the worker leaves the call in
//     doubt. [DoubtRetry], the default, runs it again with the same [Token]: exactly once
//     if the downstream honours idempotency tokens, and once more per takeover if
//     it does not. [DoubtBlock] never runs it again by itself: at most once, and
//     [Guard.Resolve] settles it. [DoubtReconcile] asks the downstream first.
//   - A tool that ran, and whose outcome could not be recorded, returns its value and
//     ErrUnrecorded. The guard keeps the outcome and sends it until it is recorded; if
//     the process dies before, the call is in doubt.
//   - While the store can not be reached no tool runs (ErrUnavailable), except
//     Unlimited ones.
//
// # One call
//
// Open a store (package connect, sqlitestore, or [NewMemory] for tests), make
// one guard per process, and give it calls:
//
//	store, err := connect.Open(ctx, "ledger.db")
//	guard, err := ledger.New(store, nil)
//	defer guard.Close(ctx)
//
//	order := guard.Workflow("order-42")
//	res, err := ledger.Do(ctx, order, ledger.Call{Tool: "charge_card", Args: in},
//		func(ctx context.Context) (Receipt, error) {
//			return payments.Charge(ctx, in, ledger.Token(ctx))
//		})
//
// Calls are the same if workflow, tool and arguments are. The order of fields,
// white space, the spelling of numbers and float drift (beyond 8 decimals, or 9 significant digits below 1) do not
// count; package fingerprint has the rules. Only exported fields of structs count, as
// for encoding/json. Arguments that change with every retry (a timestamp, a random
// ID) make every retry a new call: give such calls a key ([WithKey], Call.Key,
// or a field tagged `ledger:"key"`), or leave those fields out (Policy.Ignore, `ledger:"ignore"`). The guard
// warns when a tool's arguments keep changing, and names the fields.
//
// A blocked call returns a [*BlockedError]; match its reason with errors.Is:
//
//	switch {
//	case errors.Is(err, ledger.ErrDuplicate):  // done before
//	case errors.Is(err, ledger.ErrInProgress): // running now
//	case errors.Is(err, ledger.ErrInDoubt):    // someone has to decide
//	}
//
// # A function
//
// [Once] wraps a function without changing its type:
//
//	charge := ledger.Once(order, "charge_card", chargeCard)
//
// # A toolset
//
// [Guard.WrapTools] wraps what an agent dispatches by name:
//
//	tools := order.WrapTools(map[string]ledger.Tool{
//		"charge_card": ledger.JSON(chargeCard),
//		"search_web":  ledger.ToolFunc(searchWeb),
//	}, &ledger.WrapOptions{BlockedReturn: json.RawMessage(`{"status":"blocked"}`)})
//
// # Policies
//
//	ledger.Options{Policies: map[string]ledger.Policy{
//		"search_web":  {Unlimited: true}, // read-only: always runs
//		"charge_card": {Replay: true, Wait: 30 * time.Second, InDoubt: ledger.DoubtBlock},
//		"send_sms":    {Max: 2},
//		"report":      {TTL: 24 * time.Hour},
//	}}
//
// A record keeps its in-doubt policy. The stricter of it and the caller's own
// wins, so a worker deployed with another policy can not rerun what was to be blocked.
//
// # Crash safety
//
// A claim lives as long as its worker. In sqlitestore that is the life of the
// process, as the kernel sees it: a killed worker's calls can be taken over at
// once, a paused one's never. The tool's context is cancelled with ErrLeaseLost or ErrFenced if
// the claim is lost while it runs; a tool that ignores its context goes on, and what it
// does then is outside of what a ledger can prevent.
//
// # Seeing
//
// [Guard.Log], [Guard.Stats] and [Guard.History] read the records, hooks and the
// logger tell of outcomes as they happen. Counts of blocked calls are
// written once a second; a killed process loses at most its last second of counts, never an outcome.
package ledger
