package props

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Why a property text is refused.
var (
	ErrNotJSON = errors.New("properties are not valid JSON")
	ErrTooDeep = errors.New("properties are nested too deep")
	ErrTooLong = errors.New("text is too long")
)

// decode reads one JSON value and keeps the text of numbers.
func decode(text []byte) (any, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLong, len(text), MaxBytes)
	}
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("%w: not UTF-8", ErrNotJSON)
	}
	if depth(text) > MaxJSON {
		return nil, fmt.Errorf("%w: at most %d levels", ErrTooDeep, MaxJSON)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotJSON, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: more than one value", ErrNotJSON)
	}
	return v, nil
}

// depth is the deepest nesting of brackets outside strings.
func depth(text []byte) int {
	deepest, now, inside := 0, 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inside && c == '\\':
			i++
		case c == '"':
			inside = !inside
		case inside:
		case c == '{' || c == '[':
			now++
			deepest = max(deepest, now)
		case c == '}' || c == ']':
			now--
		}
	}
	return deepest
}

// appendValue writes a decoded value compactly: keys in byte order, numbers as
// [appendNumber] has them, only the escapes that JSON demands.
func appendValue(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case bool:
		return strconv.AppendBool(b, v), nil
	case string:
		return appendString(b, v), nil
	case json.Number:
		return appendNumber(b, string(v))
	case []any:
		return appendArray(b, v)
	case map[string]any:
		return appendObject(b, v)
	}
	return nil, fmt.Errorf("%w: %T", ErrNotJSON, v)
}

func appendArray(b []byte, v []any) (_ []byte, err error) {
	b = append(b, '[')
	for i, e := range v {
		if i > 0 {
			b = append(b, ',')
		}
		if b, err = appendValue(b, e); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func appendObject(b []byte, v map[string]any) (_ []byte, err error) {
	b = append(b, '{')
	for i, k := range slices.Sorted(maps.Keys(v)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, k), ':')
		if b, err = appendValue(b, v[k]); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

func appendString(b []byte, s string) []byte {
	const short = "btnvfr" // of 8…13; \v is not JSON
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c == '\b' || c == '\t' || c == '\n' || c == '\f' || c == '\r':
			b = append(b, '\\', short[c-'\b'])
		case c < 0x20:
			b = fmt.Appendf(b, `\u%04x`, c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// appendNumber writes a number the way the whole network does: integers stay
// integers, everything with a point or an exponent becomes the shortest
// decimal that is the same float64 and keeps its point, so that "0.0" stays
// "0.0", "1.50" becomes "1.5" and "1e3" becomes "1000.0".
func appendNumber(b []byte, text string) ([]byte, error) {
	if !strings.ContainsAny(text, ".eE") && text != "-0" {
		if _, err := strconv.ParseInt(text, 10, 64); err == nil {
			return append(b, text...), nil
		}
		if _, err := strconv.ParseUint(text, 10, 64); err == nil {
			return append(b, text...), nil
		}
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, fmt.Errorf("%w: number %q is out of range", ErrNotJSON, text)
	}
	return append(b, FormatFloat(f)...), nil
}

// FormatFloat prints a finite number with a point or an exponent, as short as
// it can be read back. Prices and sizes in offers are printed so: requestors
// refuse an offer whose coefficients look like integers.
func FormatFloat(f float64) string {
	sign := ""
	if math.Signbit(f) {
		sign, f = "-", -f
	}
	if f == 0 {
		return sign + "0.0"
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	digits := strings.Replace(mantissa, ".", "", 1)
	exp, _ := strconv.Atoi(exponent)
	point := exp + 1 // digits before the decimal point
	switch {
	case len(digits) <= point && point <= 16:
		return sign + digits + strings.Repeat("0", point-len(digits)) + ".0"
	case 0 < point && point <= 16:
		return sign + digits[:point] + "." + digits[point:]
	case -5 < point && point <= 0:
		return sign + "0." + strings.Repeat("0", -point) + digits
	case len(digits) == 1:
		return sign + digits + "e" + strconv.Itoa(exp)
	}
	return sign + digits[:1] + "." + digits[1:] + "e" + strconv.Itoa(exp)
}
