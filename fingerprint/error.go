package fingerprint

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// An Error says which argument can not be fingerprinted, and why. It quotes
// names of arguments, and never their values, with one exception: where a
// method of the argument's own type failed, that method's error text is in it.
type Error struct {
	Path   string // such as "args.items[3].callback"
	Reason string // such as "is a func, which has no stable form"

	advice string // "" for the usual one
	cause  error
}

const usualAdvice = "leave it out (tag the field `ledger:\"ignore\"`, or name its path in Ignore) or give the call a key"

// Error names the argument, the reason, and what to do next.
func (e *Error) Error() string {
	advice := e.advice
	if advice == "" {
		advice = usualAdvice
	}
	return "fingerprint: " + e.Path + " " + e.Reason + "; " + advice
}

// Unwrap returns the error of the argument's own MarshalJSON or MarshalText, or nil.
func (e *Error) Unwrap() error { return e.cause }

// copy returns a copy to which a path may be added; cached errors are shared.
func (e *Error) copy() *Error {
	c := *e
	return &c
}

// The path grows while the error returns through the containers, so that a call
// that succeeds pays nothing for it.

func (e *Error) in(name string) *Error {
	e.Path = "." + segment(name) + e.Path
	return e
}

func (e *Error) at(index int) *Error {
	e.Path = "[" + strconv.Itoa(index) + "]" + e.Path
	return e
}

func refuse(reason string) *Error { return &Error{Reason: reason} }

const maxSegment = 64 // bytes of one name in a path

var segmentEscapes = strings.NewReplacer(`\`, `\\`, `.`, `\.`, `[`, `\[`)

// segment spells a name as Rules would, shortened and made printable.
func segment(name string) string {
	short := name
	if len(short) > maxSegment {
		cut := maxSegment
		for cut > 0 && !utf8.RuneStart(short[cut]) {
			cut--
		}
		short = short[:cut] + "…"
	}
	if short == "" {
		return `""`
	}
	if !utf8.ValidString(short) || strings.ContainsFunc(short, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.QuoteToGraphic(short)
	}
	return segmentEscapes.Replace(short)
}

// marshalerFailed reports err from one of the argument's own methods.
func marshalerFailed(method string, err error) *Error {
	text := err.Error()
	const most = 200
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return &Error{
		Reason: "has a " + method + " method that failed: " + text,
		advice: "fix the value, " + usualAdvice,
		cause:  err,
	}
}
