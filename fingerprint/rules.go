package fingerprint

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Rules are those of one tool. The zero value has none.
//
// A field path is the dotted JSON names from the top: "customer.email". Arrays
// are transparent: "items.sent_at" reaches into each element of items. A
// backslash before a dot, a bracket or a backslash makes it part of the name:
// `example\.com`. A path that names nothing is no error, since arguments may be
// optional. A path covers everything below it.
type Rules struct {
	Ignore []string // left out of the fingerprint
	Redact []string // part of the fingerprint, but stored as "[redacted]"
	Exact  []string // numbers that are not rounded

	MaxBytes int // of canonical arguments. Defaults to 1 MiB.
}

// A node is one step of the rules' paths. A nil node has no rules below it.
type node struct {
	children              map[string]*node
	ignore, redact, exact bool
}

func (n *node) child(name string) *node {
	if n == nil {
		return nil
	}
	return n.children[name]
}

func (n *node) ignored() bool  { return n != nil && n.ignore }
func (n *node) redacted() bool { return n != nil && n.redact }
func (n *node) isExact() bool  { return n != nil && n.exact }

func (r Rules) compile() (*node, error) {
	root := &node{}
	for _, list := range []struct {
		field string
		paths []string
		mark  func(*node)
	}{
		{"Ignore", r.Ignore, func(n *node) { n.ignore = true }},
		{"Redact", r.Redact, func(n *node) { n.redact = true }},
		{"Exact", r.Exact, func(n *node) { n.exact = true }},
	} {
		for _, path := range list.paths {
			names, err := splitPath(path)
			if err != nil {
				return nil, fmt.Errorf("fingerprint: %s path %q: %w", list.field, path, err)
			}
			n := root
			for _, name := range names {
				next := n.children[name]
				if next == nil {
					if n.children == nil {
						n.children = make(map[string]*node)
					}
					next = &node{}
					n.children[name] = next
				}
				n = next
			}
			list.mark(n)
		}
	}
	if root.children == nil {
		return nil, nil
	}
	return root, nil
}

// splitPath returns the names of a path.
func splitPath(path string) ([]string, error) {
	if path == "" {
		return nil, fmt.Errorf("it is empty; name a field")
	}
	if !utf8.ValidString(path) {
		return nil, fmt.Errorf("it is not valid UTF-8")
	}
	var names []string
	var name strings.Builder
	end := func() error {
		if name.Len() == 0 {
			return fmt.Errorf("it has an empty name; write names separated by single dots")
		}
		names = append(names, name.String())
		name.Reset()
		return nil
	}
	for i := 0; i < len(path); i++ {
		switch c := path[i]; c {
		case '.':
			if err := end(); err != nil {
				return nil, err
			}
		case '\\':
			i++
			if i == len(path) || !strings.ContainsRune(`.[\`, rune(path[i])) {
				return nil, fmt.Errorf(`a backslash escapes a dot, a bracket or a backslash; write \\ for a backslash`)
			}
			name.WriteByte(path[i])
		case '[':
			if index := arrayIndex.FindString(path[i:]); index != "" {
				return nil, fmt.Errorf(`arrays are transparent; leave out %s, or write \[ if the name has a bracket`, index)
			}
			name.WriteByte(c)
		default:
			name.WriteByte(c)
		}
	}
	if err := end(); err != nil {
		return nil, err
	}
	return names, nil
}

// arrayIndex is what people write for "each element".
var arrayIndex = regexp.MustCompile(`^\[(\d*|\*)\]`)
