package props

import (
	"strings"
)

type kind uint8

// Kinds of properties. From JSON come strings, numbers, bools and lists only;
// the others exist through typed references in constraints.
const (
	kindImplicit kind = iota // a name without a value
	kindString
	kindNumber
	kindBool
	kindList
	kindVersion
	kindDecimal
	kindTime
)

// value is one typed property.
type value struct {
	kind kind
	text string // String in its escaped form
	num  float64
	yes  bool
	list []value
	ver  version
	dec  decimal
	time instant
}

// Properties are typed properties, ready to be matched.
type Properties map[string]value

// Compile reads a property text, flat or nested. Entries that the language
// cannot express (null, objects, strings with control characters) are absent
// from the result.
func Compile(text string) (Properties, error) {
	v, err := decode([]byte(text))
	if err != nil {
		return nil, err
	}
	flat := make(map[string]any)
	flatten(flat, "", v)
	p := make(Properties, len(flat))
	for k, v := range flat {
		b, err := appendValue(nil, v)
		if err != nil {
			continue
		}
		p.addLine(k + "=" + string(b))
	}
	return p, nil
}

// addLine adds "name=literal" or a bare name.
func (p Properties) addLine(line string) {
	name, literal, ok := strings.Cut(line, "=")
	if !ok {
		p[name] = value{kind: kindImplicit}
		return
	}
	if v, rest, ok := parseLiteral(literal, 0); ok && rest == "" {
		p[name] = v
	}
}

// parseLiteral reads one literal from the beginning of s; its type is known by
// its shape alone.
func parseLiteral(s string, depth int) (v value, rest string, ok bool) {
	if s == "" || depth > MaxJSON {
		return v, s, false
	}
	switch s[0] {
	case '"':
		text, rest, ok := parseQuoted(s)
		return value{kind: kindString, text: text}, rest, ok
	case '[':
		return parseList(s, depth)
	case 't', 'f', 'T', 'F', 'v', 'd':
		return parseWord(s)
	}
	end := numberEnd(s)
	if end == 0 {
		return v, s, false
	}
	n, ok := parseNumber(s[:end])
	return value{kind: kindNumber, num: n}, s[end:], ok
}

var words = []struct {
	text string
	yes  bool
}{{"true", true}, {"True", true}, {"TRUE", true}, {"false", false}, {"False", false}, {"FALSE", false}}

func parseWord(s string) (v value, rest string, ok bool) {
	for _, w := range words {
		if rest, ok := strings.CutPrefix(s, w.text); ok {
			return value{kind: kindBool, yes: w.yes}, rest, true
		}
	}
	text, rest, ok := parseQuoted(s[1:])
	if !ok {
		return v, s, false
	}
	switch s[0] {
	case 'v':
		v.kind = kindVersion
		v.ver, ok = parseVersion(text)
	case 'd':
		v.kind = kindDecimal
		v.dec, ok = parseDecimal(text)
	case 't':
		v.kind = kindTime
		v.time, ok = parseTime(text)
	default:
		return v, s, false
	}
	return v, rest, ok
}

// parseQuoted reads a quoted string and keeps its escapes as they are written.
// White space at its beginning is lost. Escapes other than \" \\ \n \t \0 make
// it unreadable.
func parseQuoted(s string) (text, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", s, false
	}
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return strings.TrimLeft(s[1:i], white), s[i+1:], true
		case '\\':
			i++
			if i == len(s) || !strings.ContainsRune(`"\nt0`, rune(s[i])) {
				return "", s, false
			}
		}
	}
	return "", s, false
}

const white = " \t\r\n"

func parseList(s string, depth int) (v value, rest string, ok bool) {
	v.kind = kindList
	rest = strings.TrimLeft(s[1:], white)
	if rest, ok := strings.CutPrefix(rest, "]"); ok {
		return v, rest, true
	}
	for {
		var e value
		e, rest, ok = parseLiteral(strings.TrimLeft(rest, white), depth+1)
		rest = strings.TrimLeft(rest, white)
		if !ok || rest == "" {
			return v, s, false
		}
		v.list = append(v.list, e)
		switch rest[0] {
		case ']':
			return v, rest[1:], true
		case ',':
			rest = rest[1:]
		default:
			return v, s, false
		}
	}
}

// numberEnd is the length of [+-]?digits[.digits][(e|E)[+-]?digits] at the
// beginning of s, 0 if there is none.
func numberEnd(s string) int {
	i := sign(s, 0)
	n := digits(s, i)
	if n == i {
		return 0
	}
	if n < len(s) && s[n] == '.' {
		if m := digits(s, n+1); m > n+1 {
			n = m
		}
	}
	if n < len(s) && (s[n] == 'e' || s[n] == 'E') {
		from := sign(s, n+1)
		if m := digits(s, from); m > from {
			n = m
		}
	}
	return n
}

func sign(s string, i int) int {
	if i < len(s) && (s[i] == '+' || s[i] == '-') {
		return i + 1
	}
	return i
}

func digits(s string, i int) int {
	for i < len(s) && s[i] >= '0' && s[i] <= '9' {
		i++
	}
	return i
}
