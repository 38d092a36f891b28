package fingerprint

import (
	"math"
	"strconv"
)

const (
	maxDigits      = 1000 // of an integer, and significant ones of any number
	maxDecimals    = 8    // of a number from 1 upwards
	maxSignificant = 15   // digits of such a number: what float64 always holds
	smallDigits    = 9    // significant digits of a number below 1
	minPlainPoint  = -6   // 0.000001 is plain, 1e-7 is not, as in RFC 8785
)

const notFinite = "is NaN or infinite, which JSON can not say"

// A decimal is 0.d1d2d3… × 10^point. The digits have no zeros at either end;
// zero has none at all.
type decimal struct {
	neg    bool
	digits []byte
	point  int64
}

// number appends a JSON number in its canonical spelling.
func (e *encoder) number(text []byte) *Error {
	// Most numbers are short integers, which are canonical already.
	if plainInteger(text) {
		e.out = append(e.out, text...)
		return nil
	}
	d, reason := parseDecimal(text, e.digits)
	e.digits = d.digits[:0]
	if reason == "" {
		reason = d.check()
	}
	if reason != "" {
		return refuse(reason)
	}
	if !e.exact {
		d.round()
	}
	e.out = d.append(e.out)
	return nil
}

// float appends a Go float by way of its shortest decimal.
func (e *encoder) float(f float64, bits int) *Error {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return refuse(notFinite)
	}
	// Below 2^53 an integer is its own shortest decimal.
	if math.Abs(f) < 1<<53 && f == math.Trunc(f) && bits == 64 {
		e.out = strconv.AppendInt(e.out, int64(f), 10)
		return nil
	}
	return e.number(strconv.AppendFloat(e.shortest[:0], f, 'e', -1, bits))
}

func plainInteger(text []byte) bool {
	if len(text) > 18 || len(text) == 0 || text[0] == '0' && len(text) > 1 {
		return false
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}

// parseDecimal reads a JSON number into buf. It does nothing whose cost depends
// on the exponent: 1e1000000000 is expanded nowhere.
func parseDecimal(text, buf []byte) (d decimal, reason string) {
	const malformed = "is not a JSON number"
	d.digits = buf[:0]
	rest := text
	if len(rest) > 0 && rest[0] == '-' {
		d.neg = true
		rest = rest[1:]
	}
	whole, rest := cutDigits(rest)
	if len(whole) == 0 || len(whole) > 1 && whole[0] == '0' {
		return d, malformed
	}
	var frac []byte
	if len(rest) > 0 && rest[0] == '.' {
		if frac, rest = cutDigits(rest[1:]); len(frac) == 0 {
			return d, malformed
		}
	}
	var exponent int64
	if len(rest) > 0 && (rest[0] == 'e' || rest[0] == 'E') {
		rest = rest[1:]
		negative := len(rest) > 0 && rest[0] == '-'
		if negative || len(rest) > 0 && rest[0] == '+' {
			rest = rest[1:]
		}
		var digits []byte
		if digits, rest = cutDigits(rest); len(digits) == 0 {
			return d, malformed
		}
		for _, c := range digits {
			// Beyond any text's length, so no mantissa can bring it back into range.
			if exponent < 1<<50 {
				exponent = exponent*10 + int64(c-'0')
			}
		}
		if negative {
			exponent = -exponent
		}
	}
	if len(rest) > 0 {
		return d, malformed
	}

	d.point = int64(len(whole)) + exponent
	if whole[0] == '0' {
		before := len(frac)
		frac = trimLeadingZeros(frac)
		whole, d.point = nil, exponent-int64(before-len(frac))
	}
	frac = trimTrailingZeros(frac)
	if len(frac) == 0 {
		whole = trimTrailingZeros(whole)
	}
	switch n := len(whole) + len(frac); {
	case n == 0:
		d.neg, d.point = false, 0
	case n > maxDigits:
		return d, "is a number of more than 1,000 digits"
	}
	d.digits = append(append(d.digits, whole...), frac...)
	return d, ""
}

func (d *decimal) integral() bool { return d.point >= int64(len(d.digits)) }

// check bounds what may be written out.
func (d *decimal) check() (reason string) {
	const outside = "is a number that float64 would read as zero or infinity"
	switch {
	case d.integral():
		if d.point > maxDigits {
			return "is an integer of more than 1,000 digits"
		}
	case d.point > 309 || d.point < -323:
		return outside
	case d.point == 309 || d.point == -323:
		text := append([]byte("0."), d.digits...)
		text = strconv.AppendInt(append(text, 'e'), d.point, 10)
		if f, err := strconv.ParseFloat(string(text), 64); err != nil || f == 0 {
			return outside
		}
	}
	return ""
}

// round absorbs float drift, half away from zero. It works on decimal digits, so
// that the result depends on no platform's arithmetic. Integers stay.
func (d *decimal) round() {
	if d.integral() {
		return
	}
	keep := smallDigits
	if d.point > 0 {
		keep = int(min(d.point+maxDecimals, maxSignificant))
	}
	if keep >= len(d.digits) {
		return
	}
	up := d.digits[keep] >= '5'
	d.digits = d.digits[:keep]
	if !up {
		d.digits = trimTrailingZeros(d.digits)
		return
	}
	for len(d.digits) > 0 && d.digits[len(d.digits)-1] == '9' {
		d.digits = d.digits[:len(d.digits)-1]
	}
	if len(d.digits) == 0 {
		d.digits = append(d.digits, '1')
		d.point++
		return
	}
	d.digits[len(d.digits)-1]++
}

// append writes the one spelling of d.
func (d *decimal) append(dst []byte) []byte {
	if d.neg {
		dst = append(dst, '-')
	}
	point := int(d.point) // check has bounded it
	switch {
	case len(d.digits) == 0:
		return append(dst, '0')
	case d.integral():
		return appendZeros(append(dst, d.digits...), point-len(d.digits))
	case point > 0:
		dst = append(append(dst, d.digits[:point]...), '.')
		return append(dst, d.digits[point:]...)
	case point > minPlainPoint:
		return append(appendZeros(append(dst, "0."...), -point), d.digits...)
	}
	dst = append(dst, d.digits[0])
	if len(d.digits) > 1 {
		dst = append(append(dst, '.'), d.digits[1:]...)
	}
	return strconv.AppendInt(append(dst, 'e'), int64(point-1), 10)
}

func cutDigits(text []byte) (digits, rest []byte) {
	i := 0
	for i < len(text) && '0' <= text[i] && text[i] <= '9' {
		i++
	}
	return text[:i], text[i:]
}

func trimLeadingZeros(digits []byte) []byte {
	for len(digits) > 0 && digits[0] == '0' {
		digits = digits[1:]
	}
	return digits
}

func trimTrailingZeros(digits []byte) []byte {
	for len(digits) > 0 && digits[len(digits)-1] == '0' {
		digits = digits[:len(digits)-1]
	}
	return digits
}

func appendZeros(dst []byte, n int) []byte {
	for range n {
		dst = append(dst, '0')
	}
	return dst
}
