package fingerprint

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"strings"
	"testing"
)

var fill = flag.Bool("fill", false, "add sums to the vectors that have none; those that have one never change")

const vectorsFile = "testdata/vectors.json"

// The vectors freeze the rules. A sum in the file stays valid forever; a change
// that breaks one needs another Version.
type vectorFile struct {
	About   string   `json:"about"`
	Version int      `json:"version"`
	Vectors []vector `json:"vectors"`
	Refused []vector `json:"refused"`
}

type vector struct {
	Name     string       `json:"name"`
	Rule     int          `json:"rule"` // of section "The rules", as design numbers them
	Rules    *vectorRules `json:"rules,omitempty"`
	HMAC     string       `json:"hmac,omitempty"`
	Workflow *string      `json:"workflow,omitempty"`
	Tool     *string      `json:"tool,omitempty"`
	Key      string       `json:"key,omitempty"`
	TagKey   bool         `json:"tag_key,omitempty"`  // the key comes from the arguments
	SameKey  bool         `json:"same_key,omitempty"` // args differ, and only the key counts

	Args []string `json:"args,omitempty"` // JSON texts
	Hex  []string `json:"hex,omitempty"`  // JSON texts that JSON can not hold
	Go   []string `json:"go,omitempty"`   // names of goValues

	Not    []string `json:"not,omitempty"` // vectors whose sum must be another
	Canon  string   `json:"canon,omitempty"`
	Sum    string   `json:"sum,omitempty"`
	Digest string   `json:"digest,omitempty"`

	Path   string `json:"path,omitempty"`
	Reason string `json:"reason,omitempty"`
}

type vectorRules struct {
	Ignore   []string `json:"ignore,omitempty"`
	Redact   []string `json:"redact,omitempty"`
	Exact    []string `json:"exact,omitempty"`
	MaxBytes int      `json:"max_bytes,omitempty"`
}

func (v *vector) hasher(t *testing.T) *Hasher {
	t.Helper()
	var rules Rules
	if v.Rules != nil {
		rules = Rules(*v.Rules)
	}
	var key []byte
	if v.HMAC != "" {
		key = []byte(v.HMAC)
	}
	h, err := New(rules, key)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// inputs returns every spelling of the vector's arguments.
func (v *vector) inputs(t *testing.T) map[string]any {
	t.Helper()
	in := make(map[string]any)
	for _, text := range v.Args {
		in["text "+text] = json.RawMessage(text)
	}
	for _, digits := range v.Hex {
		text, err := hex.DecodeString(digits)
		if err != nil {
			t.Fatal(err)
		}
		in["hex "+digits] = json.RawMessage(text)
	}
	for _, name := range v.Go {
		value, ok := goValues()[name]
		if !ok {
			t.Fatalf("no Go value is named %q", name)
		}
		in["go "+name] = value
	}
	if len(in) == 0 {
		t.Fatal("the vector has no arguments")
	}
	return in
}

func or(s *string, otherwise string) string {
	if s == nil {
		return otherwise
	}
	return *s
}

func readVectors(t *testing.T) vectorFile {
	t.Helper()
	text, err := os.ReadFile(vectorsFile)
	if err != nil {
		t.Fatal(err)
	}
	var file vectorFile
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&file); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestVectors(t *testing.T) {
	file := readVectors(t)
	if file.Version != Version {
		t.Fatalf("vectors are of version %d, the rules of version %d", file.Version, Version)
	}
	if got := len(file.Vectors) + len(file.Refused); got < 80 {
		t.Errorf("only %d vectors", got)
	}
	byName := make(map[string]*vector)
	bySum := make(map[string]string)
	filled := false
	for i := range file.Vectors {
		v := &file.Vectors[i]
		t.Run(v.Name, func(t *testing.T) {
			if v.Sum == "" && *fill {
				v.compute(t)
				filled = true
			}
			v.check(t)
			if byName[v.Name] != nil {
				t.Error("another vector has this name")
			}
			byName[v.Name] = v
			for _, other := range v.Not {
				if o := byName[other]; o == nil || o.Sum == v.Sum || o.Digest == v.Digest && o.Canon != v.Canon {
					t.Errorf("does not differ from %q, or that one does not come before", other)
				}
			}
			if other, ok := bySum[v.Sum]; ok {
				t.Errorf("has the sum of %q", other)
			}
			bySum[v.Sum] = v.Name
		})
	}
	if filled && !t.Failed() {
		var out bytes.Buffer
		enc := json.NewEncoder(&out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", " ")
		if err := enc.Encode(file); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(vectorsFile, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func (v *vector) compute(t *testing.T) {
	h := v.hasher(t)
	for _, args := range v.inputs(t) {
		canon, _, err := h.Canon(nil, args)
		if err != nil {
			t.Fatal(err)
		}
		v.Sum = h.Sum(or(v.Workflow, "order-42"), or(v.Tool, "charge_card"), v.Key, canon).String()
		if !v.SameKey {
			v.Digest = h.Digest(canon).String()
		}
	}
}

func (v *vector) check(t *testing.T) {
	h := v.hasher(t)
	for name, args := range v.inputs(t) {
		canon, key, err := h.Canon(nil, args)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !v.SameKey && string(canon) != v.Canon {
			t.Errorf("%s: canonical text\n got %s\nwant %s", name, canon, v.Canon)
		}
		if !v.TagKey {
			key = v.Key
		}
		if key != v.Key {
			t.Errorf("%s: key %q, want %q", name, key, v.Key)
		}
		if got := h.Sum(or(v.Workflow, "order-42"), or(v.Tool, "charge_card"), key, canon).String(); got != v.Sum {
			t.Errorf("%s: sum %s, want %s", name, got, v.Sum)
		}
		if got := h.Digest(canon).String(); !v.SameKey && got != v.Digest {
			t.Errorf("%s: digest %s, want %s", name, got, v.Digest)
		}
	}
}

func TestVectorsRefused(t *testing.T) {
	for _, v := range readVectors(t).Refused {
		t.Run(v.Name, func(t *testing.T) {
			h := v.hasher(t)
			for name, args := range v.inputs(t) {
				dst := []byte("before")
				canon, _, err := h.Canon(dst, args)
				var fault *Error
				if !errors.As(err, &fault) {
					t.Errorf("%s: not refused: %s", name, canon)
					continue
				}
				if string(canon) != "before" {
					t.Errorf("%s: dst became %q", name, canon)
				}
				if v.Path != "" && fault.Path != v.Path {
					t.Errorf("%s: path %q, want %q", name, fault.Path, v.Path)
				}
				if !strings.HasPrefix(fault.Path, "args") || !strings.Contains(fault.Reason, v.Reason) {
					t.Errorf("%s: %v; want a reason with %q", name, err, v.Reason)
				}
			}
		})
	}
}
