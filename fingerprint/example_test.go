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

func ExampleNew() {
	_, err := fingerprint.New(fingerprint.Rules{Ignore: []string{"items..sent_at"}}, nil)
	fmt.Println(err)
	plain, _ := fingerprint.New(fingerprint.Rules{}, nil)
	keyed, _ := fingerprint.New(fingerprint.Rules{}, []byte("a secret of 32 bytes, or so"))
	guess := []byte(`{"pin":1234}`) // without the secret nobody can try all PINs
	fmt.Println(plain.Sum("order-42", "unlock", "", guess) == keyed.Sum("order-42", "unlock", "", guess))
	// Output:
	// fingerprint: Ignore path "items..sent_at": it has an empty name; write names separated by single dots
	// false
}

// With a key, the arguments do not count.
func ExampleHasher_Sum() {
	hasher, _ := fingerprint.New(fingerprint.Rules{}, nil)
	fmt.Println(hasher.Sum("order-42", "send_mail", "welcome", []byte(`{"to":"ann"}`)))
	fmt.Println(hasher.Sum("order-42", "send_mail", "welcome", []byte(`{"to":"bob"}`)))
	// Output:
	// f73a45c0b00abafca7e08f0a28b636f6
	// f73a45c0b00abafca7e08f0a28b636f6
}

// The digest tells that a key came back with other arguments.
func ExampleHasher_Digest() {
	hasher, _ := fingerprint.New(fingerprint.Rules{}, nil)
	fmt.Println(hasher.Digest([]byte(`{"to":"ann"}`)) == hasher.Digest([]byte(`{"to":"bob"}`)))
	// Output: false
}

func ExampleParseSum() {
	sum, err := fingerprint.ParseSum("b34904693f943fa2c0a0cf5f4d9faabe")
	fmt.Println(sum, err)
	_, err = fingerprint.ParseSum("B34904693F943FA2C0A0CF5F4D9FAABE")
	fmt.Println(err)
	// Output:
	// b34904693f943fa2c0a0cf5f4d9faabe <nil>
	// fingerprint: a sum is 32 lower-case hexadecimal digits
}
