package fingerprint_test

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/ledger-once/ledger/fingerprint"
)

type Charge struct {
	Customer string    `json:"customer"`
	Amount   float64   `json:"amount"`
	SentAt   time.Time `json:"sent_at" ledger:"ignore"`
	Card     string    `json:"card" ledger:"redact"`
}

// One call, three spellings.
func ExampleHasher_Canon() {
	hasher, err := fingerprint.New(fingerprint.Rules{Ignore: []string{"sent_at"}}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, args := range []any{
		Charge{Customer: "cus_1", Amount: 0.1 + 0.2, SentAt: time.Now(), Card: "4242"},
		map[string]any{"card": "4242", "amount": 0.3, "customer": "cus_1"},
		json.RawMessage(`{"amount": 3.0e-1, "customer": "cus\u005f1", "card": "4242", "sent_at": 17}`),
	} {
		canon, key, err := hasher.Canon(nil, args)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(hasher.Sum("order-42", "charge_card", key, canon), string(canon))
	}
	// Output:
	// b34904693f943fa2c0a0cf5f4d9faabe {"amount":0.3,"card":"4242","customer":"cus_1"}
	// b34904693f943fa2c0a0cf5f4d9faabe {"amount":0.3,"card":"4242","customer":"cus_1"}
	// b34904693f943fa2c0a0cf5f4d9faabe {"amount":0.3,"card":"4242","customer":"cus_1"}
}

func ExampleHasher_Stored() {
	hasher, err := fingerprint.New(fingerprint.Rules{}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	stored, err := hasher.Stored(nil, Charge{Customer: "cus_1", Amount: 1.000000000001, Card: "4242"})
	fmt.Println(string(stored), err)
	// Output:
	// {"amount":1.000000000001,"card":"[redacted]","customer":"cus_1","sent_at":"0001-01-01T00:00:00Z"} <nil>
}

func ExampleError() {
	hasher, err := fingerprint.New(fingerprint.Rules{}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _, err = hasher.Canon(nil, map[string]any{"customer": map[string]any{"callback": func() {}}})
	fmt.Println(err)
	// Output:
	// fingerprint: args.customer.callback is a func(), which has no stable form; leave it out (tag the field `ledger:"ignore"`, or name its path in Ignore) or give the call a key
}

func ExampleDiff() {
	a := []byte(`{"items":[{"id":1}],"sent_at":"10:00"}`)
	b := []byte(`{"items":[{"id":2}],"sent_at":"10:01"}`)
	fmt.Println(fingerprint.Diff(a, b, 5))
	// Output:
	// [items[0].id sent_at]
}
