package fingerprint

import (
	"bytes"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Diff names the paths, at most max of them, at which two canonical arguments
// differ: "sent_at", "items[2].id". Lists of different lengths differ as a
// whole. Arguments that share no object or list, and text that is no JSON,
// differ at "args". Diff returns nil if a and b are equal or max is not positive.
func Diff(a, b []byte, max int) []string {
	d := differ{max: max}
	d.values("", a, b)
	return d.paths
}

type differ struct {
	max   int
	paths []string
}

func (d *differ) add(path string) {
	if path == "" {
		path = "args"
	}
	if len(d.paths) < d.max {
		d.paths = append(d.paths, path)
	}
}

func (d *differ) values(path string, a, b []byte) {
	if bytes.Equal(a, b) || len(d.paths) >= d.max {
		return
	}
	before := len(d.paths)
	ma, mb := members(a), members(b)
	switch {
	case len(a) == 0 || len(b) == 0 || a[0] != b[0] || ma == nil || mb == nil:
	case a[0] == '{':
		d.objects(path, ma, mb)
	case len(ma) == len(mb):
		for i := range ma {
			d.values(path+"["+strconv.Itoa(i)+"]", ma[i].value, mb[i].value)
		}
	}
	if len(d.paths) == before {
		d.add(path)
	}
}

// objects joins two sorted lists of members.
func (d *differ) objects(path string, a, b []part) {
	if path != "" {
		path += "."
	}
	for (len(a) > 0 || len(b) > 0) && len(d.paths) < d.max {
		order := 0
		switch {
		case len(a) == 0:
			order = 1
		case len(b) == 0:
			order = -1
		default:
			order = compareNames(a[0].name, b[0].name)
		}
		switch {
		case order < 0:
			d.add(path + segment(a[0].name))
			a = a[1:]
		case order > 0:
			d.add(path + segment(b[0].name))
			b = b[1:]
		default:
			d.values(path+segment(a[0].name), a[0].value, b[0].value)
			a, b = a[1:], b[1:]
		}
	}
}

// A part is an element of an array, or a member of an object.
type part struct {
	name  string
	value []byte
}

// members returns the parts of an object or array. It returns nil for anything
// else, and for text that is not JSON.
func members(text []byte) []part {
	if len(text) == 0 || text[0] != '{' && text[0] != '[' {
		return nil
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(text), textOptions...)
	if _, err := dec.ReadToken(); err != nil {
		return nil
	}
	parts := []part{}
	for {
		switch dec.PeekKind() {
		case '}', ']':
			if _, err := dec.ReadToken(); err != nil {
				return nil
			}
			if _, err := dec.ReadToken(); err != io.EOF {
				return nil
			}
			return parts
		}
		var p part
		if text[0] == '{' {
			name, err := dec.ReadToken()
			if err != nil {
				return nil
			}
			p.name = name.String()
		}
		value, err := dec.ReadValue()
		if err != nil {
			return nil
		}
		end := dec.InputOffset() // the decoder's own slice does not outlive its next step
		p.value = text[end-int64(len(value)) : end]
		parts = append(parts, p)
	}
}
