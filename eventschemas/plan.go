package eventschemas

import (
	"bytes"
	"encoding"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
	"unsafe"

	"github.com/emet-node/emet/domain/money"
)

// Facts are stored in canonical form: no blanks, members in order, each once.
// Reading that takes a tenth of the time that reading any JSON takes, and
// reading is most of what a replay does. A plan reads a value of one type in
// that form. Where the text is anything else, it gives up, and encoding/json
// reads the fact: what a fact means is always what that says.

// plan reads a value into p, which is the place of a zero value of the type
// that the plan was made for; false = it gave up, and what is there is void.
type plan func(c *cursor, p unsafe.Pointer) bool

// decoder makes the function that reads facts of type T. What belongs to a
// subject is not remembered, since it can be erased.
func decoder[T any](remembers bool) func([]byte) (any, error) {
	read := planOf(reflect.TypeFor[T]())
	// A fact is read into a place that is used again and copied once, into the
	// interface that it is returned in.
	places := sync.Pool{New: func() any { return new(T) }}
	return func(data []byte) (fact any, err error) {
		place := places.Get().(*T) //nolint:forcetypeassert // the pool holds nothing else
		c := cursor{b: data}
		if remembers {
			c.memory = memories.Get().(*memory) //nolint:forcetypeassert // as above
		}
		ok := read(&c, unsafe.Pointer(place)) && c.i == len(data) //nolint:gosec // the plan was made for T
		if ok {
			fact = *place
		}
		if remembers {
			memories.Put(c.memory)
		}
		*place = *new(T)
		places.Put(place)
		if ok {
			return fact, nil
		}
		var slow T
		err = json.Unmarshal(data, &slow)
		return slow, err
	}
}

var (
	unmarshaler     = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func planOf(t reflect.Type) plan {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return readTime
	case t == reflect.TypeFor[money.Amount]():
		return readAmount
	case reflect.PointerTo(t).Implements(unmarshaler):
		return itself(t)
	case reflect.PointerTo(t).Implements(textUnmarshaler):
		return anything(t)
	}
	switch t.Kind() {
	case reflect.String:
		return readText
	case reflect.Bool:
		return readBool
	case reflect.Int, reflect.Int64:
		return whole[int64]
	case reflect.Int32:
		return whole[int32]
	case reflect.Int16:
		return whole[int16]
	case reflect.Int8:
		return whole[int8]
	case reflect.Uint, reflect.Uint64:
		return natural[uint64]
	case reflect.Uint32:
		return natural[uint32]
	case reflect.Uint16:
		return natural[uint16]
	case reflect.Uint8:
		return natural[uint8]
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 && t.Elem().PkgPath() == "" {
			return readBytes
		}
		return sliceOf(t)
	case reflect.Pointer:
		return pointerTo(t.Elem())
	case reflect.Struct:
		return structOf(t)
	}
	return anything(t)
}

// itself lets a type read its own text.
func itself(t reflect.Type) plan {
	return func(c *cursor, p unsafe.Pointer) bool {
		text, ok := c.raw()
		if !ok || text[0] == 'n' || (text[0] != '"' || bytes.IndexByte(text, '\\') >= 0) && !json.Valid(text) {
			return false
		}
		return reflect.NewAt(t, p).Interface().(json.Unmarshaler).UnmarshalJSON(text) == nil //nolint:forcetypeassert // planOf looked
	}
}

// anything lets encoding/json read one value.
func anything(t reflect.Type) plan {
	return func(c *cursor, p unsafe.Pointer) bool {
		text, ok := c.raw()
		return ok && json.Unmarshal(text, reflect.NewAt(t, p).Interface()) == nil
	}
}

func readTime(c *cursor, p unsafe.Pointer) bool {
	text, ok := c.quoted()
	return ok && (*time.Time)(p).UnmarshalJSON(text) == nil
}

func readAmount(c *cursor, p unsafe.Pointer) bool {
	text, ok := c.quoted()
	return ok && (*money.Amount)(p).UnmarshalJSON(text) == nil
}

func readText(c *cursor, p unsafe.Pointer) bool {
	s, ok := c.string()
	if ok {
		*(*string)(p) = s
	}
	return ok
}

func readBool(c *cursor, p unsafe.Pointer) bool {
	switch {
	case c.literal("true"):
		*(*bool)(p) = true
	case !c.literal("false"):
		return false
	}
	return true
}

func whole[N int8 | int16 | int32 | int64](c *cursor, p unsafe.Pointer) bool {
	negative := c.take('-')
	n, ok := c.digits()
	v := int64(n) //nolint:gosec // digits stay below 10^18
	if negative {
		v = -v
	}
	*(*N)(p) = N(v)
	return ok && int64(N(v)) == v
}

func natural[N uint8 | uint16 | uint32 | uint64](c *cursor, p unsafe.Pointer) bool {
	n, ok := c.digits()
	*(*N)(p) = N(n)
	return ok && uint64(N(n)) == n
}

func readBytes(c *cursor, p unsafe.Pointer) bool {
	if c.literal("null") {
		return true
	}
	text, plain, ok := c.text()
	if !ok || !plain || slices.Contains(text, '\r') || slices.Contains(text, '\n') {
		return false
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(text)))
	n, err := base64.StdEncoding.Decode(out, text)
	*(*[]byte)(p) = out[:n]
	return err == nil
}

func sliceOf(t reflect.Type) plan {
	elem, size, empty := planOf(t.Elem()), t.Elem().Size(), reflect.MakeSlice(t, 0, 0)
	return func(c *cursor, p unsafe.Pointer) bool {
		if c.literal("null") {
			return true
		}
		if !c.take('[') {
			return false
		}
		v := reflect.NewAt(t, p).Elem()
		if c.take(']') {
			v.Set(empty)
			return true
		}
		for n := 0; ; n++ {
			v.Grow(1)
			v.SetLen(n + 1)
			if !elem(c, unsafe.Add(v.UnsafePointer(), uintptr(n)*size)) { //nolint:gosec // there are n+1
				return false
			}
			if c.take(']') {
				return true
			}
			if !c.take(',') {
				return false
			}
		}
	}
}

func pointerTo(t reflect.Type) plan {
	elem := planOf(t)
	return func(c *cursor, p unsafe.Pointer) bool {
		if c.literal("null") {
			return true
		}
		target := reflect.New(t).UnsafePointer()
		*(*unsafe.Pointer)(p) = target
		return elem(c, target)
	}
}

// member is a field that is written.
type member struct {
	label string // name, with what is around it in the text
	at    uintptr
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
			return anything(t)
		case !f.IsExported():
			continue
		case name == "":
			name = f.Name
		}
		members = append(members, member{`"` + name + `":`, f.Offset, planOf(f.Type)})
	}
	slices.SortFunc(members, func(a, b member) int { return strings.Compare(a.label, b.label) })
	return func(c *cursor, p unsafe.Pointer) bool { return readMembers(c, p, members) }
}

// readMembers reads an object whose members come in order.
func readMembers(c *cursor, p unsafe.Pointer, members []member) bool {
	if !c.take('{') {
		return false
	}
	if c.take('}') {
		return true
	}
	for {
		for len(members) > 0 && !c.literal(members[0].label) {
			members = members[1:]
		}
		if len(members) == 0 || !members[0].read(c, unsafe.Add(p, members[0].at)) { //nolint:gosec // that is where the field is
			return false
		}
		members = members[1:]
		if c.take('}') {
			return true
		}
		if !c.take(',') {
			return false
		}
	}
}
