package eventschemas

import (
	"bytes"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Facts are stored in canonical form: no blanks, members in order, each once.
// Reading that takes a quarter of the time that reading any JSON takes, and
// reading is most of what a replay does. A plan reads a value of one type in
// that form. Where the text is anything else, it gives up, and encoding/json
// reads the fact: what a fact means is always what that says.

// plan reads a value; false = it gave up, and what v holds is void.
type plan func(c *cursor, v reflect.Value) bool

// cursor is a place in a text.
type cursor struct {
	b []byte
	i int
}

func (c *cursor) take(x byte) bool {
	if c.i < len(c.b) && c.b[c.i] == x {
		c.i++
		return true
	}
	return false
}

func (c *cursor) at(x byte) bool { return c.i < len(c.b) && c.b[c.i] == x }

// text reads what is between quotes. plain says that it stands for itself.
func (c *cursor) text() (content []byte, plain, ok bool) {
	if !c.take('"') {
		return nil, false, false
	}
	begin, plain, ascii := c.i, true, true
	for c.i < len(c.b) {
		for c.i < len(c.b) && ordinary[c.b[c.i]] {
			c.i++
		}
		if c.i == len(c.b) {
			break
		}
		switch x := c.b[c.i]; {
		case x == '"':
			content = c.b[begin:c.i]
			c.i++
			return content, plain, ascii || utf8.Valid(content)
		case x == '\\':
			plain = false
			c.i++
		case x < 0x20:
			return nil, false, false
		case x >= 0x80:
			ascii = false
		}
		c.i++
	}
	return nil, false, false
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

// number reads a whole number.
func (c *cursor) number() ([]byte, bool) {
	begin := c.i
	c.take('-')
	digits := c.i
	for c.i < len(c.b) && c.b[c.i] >= '0' && c.b[c.i] <= '9' {
		c.i++
	}
	n := c.i - digits
	return c.b[begin:c.i], n > 0 && (n == 1 || c.b[digits] != '0') && !c.at('.') && !c.at('e') && !c.at('E')
}

// decoder makes the function that reads facts of type T.
func decoder[T any]() func([]byte) (any, error) {
	read := planOf(reflect.TypeFor[T]())
	return func(data []byte) (any, error) {
		var fact T
		c := cursor{b: data}
		if read(&c, reflect.ValueOf(&fact).Elem()) && c.i == len(data) {
			return fact, nil
		}
		var again T
		err := json.Unmarshal(data, &again)
		return again, err
	}
}

var (
	unmarshaler     = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func planOf(t reflect.Type) plan {
	if reflect.PointerTo(t).Implements(unmarshaler) {
		return readItself
	}
	if reflect.PointerTo(t).Implements(textUnmarshaler) {
		return readAny
	}
	switch t.Kind() {
	case reflect.String:
		return readText
	case reflect.Bool:
		return readBool
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return readInt
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return readUint
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 && t.Elem().PkgPath() == "" {
			return readBytes
		}
		return sliceOf(planOf(t.Elem()))
	case reflect.Pointer:
		elem := planOf(t.Elem())
		return func(c *cursor, v reflect.Value) bool {
			if c.at('n') { // null
				return false
			}
			p := reflect.New(t.Elem())
			v.Set(p)
			return elem(c, p.Elem())
		}
	case reflect.Struct:
		return structOf(t)
	}
	return readAny
}

// readItself lets a type read its own text.
func readItself(c *cursor, v reflect.Value) bool {
	text, ok := c.raw()
	if !ok || text[0] == 'n' || (text[0] != '"' || bytes.IndexByte(text, '\\') >= 0) && !json.Valid(text) {
		return false
	}
	return v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(text) == nil //nolint:forcetypeassert // planOf looked
}

// readAny lets encoding/json read one value.
func readAny(c *cursor, v reflect.Value) bool {
	text, ok := c.raw()
	return ok && json.Unmarshal(text, v.Addr().Interface()) == nil
}

func readText(c *cursor, v reflect.Value) bool {
	begin := c.i
	text, plain, ok := c.text()
	if !ok {
		return false
	}
	if plain {
		v.SetString(string(text))
		return true
	}
	if s, ok := unescape(text); ok {
		v.SetString(s)
		return true
	}
	var s string
	if json.Unmarshal(c.b[begin:c.i], &s) != nil {
		return false
	}
	v.SetString(s)
	return true
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

// ordinary are the bytes of a text that stand for themselves.
var ordinary = func() (t [256]bool) {
	for x := 0x20; x < 0x80; x++ {
		t[x] = x != '"' && x != '\\'
	}
	return t
}()

func readBool(c *cursor, v reflect.Value) bool {
	text, ok := c.raw()
	v.SetBool(string(text) == "true")
	return ok && (string(text) == "true" || string(text) == "false")
}

func readInt(c *cursor, v reflect.Value) bool {
	text, ok := c.number()
	if !ok {
		return false
	}
	n, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil || v.OverflowInt(n) {
		return false
	}
	v.SetInt(n)
	return true
}

func readUint(c *cursor, v reflect.Value) bool {
	text, ok := c.number()
	if !ok {
		return false
	}
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil || v.OverflowUint(n) {
		return false
	}
	v.SetUint(n)
	return true
}

func readBytes(c *cursor, v reflect.Value) bool {
	text, plain, ok := c.text()
	if !ok || !plain || slices.Contains(text, '\r') || slices.Contains(text, '\n') {
		return false
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(out, text)
	v.SetBytes(out[:n])
	return err == nil
}

func sliceOf(elem plan) plan {
	return func(c *cursor, v reflect.Value) bool {
		if !c.take('[') {
			return false
		}
		v.Set(reflect.MakeSlice(v.Type(), 0, 0))
		for n := 0; !c.take(']'); n++ {
			if n > 0 && !c.take(',') || n > 0 && c.at(']') {
				return false
			}
			v.Grow(1)
			v.SetLen(n + 1)
			if !elem(c, v.Index(n)) {
				return false
			}
		}
		return true
	}
}

// member is a field that is written.
type member struct {
	name  string
	index int
	read  plan
}

func structOf(t reflect.Type) plan {
	var members []member
	for i := range t.NumField() {
		f := t.Field(i)
		tag := f.Tag.Get("json")
		name, options, _ := strings.Cut(tag, ",")
		switch {
		case tag == "-":
			continue
		case f.Anonymous, strings.Contains(options, "string"):
			return readAny
		case !f.IsExported():
			continue
		case name == "":
			name = f.Name
		}
		members = append(members, member{name, i, planOf(f.Type)})
	}
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	return func(c *cursor, v reflect.Value) bool { return readMembers(c, v, members) }
}

// readMembers reads an object whose members come in order.
func readMembers(c *cursor, v reflect.Value, members []member) bool {
	if !c.take('{') {
		return false
	}
	if c.take('}') {
		return true
	}
	for next := 0; ; {
		name, plain, ok := c.text()
		if !ok || !plain || !c.take(':') {
			return false
		}
		for next < len(members) && members[next].name != string(name) {
			next++
		}
		if next == len(members) || !members[next].read(c, v.Field(members[next].index)) {
			return false
		}
		next++
		if c.take('}') {
			return true
		}
		if !c.take(',') {
			return false
		}
	}
}
