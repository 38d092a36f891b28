// Package fingerprint tells whether two calls of a tool are the same call.
//
// It turns a call's arguments into one canonical JSON text and hashes it,
// together with the tool's name and the workflow. Equal fingerprints mean
// equal calls, in every process, on every platform, in every release:
//
//	hasher, err := fingerprint.New(fingerprint.Rules{Ignore: []string{"sent_at"}}, nil)
//	canon, key, err := hasher.Canon(nil, args)
//	sum := hasher.Sum("order-42", "charge_card", key, canon)
//
// # What it promises
//
// A fingerprint computed once stays valid. The rules below are version 1, and
// testdata/vectors.json freezes them; another rule would be another [Version].
// What has no stable form is refused with an [*Error] that names the argument.
// It is never hashed by its printed address.
//
// # What it does not promise
//
// It compares spelling, not meaning: "a@x.org" and "A@x.org" differ, and so do
// the composed and the decomposed form of one accented letter, because neither
// JSON nor this package applies Unicode normalisation. A field that is absent
// and one that is null differ, as do JSON text and a Go type with more fields
// than the text names. A JSON string that looks like a time or a number is a
// string. Without an HMAC key a fingerprint does not hide its arguments: who
// can guess them can check the guess.
//
// # The rules, version 1
//
// Everything is one JSON document, never a concatenation: arguments are hashed
// as {"args":…,"tool":…,"v":1,"workflow":…}, a call with a key as
// {"key":…,"tool":…,"v":1,"workflow":…}. The fingerprint is the first 128 bits
// of its SHA-256, or of its HMAC-SHA256 where there is an HMAC key.
//
// Text. Objects have their keys sorted by UTF-16 code units and strings are
// escaped no more than they must be; there is no white space (RFC 8785 sections
// 3.2.1 to 3.2.3). Duplicate keys, invalid UTF-8 and lone surrogates are refused,
// in JSON text, in Go strings and in map keys alike.
//
// Integers. A number whose value is integral is exact and written in plain
// digits, at most 1,000 of them, however it was spelt: 100, 100.0 and 1e2 agree.
// Minus zero is 0. A Go float is its shortest decimal, as in encoding/json: the
// float64 nearest to 9007199254740993 is another number than that integer.
//
// Other numbers absorb the drift of float arithmetic. They are rounded, as
// decimal digits, half away from zero: to 8 decimals from 1 upwards but to at
// most 15 significant digits, and below 1 to 9 significant digits. So 0.1+0.2
// is 0.3, while 3e-9 and 4e-9 differ. Two numbers on either side of a rounding
// boundary still differ, however close they are; an amount that matters is
// better an integer of cents. Exact fields are not rounded. From 1e-6 upwards the
// number is written in plain decimals, below that as 1.5e-7 (as in RFC 8785).
// NaN, infinities, what float64 would read as zero or infinity, and more than
// 1,000 significant digits are refused.
//
// Go values are what encoding/json (version 1) makes of them: its struct tags,
// embedding, omission, base64 for []byte, marshalers, pointers by value. A
// struct agrees with the map and the JSON text that it marshals to. Unexported
// fields do not count; a struct that has no other ones is refused, because all
// its values would look the same. There are four more differences. A [time.Time], and a pointer to one, is put in UTC first. Text that
// encoding/json would mend (invalid UTF-8) is refused. An empty
// [encoding/json.RawMessage] is null. Containers that contain themselves, or
// nest deeper than 100 levels, are refused.
//
// # Struct tags and rules
//
// A field tagged `ledger:"ignore"` does not count, one tagged `ledger:"exact"`
// is not rounded, and one tagged `ledger:"redact"` counts but is not stored;
// each covers everything below its field. The field tagged `ledger:"key"`, at
// most one and only at the top level, is the call's key. Words combine with
// commas: `ledger:"key,redact"`. [Rules] says the same by path, for arguments
// that are not structs. A type with a MarshalJSON or MarshalText method of its
// own, or one promoted from an embedded field, is opaque: tags inside it are
// not seen, though paths still reach into the JSON it produces.
package fingerprint
