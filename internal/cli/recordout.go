package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/ledger-once/ledger"
	"github.com/ledger-once/ledger/internal/callview"
)

// A recordOut is a record as -o json and export write it.
type recordOut = callview.Call

func forPrograms(r *ledger.Record) *recordOut { return callview.Of(r) }

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
