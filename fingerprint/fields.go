package fingerprint

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
	"unicode"
)

// A field is one member that a struct marshals to.
type field struct {
	name   string
	label  string // `"name":`, escaped
	index  []int  // from the struct, through embedded ones
	plan   *plan
	tagged bool // named by its json tag

	omitEmpty             bool
	omitZero              func(reflect.Value) bool // nil: never
	ignore, redact, exact bool
	typ                   reflect.Type
	quoted                bool
}

// An embedding is a struct whose fields are promoted, and the tags of the
// embedded fields on the way to it, which cover what is below.
type embedding struct {
	typ   reflect.Type
	index []int
	tag   fieldTag
}

// fillStruct makes the plan of a struct type.
func (b builder) fillStruct(p *plan, t reflect.Type, key planKey) {
	p.op = opStruct
	fields := b.collect(p, t)
	p.fields = dominant(fields)
	p.opaque = len(p.fields) == 0 && hidesAll(t)
	slices.SortFunc(p.fields, func(a, b field) int { return compareNames(a.name, b.name) })
	for i := range p.fields {
		f := &p.fields[i]
		label, _ := appendString(nil, f.name)
		f.label = string(append(label, ':'))
		child := key.node.child(f.name)
		f.ignore = f.ignore || child.ignored()
		f.redact = f.redact || child.redacted()
		f.exact = f.exact || child.isExact()
		f.plan = b.plan(f.typ, child, true, f.quoted)
	}
}

// hidesAll reports whether t has fields, none of them exported: encoding/json
// writes {} for all its values, and a fingerprint would take them for the same.
func hidesAll(t reflect.Type) bool {
	hidden := false
	for i := range t.NumField() {
		f := t.Field(i)
		if f.IsExported() {
			return false
		}
		hidden = hidden || f.Name != "_"
	}
	return hidden
}

// collect finds the fields of t and of the structs it embeds, level by level, as
// typeFields of encoding/json does. Faults in ledger tags, and the key, go to p.
func (b builder) collect(p *plan, t reflect.Type) (fields []field) {
	next := []embedding{{typ: t}}
	var nextCount map[reflect.Type]int
	visited := make(map[reflect.Type]bool)
	for len(next) > 0 {
		current, count := next, nextCount
		next, nextCount = nil, make(map[reflect.Type]int)
		for _, em := range current {
			if visited[em.typ] {
				continue
			}
			visited[em.typ] = true
			for i := range em.typ.NumField() {
				sf := em.typ.Field(i)
				index := append(slices.Clone(em.index), i)
				tag := p.noteTag(sf, index, em.tag)

				json := sf.Tag.Get("json")
				if !marshals(sf) || json == "-" {
					continue
				}
				f := newField(sf, json, index, tag)
				ft := sf.Type
				if ft.Name() == "" && ft.Kind() == reflect.Pointer {
					ft = ft.Elem()
				}
				if sf.Anonymous && !f.tagged && ft.Kind() == reflect.Struct {
					if nextCount[ft]++; nextCount[ft] == 1 {
						next = append(next, embedding{ft, index, tag})
					}
					continue
				}
				fields = append(fields, f)
				if count[em.typ] > 1 {
					fields = append(fields, f) // embedded twice at this level: they annul each other
				}
			}
		}
	}
	return fields
}

// noteTag reads the ledger tag of a field, adds what the embedding says, and
// keeps the first fault, and the key, in p.
func (p *plan) noteTag(sf reflect.StructField, index []int, outer fieldTag) fieldTag {
	tag, fault := parseTag(sf)
	if fault == nil && tag.key {
		var key *keyField
		key, fault = newKeyField(sf, index)
		if fault == nil && p.key != nil {
			fault = tagFault(sf, "is a second key beside "+p.key.name, "tag one field as the key")
		}
		p.key = key
	}
	if p.fault == nil {
		p.fault = fault
	}
	return fieldTag{
		ignore: tag.ignore || outer.ignore,
		redact: tag.redact || outer.redact,
		exact:  tag.exact || outer.exact,
	}
}

// marshals reports whether encoding/json looks at a field at all.
func marshals(sf reflect.StructField) bool {
	if !sf.Anonymous {
		return sf.IsExported()
	}
	t := sf.Type
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	// An embedded unexported struct may have exported fields.
	return sf.IsExported() || t.Kind() == reflect.Struct
}

func newField(sf reflect.StructField, json string, index []int, tag fieldTag) field {
	name, options, _ := strings.Cut(json, ",")
	if !validName(name) {
		name = ""
	}
	f := field{
		name: name, tagged: name != "", index: index, typ: sf.Type,
		ignore: tag.ignore, redact: tag.redact, exact: tag.exact,
	}
	if !f.tagged {
		f.name = sf.Name
	}
	for option := range strings.SplitSeq(options, ",") {
		switch option {
		case "omitempty":
			f.omitEmpty = true
		case "omitzero":
			f.omitZero = zeroFunc(sf.Type)
		case "string":
			f.quoted = quotable(sf.Type)
		}
	}
	return f
}

// validName reports whether encoding/json takes a name from a tag.
func validName(name string) bool {
	for _, c := range name {
		if !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", c) && !unicode.IsLetter(c) && !unicode.IsDigit(c) {
			return false
		}
	}
	return name != ""
}

// quotable reports whether the ",string" option applies to t.
func quotable(t reflect.Type) bool {
	if t.Name() == "" && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Bool,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr,
		reflect.Float32, reflect.Float64, reflect.String:
		return true
	}
	return false
}

// dominant keeps, of the fields with one name, the shallowest, then the one named
// by a tag; where two are still equal, none.
func dominant(fields []field) []field {
	slices.SortStableFunc(fields, func(a, b field) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		if c := cmp.Compare(len(a.index), len(b.index)); c != 0 {
			return c
		}
		switch {
		case a.tagged && !b.tagged:
			return -1
		case b.tagged && !a.tagged:
			return 1
		}
		return 0
	})
	var out []field
	for len(fields) > 0 {
		n := 1
		for n < len(fields) && fields[n].name == fields[0].name {
			n++
		}
		first := fields[0]
		if n == 1 || len(first.index) != len(fields[1].index) || first.tagged != fields[1].tagged {
			out = append(out, first)
		}
		fields = fields[n:]
	}
	return out
}

// walk finds the field at index, unless a nil embedded pointer is on the way.
func walk(v reflect.Value, index []int) (reflect.Value, bool) {
	for i, x := range index {
		if i > 0 && v.Kind() == reflect.Pointer {
			if v.IsNil() {
				return v, false
			}
			v = v.Elem()
		}
		v = v.Field(x)
	}
	return v, true
}
