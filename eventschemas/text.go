package eventschemas

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"math/bits"
	"unicode/utf8"
)

// cursor is a place in a text.
type cursor struct {
	b      []byte
	i      int
	memory *memory // nil = nothing is remembered
}

func (c *cursor) take(x byte) bool {
	if c.i < len(c.b) && c.b[c.i] == x {
		c.i++
		return true
	}
	return false
}

func (c *cursor) at(x byte) bool { return c.i < len(c.b) && c.b[c.i] == x }

// literal takes a given text.
func (c *cursor) literal(s string) bool {
	if len(c.b)-c.i < len(s) || string(c.b[c.i:c.i+len(s)]) != s {
		return false
	}
	c.i += len(s)
	return true
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// special is the index of the first byte that does not stand for itself in a
// text: a quote, a backslash, a control character or one that is not ASCII. It
// is len(b) when there is none.
func special(b []byte) int {
	n := 0
	for ; len(b)-n >= 8; n += 8 {
		w := binary.LittleEndian.Uint64(b[n:])
		// A byte is found by its high bit. One that is taken for special above
		// another that is does no harm: the lowest is what counts.
		if found := ((w - ones*0x20) | ((w ^ ones*'"') - ones) | ((w ^ ones*'\\') - ones) | w) & highs; found != 0 {
			return n + bits.TrailingZeros64(found)/8
		}
	}
	for ; n < len(b); n++ {
		if x := b[n]; x < 0x20 || x >= 0x80 || x == '"' || x == '\\' {
			break
		}
	}
	return n
}

// text reads what is between quotes. plain says that it stands for itself.
func (c *cursor) text() (content []byte, plain, ok bool) {
	if !c.take('"') {
		return nil, false, false
	}
	begin, plain, ascii := c.i, true, true
	for {
		c.i += special(c.b[c.i:])
		if c.i >= len(c.b) {
			return nil, false, false
		}
		switch x := c.b[c.i]; {
		case x == '"':
			content = c.b[begin:c.i]
			c.i++
			return content, plain, ascii || utf8.Valid(content)
		case x == '\\':
			plain = false
			c.i = min(c.i+2, len(c.b))
		case x < 0x20:
			return nil, false, false
		default:
			ascii = false
			c.i++
		}
	}
}

// quoted reads a text that stands for itself, and returns it with its quotes.
func (c *cursor) quoted() ([]byte, bool) {
	begin := c.i
	_, plain, ok := c.text()
	return c.b[begin:c.i], plain && ok
}

// string reads a text.
func (c *cursor) string() (string, bool) {
	if !c.at('"') {
		return "", false
	}
	rest := c.b[c.i+1:]
	if n := special(rest[:min(len(rest), shortest)]); n < len(rest) && rest[n] == '"' {
		c.i += n + 2
		return c.memory.short(rest[:n]), true
	}
	if s, n := c.memory.long(rest); n > 0 {
		c.i += n + 2
		return s, true
	}
	begin := c.i
	text, plain, ok := c.text()
	if !ok {
		return "", false
	}
	raw := string(text)
	s := raw
	if !plain {
		if s, ok = unescape(text); !ok && json.Unmarshal(c.b[begin:c.i], &s) != nil {
			return "", false
		}
	}
	c.memory.keep(raw, s)
	return s, true
}

// unescape undoes the escapes of one letter, as JSON within JSON has them.
func unescape(text []byte) (string, bool) {
	out := make([]byte, 0, len(text))
	for {
		i := bytes.IndexByte(text, '\\')
		if i < 0 || i+1 == len(text) {
			return string(append(out, text...)), i < 0
		}
		out = append(out, text[:i]...)
		switch x := text[i+1]; x {
		case '"', '\\', '/':
			out = append(out, x)
		case 'n':
			out = append(out, '\n')
		case 't':
			out = append(out, '\t')
		case 'r':
			out = append(out, '\r')
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		default:
			return "", false
		}
		text = text[i+2:]
	}
}

// digits reads a whole number of at most 18 digits.
func (c *cursor) digits() (n uint64, ok bool) {
	begin := c.i
	for c.i < len(c.b) && c.b[c.i]-'0' <= 9 && c.i < begin+19 {
		n = n*10 + uint64(c.b[c.i]-'0')
		c.i++
	}
	count := c.i - begin
	if count == 0 || count > 18 || count > 1 && c.b[begin] == '0' {
		return 0, false
	}
	return n, c.i == len(c.b) || c.b[c.i] != '.' && c.b[c.i] != 'e' && c.b[c.i] != 'E'
}

// raw reads one value, whatever it is, and returns its text. It trusts the
// text to be JSON; who is given the value finds out.
func (c *cursor) raw() ([]byte, bool) {
	begin, depth := c.i, 0
	for c.i < len(c.b) {
		switch x := c.b[c.i]; x {
		case '"':
			if _, _, ok := c.text(); !ok {
				return nil, false
			}
			if depth == 0 {
				return c.b[begin:c.i], true
			}
			continue
		case '{', '[':
			depth++
		case '}', ']', ',':
			if depth == 0 {
				return c.b[begin:c.i], c.i > begin
			}
			if x != ',' {
				depth--
			}
			if depth == 0 {
				c.i++
				return c.b[begin:c.i], true
			}
		}
		c.i++
	}
	return c.b[begin:c.i], depth == 0 && c.i > begin
}
