// Package recordjson is the stored form of a record: one JSON object, versioned
// and append-only. Stores share it, so that a record reads the same in a SQLite
// file, in etcd and in an export. testdata/ pins its bytes.
package recordjson

import (
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/ledger-once/ledger"
)

// Schema is the version that Encode writes. A reader refuses a greater one.
const Schema = 1

// ErrNewer is returned for a record that a newer version of the library wrote.
var ErrNewer = errors.New("the record was written by a newer version of ledger; upgrade this program")

type stored struct {
	Schema int    `json:"v"`
	Key    string `json:"key,omitempty"`

	State   ledger.State       `json:"state"`
	Fence   ledger.Version     `json:"fence,omitempty"` // of the claim; absent while running, when it equals the version
	Token   string             `json:"token,omitempty"`
	Nonce   string             `json:"nonce,omitempty"`
	InDoubt ledger.DoubtPolicy `json:"in_doubt"`

	Attempt   int   `json:"attempt,omitempty"`
	Spent     int   `json:"spent,omitempty"`
	Starts    int64 `json:"starts,omitempty"`
	Executed  int64 `json:"executed,omitempty"`
	Takeovers int   `json:"takeovers,omitempty"`

	Owner      owner       `json:"owner,omitzero"`
	Args       *text       `json:"args,omitempty"`
	ArgsDigest string      `json:"args_digest,omitempty"`
	Result     *text       `json:"result,omitempty"`
	Omitted    bool        `json:"result_omitted,omitempty"`
	Error      *failure    `json:"error,omitempty"`
	Settled    *settlement `json:"settled,omitempty"`
	Sealed     bool        `json:"sealed,omitempty"`

	Created  time.Time `json:"created,omitzero"`
	Started  time.Time `json:"started,omitzero"`
	Finished time.Time `json:"finished,omitzero"`
	Log      []attempt `json:"log,omitempty"`

	Succeeded time.Time `json:"succeeded,omitzero"`
	Doubted   bool      `json:"doubted,omitempty"`
}

type owner struct {
	Session string `json:"session,omitempty"`
	Host    string `json:"host,omitempty"`
	PID     int    `json:"pid,omitempty"`
	Caller  string `json:"caller,omitempty"`
}

type failure struct {
	Message string       `json:"message"`
	Class   ledger.Class `json:"class"`
}

type settlement struct {
	How    string    `json:"how"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
	At     time.Time `json:"at,omitzero"`
}

type attempt struct {
	Fence   ledger.Version `json:"fence"`
	Owner   owner          `json:"owner,omitzero"`
	Started time.Time      `json:"started,omitzero"`
	Ended   time.Time      `json:"ended,omitzero"`
	Outcome ledger.Outcome `json:"outcome"`
}

// text is bytes that are usually JSON text: a JSON string where they are valid
// UTF-8, so that people can read them, and {"base64": ...} where they are not,
// or are large and would be larger still as a string.
type text []byte

func (t *text) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	if d.PeekKind() == '"' {
		s, err := d.ReadToken()
		if err == nil {
			*t = text(s.String())
		}
		return err
	}
	var b struct {
		Base64 []byte `json:"base64"`
	}
	err := json.UnmarshalDecode(d, &b)
	*t = b.Base64
	return err
}

func fromText(t *text) []byte {
	if t == nil {
		return nil
	}
	if *t == nil {
		return []byte{}
	}
	return []byte(*t)
}

// lenient reads what encoding/json reads as well: a record is not lost for a name that somebody wrote twice.
var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

// Decode is the inverse of Encode. It sets ID and Version, and the Fence of a
// running record to its version. It returns ErrNewer for a greater schema.
func Decode(id ledger.ID, version ledger.Version, data []byte) (ledger.Record, error) {
	var s stored
	if err := json.Unmarshal(data, &s, lenient); err != nil {
		var head struct {
			Schema int `json:"v"`
		}
		if json.Unmarshal(data, &head, lenient) == nil && head.Schema > Schema {
			return ledger.Record{}, fmt.Errorf("record %s has schema %d: %w", id, head.Schema, ErrNewer)
		}
		return ledger.Record{}, fmt.Errorf("record %s is not readable: %w", id, err)
	}
	if s.Schema > Schema {
		return ledger.Record{}, fmt.Errorf("record %s has schema %d: %w", id, s.Schema, ErrNewer)
	}
	if s.Schema < 1 {
		return ledger.Record{}, fmt.Errorf("record %s is not one of ledger's: it has no schema version", id)
	}
	r := ledger.Record{
		ID: id, Version: version,
		Key: s.Key, State: s.State, Fence: s.Fence, Token: s.Token, Nonce: s.Nonce, InDoubt: s.InDoubt,
		Attempt: s.Attempt, Spent: s.Spent, Starts: s.Starts, Executed: s.Executed, Takeovers: s.Takeovers,
		Owner: ledger.Owner(s.Owner), Args: fromText(s.Args), ArgsDigest: s.ArgsDigest, Result: fromText(s.Result),
		ResultOmitted: s.Omitted, Error: (*ledger.Failure)(s.Error), Settled: (*ledger.Settlement)(s.Settled), Sealed: s.Sealed,
		Created: s.Created, Started: s.Started, Finished: s.Finished, Succeeded: s.Succeeded, Doubted: s.Doubted,
	}
	if r.State == ledger.StateRunning {
		r.Fence = version
	}
	for _, a := range s.Log {
		r.Log = append(r.Log, ledger.Attempt{Fence: a.Fence, Owner: ledger.Owner(a.Owner), Started: a.Started, Ended: a.Ended, Outcome: a.Outcome})
	}
	return r, nil
}

// Cut cuts the times of r to what Encode keeps of them, so that r is what
// Decode will return. It changes nothing that r shares.
func Cut(r *ledger.Record) {
	r.Created, r.Started, r.Finished, r.Succeeded = clock(r.Created), clock(r.Started), clock(r.Finished), clock(r.Succeeded)
	if r.Settled != nil {
		settled := *r.Settled
		settled.At = clock(settled.At)
		r.Settled = &settled
	}
	if len(r.Log) == 0 {
		r.Log = nil
		return
	}
	log := make([]ledger.Attempt, len(r.Log))
	for i, a := range r.Log {
		a.Started, a.Ended = clock(a.Started), clock(a.Ended)
		log[i] = a
	}
	r.Log = log
}

func clock(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Microsecond)
}
