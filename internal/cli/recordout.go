package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/ledger-once/ledger"
)

// A recordOut is a record as -o json and export write it: for programs, so names and meanings stay.
type recordOut struct {
	ID          string             `json:"id"`
	Workflow    string             `json:"workflow"`
	Tool        string             `json:"tool"`
	Fingerprint string             `json:"fingerprint,omitempty"` // none: the counter of an unlimited tool
	Key         string             `json:"key,omitempty"`
	Status      string             `json:"status"` // as it is shown: a dead owner's running is in_doubt
	State       string             `json:"state"`  // as it is stored
	Alive       bool               `json:"alive,omitempty"`
	Version     int64              `json:"version,omitempty"`
	Fence       int64              `json:"fence,omitempty"`
	Token       string             `json:"token,omitempty"`
	InDoubt     ledger.DoubtPolicy `json:"in_doubt_policy"`
	Doubted     bool               `json:"doubted,omitempty"`
	Attempt     int                `json:"attempt"`
	Attempts    int64              `json:"attempts"`
	Starts      int64              `json:"starts"`
	Executed    int64              `json:"executed"`
	Blocked     int64              `json:"blocked"`
	Spent       int                `json:"spent"`
	Takeovers   int                `json:"takeovers"`
	Owner       *ownerOut          `json:"owner,omitempty"`
	Args        any                `json:"args,omitempty"`
	ArgsDigest  string             `json:"args_digest,omitempty"`
	Result      any                `json:"result,omitempty"`
	Omitted     bool               `json:"result_omitted,omitempty"`
	Sealed      bool               `json:"sealed,omitempty"` // args and result are encrypted: base64
	Error       *failureOut        `json:"error,omitempty"`
	Settled     *settledOut        `json:"settled,omitempty"`
	Created     *time.Time         `json:"created,omitempty"`
	Started     *time.Time         `json:"started,omitempty"`
	Finished    *time.Time         `json:"finished,omitempty"`
	Succeeded   *time.Time         `json:"succeeded,omitempty"`
	Log         []attemptOut       `json:"log,omitempty"`
}

type ownerOut struct {
	Session string `json:"session,omitempty"`
	Host    string `json:"host,omitempty"`
	PID     int    `json:"pid,omitempty"`
	Caller  string `json:"caller,omitempty"`
}

type failureOut struct {
	Message string       `json:"message"`
	Class   ledger.Class `json:"class"`
}

type settledOut struct {
	How    string     `json:"how"`
	By     string     `json:"by,omitempty"`
	Reason string     `json:"reason,omitempty"`
	At     *time.Time `json:"at,omitempty"`
}

type attemptOut struct {
	Fence   int64      `json:"fence"`
	Owner   *ownerOut  `json:"owner,omitempty"`
	Started *time.Time `json:"started,omitempty"`
	Ended   *time.Time `json:"ended,omitempty"` // none: nobody saw it end
	Outcome string     `json:"outcome"`
}

func forPrograms(r *ledger.Record) *recordOut {
	o := &recordOut{
		ID: r.ID.String(), Workflow: r.ID.Workflow, Tool: r.ID.Tool, Fingerprint: r.ID.Fingerprint, Key: r.Key,
		Status: stateName(r.Status()), State: stateName(r.State), Alive: r.Alive,
		Version: int64(r.Version), Fence: int64(r.Fence), Token: r.Token, InDoubt: r.InDoubt, Doubted: r.Doubted,
		Attempt: r.Attempt, Attempts: r.Attempts, Starts: r.Starts, Executed: r.Executed, Blocked: r.Blocked, Spent: r.Spent, Takeovers: r.Takeovers,
		Owner: ownerOf(r.Owner), Args: jsonOf(r.Args, r.Sealed), ArgsDigest: r.ArgsDigest,
		Result: jsonOf(r.Result, r.Sealed), Omitted: r.ResultOmitted, Sealed: r.Sealed, Error: (*failureOut)(r.Error),
		Created: timeOf(r.Created), Started: timeOf(r.Started), Finished: timeOf(r.Finished), Succeeded: timeOf(r.Succeeded),
	}
	if s := r.Settled; s != nil {
		o.Settled = &settledOut{s.How, s.By, s.Reason, timeOf(s.At)}
	}
	for _, a := range r.Log {
		o.Log = append(o.Log, attemptOut{int64(a.Fence), ownerOf(a.Owner), timeOf(a.Started), timeOf(a.Ended), string(a.Outcome)})
	}
	return o
}

// stateName names a state as --status takes it.
func stateName(s ledger.State) string {
	if s == ledger.StateNone {
		return "unlimited"
	}
	return string(s)
}

func ownerOf(o ledger.Owner) *ownerOut {
	if o == (ledger.Owner{}) {
		return nil
	}
	return &ownerOut{o.Session, o.Host, o.PID, o.Caller}
}

func timeOf(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// jsonOf returns stored JSON as it is, and what is none as a string, or as base64.
func jsonOf(b []byte, sealed bool) any {
	switch {
	case b == nil:
		return nil
	case sealed || !utf8.Valid(b):
		return b
	case json.Valid(b):
		return json.RawMessage(b)
	}
	return string(b)
}

// A format is the flag -o.
type format string

const (
	asTable format = "table"
	asJSON  format = "json"
	asJSONL format = "jsonl"
)

func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "string" }
func (f *format) Set(s string) error {
	switch format(s) {
	case asTable, asJSON, asJSONL:
		*f = format(s)
		return nil
	}
	return errors.New("use table, json or jsonl")
}

func (f *format) flag(cmd *cobra.Command) {
	*f = asTable
	cmd.Flags().VarP(f, "output", "o", "`FORMAT`: table, json or jsonl")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "json", "jsonl"}, cobra.ShellCompDirectiveNoFileComp))
}

// A values writes any number of values as one JSON array, or a line each.
type values struct {
	w     *bufio.Writer
	lines bool
	n     int
}

func newValues(w io.Writer, f format) *values {
	return &values{w: bufio.NewWriterSize(w, 64<<10), lines: f == asJSONL}
}

func (v *values) add(value any) error {
	b, err := marshal(value)
	if err != nil {
		return err
	}
	switch {
	case v.lines:
	case v.n == 0:
		_, err = v.w.WriteString("[\n")
	default:
		_, err = v.w.WriteString(",\n")
	}
	v.n++
	if err == nil {
		_, err = v.w.Write(b)
	}
	if v.lines && err == nil {
		err = v.w.WriteByte('\n')
	}
	return err
}

func (v *values) end() error {
	if !v.lines {
		closing := "\n]\n"
		if v.n == 0 {
			closing = "[]\n"
		}
		if _, err := v.w.WriteString(closing); err != nil {
			return err
		}
	}
	return v.w.Flush()
}

// marshal is json.Marshal without escapes for HTML.
func marshal(value any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return nil, fmt.Errorf("write as JSON: %w", err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

// printJSON writes one value: indented, or on one line.
func (a *app) printJSON(f format, value any) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	if f == asJSON {
		enc.SetIndent("", "  ")
	}
	return enc.Encode(value)
}
