package props

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

const tag = "@tag" // key of a value that sits at an inner node

// Flatten turns the properties that a client gives (nested, flat or mixed
// JSON) into the one text that is hashed, stored and sent: a flat object with
// full dotted keys in byte order, compact, numbers normalised. Flat text stays
// as it is.
func Flatten(text []byte) (string, error) {
	v, err := decode(text)
	if err != nil {
		return "", err
	}
	flat := make(map[string]any)
	flatten(flat, "", v)
	b, err := appendObject(nil, flat)
	return string(b), err
}

// flatten visits keys in byte order, so that of two spellings of one key the
// later wins. Empty objects are values.
func flatten(out map[string]any, prefix string, v any) {
	m, ok := v.(map[string]any)
	if !ok || len(m) == 0 {
		out[prefix] = v
		return
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		switch {
		case k == tag:
			out[prefix] = m[k]
		case prefix == "":
			flatten(out, k, m[k])
		default:
			flatten(out, prefix+"."+k, m[k])
		}
	}
}

// Flat is a property text by its keys. Values are JSON texts as the author
// wrote them.
type Flat map[string]json.RawMessage

// ParseFlat reads a flat property text.
func ParseFlat(text string) (Flat, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrTooLong, len(text), MaxBytes)
	}
	if depth([]byte(text)) > MaxJSON {
		return nil, fmt.Errorf("%w: at most %d levels", ErrTooDeep, MaxJSON)
	}
	var f Flat
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotJSON, err)
	}
	if f == nil {
		return nil, fmt.Errorf("%w: want an object", ErrNotJSON)
	}
	return f, nil
}

// Text is the flat text again: keys in byte order, values verbatim.
func (f Flat) Text() string {
	b := []byte{'{'}
	for i, k := range slices.Sorted(maps.Keys(f)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, k), ':')
		b = append(b, f[k]...)
	}
	return string(append(b, '}'))
}

// String is the text of a string property.
func (f Flat) String(key string) (string, bool) {
	var s string
	raw, ok := f[key]
	if !ok || raw[0] != '"' || json.Unmarshal(raw, &s) != nil {
		return "", false
	}
	return s, true
}

// Strings are the elements of a property that is a list of strings.
func (f Flat) Strings(key string) ([]string, bool) {
	var s []string
	raw, ok := f[key]
	if !ok || raw[0] != '[' || json.Unmarshal(raw, &s) != nil {
		return nil, false
	}
	return s, true
}

// Numbers are the texts of the elements of a property that is a list of numbers.
func (f Flat) Numbers(key string) ([]string, bool) {
	var raws []json.RawMessage
	raw, ok := f[key]
	if !ok || raw[0] != '[' || json.Unmarshal(raw, &raws) != nil {
		return nil, false
	}
	out := make([]string, len(raws))
	for i, r := range raws {
		if c := r[0]; c != '-' && (c < '0' || c > '9') {
			return nil, false
		}
		out[i] = string(r)
	}
	return out, true
}

// Int is the value of an integer property; a number with a point is none.
func (f Flat) Int(key string) (n int64, ok bool) {
	raw, ok := f[key]
	if !ok || json.Unmarshal(raw, &n) != nil || string(raw) == "null" {
		return 0, false
	}
	return n, true
}

// Bool is the value of a bool property; anything else is false.
func (f Flat) Bool(key string) bool { return string(f[key]) == "true" }

// Pointer looks up a JSON pointer such as "/golem/com/payment/chosen-platform"
// in the nested form of the properties. A node that has both a value and
// children yields its value.
func (f Flat) Pointer(pointer string) (json.RawMessage, bool) {
	key := strings.NewReplacer("~1", "/", "~0", "~").Replace(strings.ReplaceAll(strings.TrimPrefix(pointer, "/"), "/", "."))
	if raw, ok := f[key]; ok {
		return raw, true
	}
	below := make(Flat)
	for k, raw := range f {
		if rest, ok := strings.CutPrefix(k, key+"."); ok {
			below[rest] = raw
		}
	}
	if len(below) == 0 {
		return nil, false
	}
	return json.RawMessage(below.Expand()), true
}

// Expand is the nested form: {"a.b":1} becomes {"a":{"b":1}}, and a key that
// is also the beginning of others keeps its value under "@tag".
func (f Flat) Expand() string {
	root := &node{}
	for k, raw := range f {
		n := root
		for part := range strings.SplitSeq(k, ".") {
			n = n.child(part)
		}
		n.value = raw
	}
	return string(root.append(nil))
}

type node struct {
	value    json.RawMessage
	children map[string]*node
}

func (n *node) child(name string) *node {
	if n.children == nil {
		n.children = make(map[string]*node)
	}
	c, ok := n.children[name]
	if !ok {
		c = &node{}
		n.children[name] = c
	}
	return c
}

func (n *node) append(b []byte) []byte {
	if len(n.children) == 0 {
		if n.value == nil {
			return append(b, "{}"...)
		}
		return append(b, n.value...)
	}
	b = append(b, '{')
	if n.value != nil && string(n.value) != "{}" {
		b = append(append(b, `"@tag":`...), n.value...)
		b = append(b, ',')
	}
	for _, k := range slices.Sorted(maps.Keys(n.children)) {
		b = append(appendString(b, k), ':')
		b = append(n.children[k].append(b), ',')
	}
	b[len(b)-1] = '}'
	return b
}
