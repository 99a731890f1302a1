package flex

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// ErrUnsupported says that a Go value has no form in FlexBuffers.
var ErrUnsupported = errors.New("flexbuffer: unsupported value")

// Marshal writes one value of the types that the package comment lists. Map
// keys must not contain NUL.
func Marshal(v any) ([]byte, error) {
	e := &encoder{keys: make(map[string]int)}
	r, err := e.value(v, 0)
	if err != nil {
		return nil, err
	}
	w := r.widthAt(len(e.b), 0)
	e.align(w)
	e.put(r, w)
	e.b = append(e.b, r.packed(w), byte(w))
	return e.b, nil
}

// encoder writes children before their parents, as offsets point backward.
type encoder struct {
	b    []byte
	keys map[string]int // where a key was written; written once
}

// ref is a value that is ready to be put into a parent: a scalar in bits, or
// the place it lies at.
type ref struct {
	kind kind
	bits uint64
	at   int
	// own is the width of a scalar, or of what lies at the place.
	own int
}

// widthAt is the smallest width with which the ref fits as i-th element of a
// vector that begins at a place.
func (r ref) widthAt(begin, i int) int {
	if r.kind.inline() {
		return r.own
	}
	for _, w := range []int{1, 2, 4} {
		loc := aligned(begin, w) + i*w
		if uint64(loc-r.at) < 1<<(8*w) {
			return w
		}
	}
	return 8
}

// packed is the type byte of the ref in a parent of a width.
func (r ref) packed(parent int) byte {
	w := r.own
	if r.kind.inline() {
		w = max(w, parent)
	}
	return byte(r.kind)<<2 | log2(w)
}

func log2(w int) byte {
	switch w {
	case 2:
		return 1
	case 4:
		return 2
	case 8:
		return 3
	}
	return 0
}

func aligned(at, w int) int { return (at + w - 1) / w * w }

func (e *encoder) align(w int) {
	for len(e.b)%w != 0 {
		e.b = append(e.b, 0)
	}
}

func (e *encoder) uint(u uint64, w int) {
	var buf [8]byte
	binary.LittleEndian.PutUint64(buf[:], u)
	e.b = append(e.b, buf[:w]...)
}

// put writes a ref as an element of a width.
func (e *encoder) put(r ref, w int) {
	switch {
	case !r.kind.inline():
		e.uint(uint64(len(e.b)-r.at), w)
	case r.kind == kFloat && w == 4:
		e.uint(uint64(math.Float32bits(float32(math.Float64frombits(r.bits)))), w)
	default:
		e.uint(r.bits, w)
	}
}

func (e *encoder) value(v any, depth int) (ref, error) {
	if depth > MaxDepth {
		return ref{}, fmt.Errorf("%w: nested more than %d deep", ErrUnsupported, MaxDepth)
	}
	switch v := v.(type) {
	case nil:
		return ref{kind: kNull, own: 1}, nil
	case bool:
		r := ref{kind: kBool, own: 1}
		if v {
			r.bits = 1
		}
		return r, nil
	case float32:
		return float(float64(v)), nil
	case float64:
		return float(v), nil
	case string:
		return e.sized(kString, []byte(v), true), nil
	case []byte:
		return e.sized(kBlob, v, false), nil
	case []any:
		return e.vector(v, depth)
	case []string:
		list := make([]any, len(v))
		for i, s := range v {
			list[i] = s
		}
		return e.vector(list, depth)
	case map[string]any:
		return e.object(v, depth)
	}
	return integer(v)
}

func integer(v any) (ref, error) {
	switch v := v.(type) {
	case int:
		return signed(int64(v)), nil
	case int8:
		return signed(int64(v)), nil
	case int16:
		return signed(int64(v)), nil
	case int32:
		return signed(int64(v)), nil
	case int64:
		return signed(v), nil
	case uint:
		return unsigned(uint64(v)), nil
	case uint8:
		return unsigned(uint64(v)), nil
	case uint16:
		return unsigned(uint64(v)), nil
	case uint32:
		return unsigned(uint64(v)), nil
	case uint64:
		return unsigned(v), nil
	}
	return ref{}, fmt.Errorf("%w: %T", ErrUnsupported, v)
}

func signed(v int64) ref {
	w := 8
	switch {
	case v == int64(int8(v)):
		w = 1
	case v == int64(int16(v)):
		w = 2
	case v == int64(int32(v)):
		w = 4
	}
	return ref{kind: kInt, bits: uint64(v), own: w}
}

func unsigned(v uint64) ref {
	w := 8
	switch {
	case v < 1<<8:
		w = 1
	case v < 1<<16:
		w = 2
	case v < 1<<32:
		w = 4
	}
	return ref{kind: kUInt, bits: v, own: w}
}

func float(v float64) ref {
	w := 8
	if float64(float32(v)) == v {
		w = 4
	}
	return ref{kind: kFloat, bits: math.Float64bits(v), own: w}
}

// sized writes bytes after their length.
func (e *encoder) sized(k kind, v []byte, nul bool) ref {
	w := unsigned(uint64(len(v))).own
	e.align(w)
	e.uint(uint64(len(v)), w)
	r := ref{kind: k, at: len(e.b), own: w}
	e.b = append(e.b, v...)
	if nul {
		e.b = append(e.b, 0)
	}
	return r
}

// vector writes elements and their types. Numbers all of one kind get no typed
// vector: every reader takes the general form.
func (e *encoder) vector(list []any, depth int) (ref, error) {
	refs := make([]ref, len(list))
	for i, v := range list {
		r, err := e.value(v, depth+1)
		if err != nil {
			return ref{}, err
		}
		refs[i] = r
	}
	return e.elements(kVector, refs, nil), nil
}

func (e *encoder) object(m map[string]any, depth int) (ref, error) {
	names := slices.Sorted(maps.Keys(m))
	values := make([]ref, len(names))
	keys := make([]ref, len(names))
	for i, name := range names {
		if strings.IndexByte(name, 0) >= 0 {
			return ref{}, fmt.Errorf("%w: NUL in key %q", ErrUnsupported, name)
		}
		keys[i] = e.key(name)
		v, err := e.value(m[name], depth+1)
		if err != nil {
			return ref{}, err
		}
		values[i] = v
	}
	k := e.elements(kVectorKey, keys, nil)
	return e.elements(kMap, values, &k), nil
}

func (e *encoder) key(name string) ref {
	at, ok := e.keys[name]
	if !ok {
		at = len(e.b)
		e.keys[name] = at
		e.b = append(append(e.b, name...), 0)
	}
	return ref{kind: kKey, at: at, own: 1}
}

// elements writes a vector, and in front of it the way to its keys if it is a map.
func (e *encoder) elements(k kind, refs []ref, keys *ref) ref {
	prefix := 1
	if keys != nil {
		prefix = 3
	}
	w := unsigned(uint64(len(refs))).own
	if keys != nil {
		w = max(w, keys.widthAt(len(e.b), 0))
	}
	for i, r := range refs {
		w = max(w, r.widthAt(len(e.b), i+prefix))
	}
	e.align(w)
	if keys != nil {
		e.put(*keys, w)
		e.uint(uint64(keys.own), w)
	}
	e.uint(uint64(len(refs)), w)
	out := ref{kind: k, at: len(e.b), own: w}
	for _, r := range refs {
		e.put(r, w)
	}
	if k == kVector || k == kMap {
		for _, r := range refs {
			e.b = append(e.b, r.packed(w))
		}
	}
	return out
}
