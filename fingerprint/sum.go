package fingerprint

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
)

// A Sum is a fingerprint or digest: the first 128 bits of a SHA-256 or HMAC-SHA256.
type Sum [16]byte

// String returns the sum as 32 lower-case hexadecimal digits.
func (s Sum) String() string { return hex.EncodeToString(s[:]) }

// ParseSum reads what String writes. It returns an error for anything else,
// upper-case digits too, so that a sum has one spelling.
func ParseSum(text string) (Sum, error) {
	var s Sum
	if len(text) != hex.EncodedLen(len(s)) || strings.ToLower(text) != text {
		return Sum{}, fmt.Errorf("fingerprint: a sum is %d lower-case hexadecimal digits", hex.EncodedLen(len(s)))
	}
	if _, err := hex.Decode(s[:], []byte(text)); err != nil {
		return Sum{}, fmt.Errorf("fingerprint: a sum is %d lower-case hexadecimal digits", hex.EncodedLen(len(s)))
	}
	return s, nil
}

// Sum returns the fingerprint of a call: of workflow, tool and key, or, if key
// is empty, of workflow, tool and the canonical arguments, which are what Canon
// returned. Sum does not check them.
func (h *Hasher) Sum(workflow, tool, key string, canon []byte) Sum {
	s := h.sums.Get().(*summer)
	defer h.sums.Put(s)
	if key != "" {
		s.buf = appendName(append(s.buf[:0], `{"key":`...), key)
	} else {
		s.start(canon)
	}
	s.buf = appendName(append(s.buf, `,"tool":`...), tool)
	s.buf = appendName(append(s.buf, `,"v":1,"workflow":`...), workflow)
	return s.finish()
}

// Digest returns the sum of canonical arguments alone, to tell whether a key
// came back with other arguments. It never equals a fingerprint: the hashed
// document, {"args":…,"v":1}, is another one.
func (h *Hasher) Digest(canon []byte) Sum {
	s := h.sums.Get().(*summer)
	defer h.sums.Put(s)
	s.start(canon)
	s.buf = append(s.buf, `,"v":1`...)
	return s.finish()
}

// A summer hashes one document at a time. It is pooled with its buffer, because
// what is handed to a hash.Hash escapes to the heap.
type summer struct {
	hash hash.Hash
	buf  []byte
}

func newSummer(hmacKey []byte) *summer {
	if len(hmacKey) == 0 {
		return &summer{hash: sha256.New()}
	}
	return &summer{hash: hmac.New(sha256.New, hmacKey)}
}

// start begins a document with the arguments. Large ones are hashed where they
// are, rather than copied.
func (s *summer) start(canon []byte) {
	s.buf = append(s.buf[:0], `{"args":`...)
	if len(canon) <= 1024 {
		s.buf = append(s.buf, canon...)
		return
	}
	s.hash.Write(s.buf)
	s.hash.Write(canon)
	s.buf = s.buf[:0]
}

func (s *summer) finish() (sum Sum) {
	s.buf = append(s.buf, '}')
	s.hash.Write(s.buf)
	s.buf = s.hash.Sum(s.buf[:0])
	copy(sum[:], s.buf)
	s.hash.Reset()
	return sum
}

// appendName appends a workflow, tool or key. Sum can not fail, so one that is
// not valid UTF-8 becomes an array, which no valid one can equal.
func appendName(dst []byte, name string) []byte {
	start := len(dst)
	dst, valid := appendString(dst, name)
	if valid {
		return dst
	}
	dst = append(dst[:start], `["`...)
	dst = base64.StdEncoding.AppendEncode(dst, []byte(name))
	return append(dst, `"]`...)
}
