package verifier

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"strconv"
)

// writer spells canonical JSON (RFC 8785) by hand.
type writer struct{ bytes.Buffer }

// text writes a string.
func (w *writer) text(s string) {
	w.WriteByte('"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			w.WriteByte('\\')
			w.WriteByte(c)
		case c >= 0x20:
			w.WriteByte(c)
		case c == '\b':
			w.WriteString(`\b`)
		case c == '\t':
			w.WriteString(`\t`)
		case c == '\n':
			w.WriteString(`\n`)
		case c == '\f':
			w.WriteString(`\f`)
		case c == '\r':
			w.WriteString(`\r`)
		default:
			w.WriteString(`\u00` + hex.EncodeToString([]byte{c}))
		}
	}
	w.WriteByte('"')
}

func (w *writer) binary(b []byte) {
	if b == nil {
		w.WriteString("null")
		return
	}
	w.text(base64.StdEncoding.EncodeToString(b))
}

func list[T any](w *writer, items []T, one func(T)) {
	if items == nil {
		w.WriteString("null")
		return
	}
	w.WriteByte('[')
	for i, item := range items {
		if i > 0 {
			w.WriteByte(',')
		}
		one(item)
	}
	w.WriteByte(']')
}

// object writes the fields that are there.
type object struct {
	w     *writer
	comma bool
}

func (o *object) field(name string, there bool, value func()) {
	if !there {
		return
	}
	if o.comma {
		o.w.WriteByte(',')
	}
	o.comma = true
	o.w.text(name)
	o.w.WriteByte(':')
	value()
}

func (w *writer) object(fields func(o *object)) {
	w.WriteByte('{')
	fields(&object{w: w})
	w.WriteByte('}')
}

func (o *object) text(name, s string)         { o.field(name, true, func() { o.w.text(s) }) }
func (o *object) some(name, s string)         { o.field(name, s != "", func() { o.w.text(s) }) }
func (o *object) bytes(name string, b []byte) { o.field(name, b != nil, func() { o.w.binary(b) }) }
func (o *object) number(name string, n uint64) {
	o.field(name, true, func() { o.w.WriteString(strconv.FormatUint(n, 10)) })
}

func (o *object) indexes(name string, l []int) {
	o.field(name, l != nil, func() { list(o.w, l, func(i int) { o.w.WriteString(strconv.Itoa(i)) }) })
}
