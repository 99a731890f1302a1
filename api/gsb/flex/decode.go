package flex

import (
	"bytes"
	"encoding/binary"
	"math"
)

// Limits of what [Unmarshal] is willing to read.
const (
	MaxDepth = 64
	MaxNodes = 1 << 20
	// maxVisits times the size of the input is what may be looked at, so that
	// values which share bytes cannot blow up. Small inputs get some more.
	maxVisits  = 4
	freeVisits = 4096
)

// Unmarshal reads one value. Strings and blobs are copies. Every error is a
// *[SyntaxError].
func Unmarshal(b []byte) (any, error) {
	if len(b) < 3 {
		return nil, &SyntaxError{Offset: 0, What: "shorter than 3 bytes"}
	}
	d := &decoder{b: b, nodes: MaxNodes, visits: maxVisits*len(b) + freeVisits, keys: make(map[int][]string)}
	width := int(b[len(b)-1])
	packed := b[len(b)-2]
	at := len(b) - 2 - width
	if !validWidth(width) || at < 0 {
		return nil, &SyntaxError{Offset: len(b) - 1, What: "bad width of the root"}
	}
	return d.value(at, width, packed, 0)
}

type decoder struct {
	b             []byte
	nodes, visits int
	keys          map[int][]string // key vectors read so far; maps share them
}

func validWidth(w int) bool { return w == 1 || w == 2 || w == 4 || w == 8 }

func fail(at int, what string) error { return &SyntaxError{Offset: at, What: what} }

// take charges n bytes at a place that must lie in the input.
func (d *decoder) take(at, n int) ([]byte, error) {
	if at < 0 || n < 0 || at > len(d.b)-n {
		return nil, fail(at, "points outside of the buffer")
	}
	if d.visits -= n; d.visits < 0 {
		return nil, fail(at, "reads the same bytes too often")
	}
	return d.b[at : at+n], nil
}

func (d *decoder) uint(at, width int) (uint64, error) {
	b, err := d.take(at, width)
	if err != nil {
		return 0, err
	}
	switch width {
	case 1:
		return uint64(b[0]), nil
	case 2:
		return uint64(binary.LittleEndian.Uint16(b)), nil
	case 4:
		return uint64(binary.LittleEndian.Uint32(b)), nil
	}
	return binary.LittleEndian.Uint64(b), nil
}

func (d *decoder) int(at, width int) (int64, error) {
	u, err := d.uint(at, width)
	shift := 64 - 8*width
	return int64(u<<shift) >> shift, err
}

func (d *decoder) float(at, width int) (float64, error) {
	u, err := d.uint(at, width)
	switch width {
	case 4:
		return float64(math.Float32frombits(uint32(u))), err
	case 8:
		return math.Float64frombits(u), err
	}
	if err == nil {
		err = fail(at, "number with a fraction in fewer than 4 bytes")
	}
	return 0, err
}

// size reads a length, which cannot be more than the input has bytes.
func (d *decoder) size(at, width int) (int, error) {
	u, err := d.uint(at, width)
	if err == nil && u > uint64(len(d.b)) {
		err = fail(at, "length beyond the buffer")
	}
	return int(u), err
}

// follow resolves the backward offset at a place. Offset 0 is what an empty
// vector has.
func (d *decoder) follow(at, width int) (int, error) {
	off, err := d.uint(at, width)
	if err == nil && off > uint64(at) {
		err = fail(at, "offset beyond the buffer")
	}
	return at - int(off), err
}

// value reads the value that stands (or points away) at a place of the given
// parent width.
func (d *decoder) value(at, width int, packed byte, depth int) (any, error) {
	if depth > MaxDepth {
		return nil, fail(at, "nested too deeply")
	}
	if d.nodes--; d.nodes < 0 {
		return nil, fail(at, "too many values")
	}
	k, own := kind(packed>>2), 1<<(packed&3)
	if k.inline() {
		return d.scalar(at, width, k)
	}
	to, err := d.follow(at, width)
	if err != nil {
		return nil, err
	}
	return d.referred(to, own, k, depth)
}

func (d *decoder) scalar(at, width int, k kind) (any, error) {
	switch k {
	case kNull:
		return nil, nil
	case kInt:
		return d.int(at, width)
	case kUInt:
		return d.uint(at, width)
	case kFloat:
		return d.float(at, width)
	}
	u, err := d.uint(at, width)
	return u != 0, err
}

func (d *decoder) referred(to, width int, k kind, depth int) (any, error) {
	switch k {
	case kIndirectInt:
		return d.int(to, width)
	case kIndirectUInt:
		return d.uint(to, width)
	case kIndirectFloat:
		return d.float(to, width)
	case kKey:
		return d.key(to)
	case kString:
		b, err := d.sized(to, width)
		return string(b), err
	case kBlob:
		b, err := d.sized(to, width)
		return append([]byte{}, b...), err
	case kMap:
		return d.object(to, width, depth)
	case kVector:
		return d.vector(to, width, depth)
	}
	if e, ok := k.element(); ok {
		n, err := d.size(to-width, width)
		if err != nil {
			return nil, err
		}
		return d.typed(to, width, n, e, depth)
	}
	if e, n, ok := k.fixed(); ok {
		return d.typed(to, width, n, e, depth)
	}
	return nil, fail(to, "unknown type")
}

// sized reads the bytes after a length.
func (d *decoder) sized(to, width int) ([]byte, error) {
	n, err := d.size(to-width, width)
	if err != nil {
		return nil, err
	}
	return d.take(to, n)
}

// key reads text up to a NUL.
func (d *decoder) key(to int) (string, error) {
	if to < 0 || to >= len(d.b) {
		return "", fail(to, "key outside of the buffer")
	}
	n := bytes.IndexByte(d.b[to:], 0)
	if n < 0 {
		return "", fail(to, "key without an end")
	}
	b, err := d.take(to, n+1)
	if err != nil {
		return "", err
	}
	return string(b[:n]), nil
}

func (d *decoder) vector(to, width, depth int) (any, error) {
	n, err := d.size(to-width, width)
	if err != nil {
		return nil, err
	}
	types, err := d.take(to+n*width, n)
	if err != nil {
		return nil, err
	}
	out := make([]any, 0, min(n, 1024))
	for i := range n {
		v, err := d.value(to+i*width, width, types[i], depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func (d *decoder) typed(to, width, n int, e kind, depth int) (any, error) {
	if e == kString { // the deprecated vector of strings: widths are those of the vector
		e = kKey
	}
	out := make([]any, 0, min(n, 1024))
	for i := range n {
		v, err := d.value(to+i*width, width, byte(e)<<2, depth+1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

func (d *decoder) object(to, width, depth int) (any, error) {
	keys, err := d.mapKeys(to, width)
	if err != nil {
		return nil, err
	}
	values, err := d.vector(to, width, depth)
	if err != nil {
		return nil, err
	}
	list := values.([]any) //nolint:forcetypeassert // that is what vector makes
	if len(list) != len(keys) {
		return nil, fail(to, "map with another number of keys than values")
	}
	out := make(map[string]any, len(keys))
	for i, k := range keys {
		out[k] = list[i]
	}
	return out, nil
}

// mapKeys reads the keys of a map, which lie in a vector of their own that
// several maps may share.
func (d *decoder) mapKeys(to, width int) ([]string, error) {
	at, err := d.follow(to-3*width, width)
	if err != nil {
		return nil, err
	}
	w, err := d.uint(to-2*width, width)
	if err != nil {
		return nil, err
	}
	if !validWidth(int(w)) || w > 8 {
		return nil, fail(to, "bad width of a map's keys")
	}
	if keys, ok := d.keys[at]; ok {
		return keys, nil
	}
	n, err := d.size(at-int(w), int(w))
	if err != nil {
		return nil, err
	}
	if d.nodes -= n; d.nodes < 0 {
		return nil, fail(at, "too many values")
	}
	keys := make([]string, 0, min(n, 1024))
	for i := range n {
		k, err := d.follow(at+i*int(w), int(w))
		if err != nil {
			return nil, err
		}
		text, err := d.key(k)
		if err != nil {
			return nil, err
		}
		keys = append(keys, text)
	}
	d.keys[at] = keys
	return keys, nil
}
