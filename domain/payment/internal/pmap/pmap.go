// Package pmap is a map that is never changed: Set returns a new map that
// shares nearly everything with the old one. States of aggregates are values
// that are kept and handed around, and a long agreement has many documents, so
// copying a whole map for every fact would not do.
package pmap

import (
	"iter"
	"math/bits"
	"slices"
)

// Map is an immutable map from text. The zero Map is empty.
type Map[V any] struct {
	few  []*entry[V] // a short map, in order
	many *node[V]    // more
	size int
}

// short is up to how many entries are a plain list.
const short = 8

// entry is never changed once it is in a map.
type entry[V any] struct {
	rank uint64 // of the key; entries are in the order of their ranks
	key  string
	val  V
}

// node is the entries whose ranks begin alike, or one entry.
type node[V any] struct {
	leaf *entry[V]
	next *node[V] // another entry of the same rank
	kids []*node[V]
	used uint16 // which digits of the rank have a kid
}

const (
	digit = 4 // bits of a rank that a level looks at
	last  = 64 - digit
)

// Len is the number of keys.
func (m Map[V]) Len() int { return m.size }

// Get returns the value of a key.
func (m Map[V]) Get(key string) (v V, ok bool) {
	if e := m.find(key); e != nil {
		return e.val, true
	}
	return v, false
}

func (m Map[V]) find(key string) *entry[V] {
	if m.many == nil {
		for _, e := range m.few {
			if e.key == key {
				return e
			}
		}
		return nil
	}
	n, r := m.many, rank(key)
	for shift := last; n != nil && n.leaf == nil; shift -= digit {
		n = n.kid(r >> shift)
	}
	for ; n != nil; n = n.next {
		if n.leaf.key == key {
			return n.leaf
		}
	}
	return nil
}

// Set is the map with one value changed or added.
func (m Map[V]) Set(key string, v V) Map[V] {
	return m.with(&entry[V]{key: key, val: v}, m.find(key))
}

// Change is the map with the value of one key changed. A key that was not
// there is added: its value was zero.
func (m Map[V]) Change(key string, change func(*V)) Map[V] {
	return m.changed(key, m.find(key), change)
}

// Update is the map with the value of one key changed, if it has the key.
func (m Map[V]) Update(key string, change func(*V)) Map[V] {
	if old := m.find(key); old != nil {
		return m.changed(key, old, change)
	}
	return m
}

func (m Map[V]) changed(key string, old *entry[V], change func(*V)) Map[V] {
	e := &entry[V]{key: key}
	if old != nil {
		e.val = old.val
	}
	change(&e.val)
	return m.with(e, old)
}

// with is the map with one entry more, or with another one in the place of old.
func (m Map[V]) with(e, old *entry[V]) Map[V] {
	if old != nil {
		e.rank = old.rank
	} else {
		e.rank = rank(e.key)
		m.size++
	}
	switch {
	case m.many != nil:
		m.many = m.many.with(e, last)
	case m.size <= short:
		m.few = with(m.few, e)
	default:
		for _, old := range m.few {
			m.many = m.many.with(old, last)
		}
		m.many, m.few = m.many.with(e, last), nil
	}
	return m
}

// with is a list with one entry more, or another one for its key.
func with[V any](list []*entry[V], e *entry[V]) []*entry[V] {
	at := slices.IndexFunc(list, func(x *entry[V]) bool { return x.rank >= e.rank })
	if at < 0 {
		at = len(list)
	}
	for at < len(list) && list[at].rank == e.rank && list[at].key != e.key {
		at++
	}
	if at < len(list) && list[at].key == e.key {
		list = slices.Clone(list)
		list[at] = e
		return list
	}
	longer := make([]*entry[V], 0, len(list)+1)
	return append(append(append(longer, list[:at]...), e), list[at:]...)
}

// kid is the one that a rank leads to, whose next digit is the lowest of r.
func (n *node[V]) kid(r uint64) *node[V] {
	bit, at := n.spot(r)
	if n.used&bit == 0 {
		return nil
	}
	return n.kids[at]
}

func (n *node[V]) spot(r uint64) (bit uint16, at int) {
	bit = 1 << (r % (1 << digit))
	return bit, bits.OnesCount16(n.used & (bit - 1))
}

// with is the node with one entry more, or another one for its key.
func (n *node[V]) with(e *entry[V], shift int) *node[V] {
	switch {
	case n == nil:
		return &node[V]{leaf: e}
	case n.leaf == nil:
		return n.put(e, shift)
	case n.leaf.key == e.key:
		return &node[V]{leaf: e, next: n.next}
	case n.leaf.rank == e.rank:
		return &node[V]{leaf: n.leaf, next: n.next.with(e, shift)}
	}
	// Two keys in one place: both go a level down.
	parent := &node[V]{}
	bit, _ := parent.spot(n.leaf.rank >> shift)
	parent.used, parent.kids = bit, []*node[V]{n}
	return parent.put(e, shift)
}

// put is with for a node that has kids.
func (n *node[V]) put(e *entry[V], shift int) *node[V] {
	bit, at := n.spot(e.rank >> shift)
	c := &node[V]{used: n.used | bit}
	if n.used&bit != 0 {
		c.kids = slices.Clone(n.kids)
		c.kids[at] = n.kids[at].with(e, shift-digit)
		return c
	}
	c.kids = make([]*node[V], 0, len(n.kids)+1)
	c.kids = append(append(append(c.kids, n.kids[:at]...), &node[V]{leaf: e}), n.kids[at:]...)
	return c
}

// All yields all pairs, in an order that depends on the keys alone.
func (m Map[V]) All() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) {
		for _, e := range m.few {
			if !yield(e.key, e.val) {
				return
			}
		}
		m.many.walk(yield)
	}
}

func (n *node[V]) walk(yield func(string, V) bool) bool {
	for e := n; e != nil && e.leaf != nil; e = e.next {
		if !yield(e.leaf.key, e.leaf.val) {
			return false
		}
	}
	if n != nil {
		for _, k := range n.kids {
			if !k.walk(yield) {
				return false
			}
		}
	}
	return true
}

// rank is where a key comes: the digits of its hash, the lowest first.
func rank(s string) uint64 {
	h := bits.ReverseBytes64(hash(s))
	return h<<digit&0xf0f0f0f0f0f0f0f0 | h>>digit&0x0f0f0f0f0f0f0f0f
}

// hash is FNV-1a, mixed so that the low bits depend on all of the text.
func hash(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	return h ^ h>>29
}
