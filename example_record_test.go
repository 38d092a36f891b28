package ledger_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ledger-once/ledger"
)

func ExampleParseID() {
	id, err := ledger.ParseID("order-42/pay%2Fout/00112233445566778899aabbccddeeff") // what a log or a page shows
	fmt.Println(id.Workflow, id.Tool, err)
	_, err = ledger.ParseID("pay/out")
	fmt.Println(errors.Is(err, ledger.ErrInvalid))
	// Output:
	// order-42 pay/out <nil>
	// true
}

func ExampleID_String() {
	fmt.Println(ledger.ID{Workflow: "order-42", Tool: "pay/out", Fingerprint: "00112233445566778899aabbccddeeff"})
	// Output: order-42/pay%2Fout/00112233445566778899aabbccddeeff
}

func ExampleID_Compare() {
	a, b := ledger.ID{Workflow: "order-1", Tool: "send_mail"}, ledger.ID{Workflow: "order-1", Tool: "send_sms"}
	fmt.Println(a.Compare(b), b.Compare(a), a.Compare(a))
	// Output: -1 1 0
}

// Calls of Unlimited tools are counted, and not recorded one by one.
func ExampleID_IsCounter() {
	ctx, guard := context.Background(), exampleGuard(ledger.Policy{Unlimited: true})
	defer guard.Close(ctx)
	for range 3 {
		_, _ = ledger.DoErr(ctx, guard, ledger.Call{Tool: "search_web"}, func(context.Context) error { return nil })
	}
	_, _ = guard.Stats(ctx, ledger.Filter{}) // writes the counts
	for record := range guard.History(ctx, ledger.Filter{}) {
		fmt.Println(record.ID.Tool, record.ID.IsCounter(), record.Executed)
	}
	// Output: search_web true 3
}

func ExampleID_Validate() {
	fmt.Println(ledger.ID{Workflow: "order-42"}.Validate())
	// Output: invalid: the tool is empty; give it a name
}

// A dead owner's record is stored as running, and shown as in doubt.
func ExampleRecord_Status() {
	record := ledger.Record{State: ledger.StateRunning, Alive: true}
	fmt.Println(record.Status())
	record.Alive = false
	fmt.Println(record.Status())
	// Output:
	// running
	// in_doubt
}

// For writers of stores: what stands beside the record is added on reading.
func ExampleRecord_AddTally() {
	record := ledger.Record{Starts: 1, Executed: 1}
	record.AddTally(ledger.Tally{Attempts: 2, Blocked: 2}) // two duplicates
	fmt.Println(record.Attempts, record.Executed, record.Blocked)
	// Output: 3 1 2
}

// For writers of stores: it is asked before anything is written.
func ExampleRecord_Validate() {
	record := ledger.Record{ID: exampleID("charge_card"), Args: make([]byte, ledger.MaxRecordBytes+1)}
	err := record.Validate()
	fmt.Println(errors.Is(err, ledger.ErrInvalid), errors.Is(err, ledger.ErrNotWritten))
	// Output: true true
}

// For writers of stores, like [Record.Validate].
func ExampleClaim_Validate() {
	claim := ledger.Claim{Next: ledger.Record{ID: exampleID("charge_card"), State: ledger.StateRunning}}
	fmt.Println(claim.Validate())
	claim.Next.Nonce = "a"
	fmt.Println(claim.Validate())
	// Output:
	// invalid: the claim has no nonce: nothing was written
	// <nil>
}

func ExampleFilter_Match() {
	hours := ledger.Filter{Tool: "charge_card", States: []ledger.State{ledger.StateFailed}, Since: time.Unix(3600, 0)}
	for _, started := range []int64{0, 7200} {
		fmt.Println(hours.Match(&ledger.Record{
			ID: exampleID("charge_card"), State: ledger.StateFailed, Started: time.Unix(started, 0),
		}))
	}
	// Output:
	// false
	// true
}

// exampleRecords are an order's: one mail was sent, and nobody knows of one payment.
func exampleRecords() []ledger.Record {
	return []ledger.Record{
		{ID: exampleID("pay_out"), State: ledger.StateInDoubt, InDoubt: ledger.DoubtBlock, Attempts: 1},
		{ID: exampleID("send_mail"), State: ledger.StateSucceeded, Attempts: 3, Executed: 1, Blocked: 2},
	}
}

func ExampleStats_Add() {
	var stats ledger.Stats
	for _, record := range exampleRecords() {
		stats.Add(&record)
	}
	fmt.Printf("%+v\n", stats)
	// Output: {Actions:2 Attempts:4 Executed:1 Blocked:2 Failed:0 InDoubt:1 Running:0}
}

func ExampleToolSummary_Add() {
	all := ledger.ToolSummary{Tool: "all"}
	for _, record := range exampleRecords() {
		all.Add(&record)
	}
	fmt.Println(all.Actions, "actions,", all.NeedsDecision, "for a person to decide")
	// Output: 2 actions, 1 for a person to decide
}

func ExampleSumming_Add() {
	var sum ledger.Summing
	for _, record := range exampleRecords() {
		sum.Add(&record)
	}
	for _, tool := range sum.Summary().Tools {
		fmt.Println(tool.Tool, tool.Attempts, tool.Executed, tool.InDoubt)
	}
	// Output:
	// pay_out 1 0 1
	// send_mail 3 1 0
}

// A store that counts by tool in its own language adds the counts.
func ExampleSumming_AddTool() {
	var sum ledger.Summing
	sum.AddTool(ledger.ToolSummary{Tool: "pay_out", Stats: ledger.Stats{Actions: 7, Executed: 6, Failed: 1}})
	sum.AddTool(ledger.ToolSummary{Tool: "send_mail", Stats: ledger.Stats{Actions: 5, Executed: 5}})
	s := sum.Summary()
	fmt.Println(s.Actions, s.Executed, s.Failed, len(s.Tools))
	// Output: 12 11 1 2
}

// The oldest running call tells whether something hangs.
func ExampleSumming_Summary() {
	var sum ledger.Summing
	for _, started := range []int64{120, 60} {
		sum.Add(&ledger.Record{ID: exampleID("pay_out"), State: ledger.StateRunning, Alive: true, Started: time.Unix(started, 0).UTC()})
	}
	s := sum.Summary()
	fmt.Println(s.Running, s.Oldest.Started.Format(time.TimeOnly))
	// Output: 2 00:01:00
}

// Without a guard: a program that only looks.
func ExampleSummarize() {
	ctx, store := context.Background(), ledger.NewMemory()
	_, _, _ = store.Claim(ctx, exampleClaim(0, "a"))
	s, err := ledger.Summarize(ctx, store, ledger.Filter{Workflow: "order-42"})
	fmt.Println(s.Actions, s.Running, err)
	// Output: 1 1 <nil>
}

// A store that counts some filters only falls back on it.
func ExampleSummarizeList() {
	ctx, store := context.Background(), ledger.NewMemory()
	_, _, _ = store.Claim(ctx, exampleClaim(0, "a"))
	s, err := ledger.SummarizeList(ctx, store, ledger.Filter{States: []ledger.State{ledger.StateFailed}})
	fmt.Println(s.Actions, err)
	// Output: 0 <nil>
}
