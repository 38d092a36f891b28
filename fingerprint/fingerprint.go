package fingerprint

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"
)

// Version numbers the rules. Every hashed document holds it.
const Version = 1

const (
	defaultMaxBytes = 1 << 20
	maxDepth        = 100 // levels of arrays and objects
)

// A Hasher computes the fingerprints of one tool. It is safe for concurrent use.
type Hasher struct {
	root     *node // nil without path rules
	maxBytes int
	plans    planCache
	sums     sync.Pool // of *summer
	encoders sync.Pool // of *encoder
	texts    sync.Pool // of *textReader
}

// New returns a Hasher that applies rules. With an hmacKey, fingerprints and
// digests are HMACs: without the key, guessable arguments can not be guessed
// from them. A nil hmacKey means plain SHA-256. New returns an error if a path
// is malformed, MaxBytes is negative, or hmacKey is empty but not nil.
func New(rules Rules, hmacKey []byte) (*Hasher, error) {
	root, err := rules.compile()
	if err != nil {
		return nil, err
	}
	if rules.MaxBytes < 0 {
		return nil, fmt.Errorf("fingerprint: MaxBytes is %d; give a positive limit, or 0 for %d", rules.MaxBytes, defaultMaxBytes)
	}
	if hmacKey != nil && len(hmacKey) == 0 {
		return nil, errors.New("fingerprint: the HMAC key is empty; give a secret of 16 bytes or more, or nil for plain SHA-256")
	}
	h := &Hasher{root: root, maxBytes: rules.MaxBytes}
	if h.maxBytes == 0 {
		h.maxBytes = defaultMaxBytes
	}
	key := append([]byte(nil), hmacKey...)
	h.sums.New = func() any { return newSummer(key) }
	h.encoders.New = func() any { return &encoder{hasher: h} }
	h.texts.New = newTextReader
	return h, nil
}

// Canon appends the canonical JSON of args, without ignored fields, to dst.
// The key is the value of the field tagged `ledger:"key"`, and "" if there is
// none or it is empty: a zero value is empty, a pointer to zero is not.
//
// Canon returns an [*Error] if an argument has no stable form or the whole is
// larger than Rules.MaxBytes; canon is then dst unchanged, and the key is valid
// nevertheless, unless the error is about the key or a tag. A top-level
// json.RawMessage is JSON text, a top-level []byte is data, and nil is null.
//
// With room in dst, a call for a struct of plain fields allocates nothing.
func (h *Hasher) Canon(dst []byte, args any) (canon []byte, key string, err error) {
	e := h.encoders.Get().(*encoder)
	canon, key, fault := e.run(dst, args, false)
	h.encoders.Put(e)
	if fault != nil {
		return canon, key, fault
	}
	return canon, key, nil
}

// Stored appends what a record may keep of args to dst: canonical JSON in which
// numbers keep their exact value, ignored fields are present, and redacted
// fields read "[redacted]" whatever their type. An ignored field that has no
// JSON form, or is too large, is left out.
//
// Stored returns an [*Error], and dst unchanged, where Canon would, or if the
// whole, with redacted fields replaced, is larger than Rules.MaxBytes.
func (h *Hasher) Stored(dst []byte, args any) ([]byte, error) {
	e := h.encoders.Get().(*encoder)
	stored, _, fault := e.run(dst, args, true)
	h.encoders.Put(e)
	if fault != nil {
		return stored, fault
	}
	return stored, nil
}

// run encodes args into dst. The encoder is as good as new afterwards.
func (e *encoder) run(dst []byte, args any, stored bool) (out []byte, key string, fault *Error) {
	start := len(dst)
	e.out, e.stored, e.exact = dst, stored, stored
	e.limit = start + e.hasher.maxBytes
	key, fault = e.top(args)
	out = e.out
	if fault == nil && len(out) > e.limit {
		fault = e.tooLarge()
	}
	if fault != nil {
		fault.Path = "args" + fault.Path
		out = out[:start]
	}
	e.reset()
	return out, key, fault
}

// top encodes the whole of the arguments.
func (e *encoder) top(args any) (key string, fault *Error) {
	n := e.hasher.root
	switch args.(type) {
	case nil, string, bool, int, float64, json.Number, json.RawMessage, time.Time, map[string]any, []any:
		return "", e.dynamic(args, n)
	}
	v := reflect.ValueOf(args)
	// A pointer to an interface is transparent: the key of what it holds counts.
	for range maxDepth {
		if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Interface || v.Elem().IsNil() {
			break
		}
		v = v.Elem().Elem()
	}
	entry := e.hasher.plans.get(v.Type(), n)
	if entry.topFault != nil {
		return "", entry.topFault.copy()
	}
	key, fault = keyOf(entry.plan, v)
	if fault != nil {
		return "", fault
	}
	return key, e.value(entry.plan, v)
}
