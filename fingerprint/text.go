package fingerprint

import (
	"bytes"
	"errors"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// A textReader is a pooled decoder with the buffer it reads from.
type textReader struct {
	buf bytes.Buffer
	dec *jsontext.Decoder
}

// Duplicate names are ours to find: close sees them in Go maps and in text alike,
// and names them by path.
var textOptions = []jsontext.Options{jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(false)}

func newTextReader() any {
	r := &textReader{}
	r.dec = jsontext.NewDecoder(&r.buf, textOptions...)
	return r
}

// text encodes JSON text. Empty text is null, as a nil json.RawMessage is.
func (e *encoder) text(raw []byte, n *node) *Error {
	if len(raw) == 0 {
		e.out = append(e.out, "null"...)
		return nil
	}
	r := e.hasher.texts.Get().(*textReader)
	r.buf = *bytes.NewBuffer(raw)
	r.dec.Reset(&r.buf, textOptions...)
	fault := e.textValue(r.dec, n)
	if fault == nil {
		if _, err := r.dec.ReadToken(); err != io.EOF {
			fault = notJSON(r.dec, err)
		}
	}
	// The pool must not hold on to the caller's arguments.
	r.buf = bytes.Buffer{}
	r.dec.Reset(&r.buf, textOptions...)
	e.hasher.texts.Put(r)
	return fault
}

func (e *encoder) textValue(dec *jsontext.Decoder, n *node) *Error {
	switch dec.PeekKind() {
	case '{':
		return e.textObject(dec, n)
	case '[':
		return e.textArray(dec, n)
	}
	raw, err := dec.ReadValue()
	if err != nil {
		return notJSON(dec, err)
	}
	switch raw.Kind() {
	case '"':
		return e.textString(raw)
	case '0':
		return e.number(raw)
	}
	e.out = append(e.out, raw...) // null, true, false
	return nil
}

// textString appends a string that the decoder has checked.
func (e *encoder) textString(raw []byte) *Error {
	if len(e.out)+len(raw)/6 > e.limit { // an escape is 6 bytes for at least one
		return e.tooLarge()
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		e.out = append(e.out, raw...)
		return nil
	}
	var err error
	if e.scratch, err = jsontext.AppendUnquote(e.scratch[:0], raw); err != nil {
		return refuse(badUTF8)
	}
	e.out, _ = jsontext.AppendQuote(e.out, e.scratch)
	return nil
}

func (e *encoder) textArray(dec *jsontext.Decoder, n *node) *Error {
	if _, err := dec.ReadToken(); err != nil {
		return notJSON(dec, err)
	}
	if fault := e.enter(); fault != nil {
		return fault
	}
	e.out = append(e.out, '[')
	for i := 0; dec.PeekKind() != ']'; i++ {
		if i > 0 {
			e.out = append(e.out, ',')
		}
		if fault := e.textValue(dec, n); fault != nil {
			return fault.at(i)
		}
		if len(e.out) > e.limit {
			return e.tooLarge()
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return notJSON(dec, err)
	}
	e.out = append(e.out, ']')
	e.depth--
	return nil
}

func (e *encoder) textObject(dec *jsontext.Decoder, n *node) *Error {
	if _, err := dec.ReadToken(); err != nil {
		return notJSON(dec, err)
	}
	if fault := e.enter(); fault != nil {
		return fault
	}
	e.out = append(e.out, '{')
	base, start := len(e.members), len(e.out)
	for dec.PeekKind() != '}' {
		raw, err := dec.ReadValue()
		if err != nil {
			return notJSON(dec, err)
		}
		m := member{start: len(e.out)}
		if fault := e.textString(raw); fault != nil {
			return fault
		}
		m.nameEnd = len(e.out)
		var child *node
		if n != nil {
			child = n.child(unquoted(e.out[m.start+1 : m.nameEnd-1]))
		}
		e.out = append(e.out, ':')
		keep, fault := e.textMember(dec, child)
		if fault != nil {
			return fault.in(unquoted(e.out[m.start+1 : m.nameEnd-1]))
		}
		e.out = append(e.out, ',')
		m.end, m.drop = len(e.out), !keep
		e.members = append(e.members, m)
		if len(e.out) > e.limit {
			return e.tooLarge()
		}
	}
	if _, err := dec.ReadToken(); err != nil {
		return notJSON(dec, err)
	}
	e.depth--
	return e.close(base, start)
}

// textMember encodes a member's value as its rules say, and reports whether the
// member stays.
func (e *encoder) textMember(dec *jsontext.Decoder, n *node) (keep bool, fault *Error) {
	skip := func() *Error {
		if err := dec.SkipValue(); err != nil {
			return notJSON(dec, err)
		}
		return nil
	}
	switch {
	case e.stored && n.redacted():
		e.out = append(e.out, redacted...)
		return true, skip()
	case e.stored && n.ignored():
		raw, err := dec.ReadValue()
		if err != nil {
			return false, notJSON(dec, err)
		}
		m := e.mark()
		return e.kept(m, e.text(raw, n)), nil
	case n.ignored():
		return false, skip()
	case n.isExact() && !e.exact:
		e.exact = true
		fault := e.textValue(dec, n)
		e.exact = false
		return true, fault
	}
	return true, e.textValue(dec, n)
}

// notJSON reports a syntax error, by its place in the text and without the text.
func notJSON(dec *jsontext.Decoder, err error) *Error {
	offset, what := dec.InputOffset(), "more follows after the value"
	var syntax *jsontext.SyntacticError
	switch {
	case errors.As(err, &syntax):
		offset, what = syntax.ByteOffset, syntax.Err.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		what = "it ends too early"
	}
	return &Error{
		Reason: "is not valid JSON at byte " + strconv.FormatInt(offset, 10) + ": " + what,
		advice: "pass valid JSON text, or a Go value",
	}
}
