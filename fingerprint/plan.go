package fingerprint

import (
	"encoding"
	"encoding/json"
	"reflect"
	"sync"
	"sync/atomic"
	"time"
)

// A plan is how to encode one Go type at one place of the rules' paths. It
// decides once per type what encoding/json would do with it.
type plan struct {
	op   op
	node *node        // the rules below here
	typ  reflect.Type // what the plan is for
	elem *plan        // of pointers, arrays, slices, maps; what opQuoted quotes
	addr *plan        // of opAddressable: where the value can be addressed
	refs bool         // opSlice: elements may lead back to the slice

	fields []field // opStruct, in canonical order
	opaque bool    // opStruct: no field is exported
	key    *keyField
	fault  *Error // a mistake in a struct tag
}

type op uint8

const (
	opRefused op = iota // channels, funcs, complex numbers, unsafe pointers
	opBool
	opInt
	opUint
	opFloat32
	opFloat64
	opString
	opNumber // json.Number
	opTime
	opRaw   // json.RawMessage
	opBytes // base64
	opInterface
	opPointer
	opSlice
	opArray
	opMap
	opMapAny // map[string]any
	opStruct
	opMarshaler     // MarshalJSON of the value
	opAddrMarshaler // MarshalJSON of its address
	opTexter        // MarshalText of the value
	opAddrTexter    // MarshalText of its address
	opAddressable   // addr if the value can be addressed, else elem
	opQuoted        // the ",string" option
)

var (
	timeType      = reflect.TypeFor[time.Time]()
	rawType       = reflect.TypeFor[json.RawMessage]()
	numberType    = reflect.TypeFor[json.Number]()
	mapAnyType    = reflect.TypeFor[map[string]any]()
	marshalerType = reflect.TypeFor[json.Marshaler]()
	texterType    = reflect.TypeFor[encoding.TextMarshaler]()
)

// A planKey tells plans apart: rules and options change how a type is encoded.
type planKey struct {
	typ    reflect.Type
	node   *node
	addr   bool // its address may be taken, where the value allows it
	quoted bool // the ",string" option is on
}

// A builder builds the plan of one type and of all that it leads to.
type builder map[planKey]*plan

func (b builder) plan(t reflect.Type, n *node, addr, quoted bool) *plan {
	key := planKey{t, n, addr, quoted}
	if p := b[key]; p != nil {
		return p // maybe unfinished: types may be recursive
	}
	p := &plan{node: n, typ: t}
	b[key] = p
	b.fill(p, t, key)
	return p
}

// fill follows newTypeEncoder of encoding/json step by step, with time.Time and
// json.RawMessage, and pointers to them, taken out first.
func (b builder) fill(p *plan, t reflect.Type, key planKey) {
	pointer := t.Kind() == reflect.Pointer
	switch {
	case t == timeType:
		p.op = opTime
		return
	case t == rawType:
		p.op = opRaw
		return
	case pointer && (t.Elem() == timeType || t.Elem() == rawType):
		p.op = opPointer
		p.elem = b.plan(t.Elem(), key.node, true, false)
		return
	case !pointer && key.addr && reflect.PointerTo(t).Implements(marshalerType):
		p.op = opAddressable
		p.addr = &plan{op: opAddrMarshaler, node: key.node, typ: t}
		p.elem = b.plan(t, key.node, false, key.quoted)
		return
	case t.Implements(marshalerType):
		p.op = opMarshaler
		return
	case !pointer && key.addr && reflect.PointerTo(t).Implements(texterType):
		p.op = opAddressable
		p.addr = &plan{op: opAddrTexter, node: key.node, typ: t}
		p.elem = b.plan(t, key.node, false, key.quoted)
		return
	case t.Implements(texterType):
		p.op = opTexter
		return
	}
	if key.quoted && !pointer {
		p.op = opQuoted
		p.elem = b.plan(t, key.node, key.addr, false)
		return
	}
	b.fillKind(p, t, key)
}

func (b builder) fillKind(p *plan, t reflect.Type, key planKey) {
	switch t.Kind() {
	case reflect.Bool:
		p.op = opBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		p.op = opInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		p.op = opUint
	case reflect.Float32:
		p.op = opFloat32
	case reflect.Float64:
		p.op = opFloat64
	case reflect.String:
		p.op = opString
		if t == numberType {
			p.op = opNumber
		}
	case reflect.Interface:
		p.op = opInterface
	case reflect.Pointer:
		p.op = opPointer
		p.elem = b.plan(t.Elem(), key.node, true, key.quoted)
	case reflect.Array:
		p.op = opArray
		p.elem = b.plan(t.Elem(), key.node, true, false)
	case reflect.Slice:
		if isBytes(t) {
			p.op = opBytes
			return
		}
		p.op = opSlice
		p.elem = b.plan(t.Elem(), key.node, true, false)
		switch t.Elem().Kind() {
		case reflect.Interface, reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map, reflect.Struct:
			p.refs = true
		}
	case reflect.Map:
		b.fillMap(p, t, key)
	case reflect.Struct:
		b.fillStruct(p, t, key)
	}
}

// isBytes reports whether encoding/json writes a slice type as base64.
func isBytes(t reflect.Type) bool {
	p := reflect.PointerTo(t.Elem())
	return t.Elem().Kind() == reflect.Uint8 && !p.Implements(marshalerType) && !p.Implements(texterType)
}

func (b builder) fillMap(p *plan, t reflect.Type, key planKey) {
	switch t.Key().Kind() {
	case reflect.String,
		reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
	default:
		if !t.Key().Implements(texterType) {
			return
		}
	}
	if t == mapAnyType {
		p.op = opMapAny
		return
	}
	// The plan for elements that no rule reaches; others are looked up by key.
	p.op = opMap
	p.elem = b.plan(t.Elem(), nil, true, false)
}

// An entry is a plan that encoding starts from: the arguments' type, or one met
// inside an interface, where a key tag is out of place.
type entry struct {
	plan                  *plan
	topFault, nestedFault *Error
}

// maxPlans bounds the cache. A program has few argument types; one that makes
// types at run time pays for a plan per call beyond the bound.
const maxPlans = 1000

// A planCache is read without a lock, and copied for each new type.
type planCache struct {
	mu    sync.Mutex
	plans atomic.Pointer[map[entryKey]*entry]
}

type entryKey struct {
	typ  reflect.Type
	node *node
}

func (c *planCache) get(t reflect.Type, n *node) *entry {
	key := entryKey{t, n}
	if plans := c.plans.Load(); plans != nil {
		if e := (*plans)[key]; e != nil {
			return e
		}
	}
	return c.add(key)
}

func (c *planCache) add(key entryKey) *entry {
	p := make(builder).plan(key.typ, key.node, true, false)
	e := &entry{
		plan:        p,
		topFault:    make(auditor).audit(p, true),
		nestedFault: make(auditor).audit(p, false),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	plans := make(map[entryKey]*entry)
	if old := c.plans.Load(); old != nil {
		if len(*old) >= maxPlans {
			return e
		}
		for k, v := range *old {
			plans[k] = v
		}
	}
	plans[key] = e
	c.plans.Store(&plans)
	return e
}
