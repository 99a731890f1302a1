// Package pmap is a map that is never changed: Set returns a new map that
// shares nearly everything with the old one. States of aggregates are values
// that are kept and handed around, and a long agreement has many documents, so
// copying a whole map for every fact would not do.
package pmap

import "iter"

const (
	bits = 4
	fan  = 1 << bits
	deep = 64 / bits
)

// Map is an immutable map from text. The zero Map is empty.
type Map[V any] struct {
	root *node[V]
	size int
}

type node[V any] struct {
	kids [fan]*node[V]
	vals []pair[V] // at the last level, or a lone leaf
	leaf bool
}

type pair[V any] struct {
	key string
	val V
}

// Len is the number of keys.
func (m Map[V]) Len() int { return m.size }

// Get returns the value of a key.
func (m Map[V]) Get(key string) (V, bool) {
	h := hash(key)
	n := m.root
	for n != nil && !n.leaf {
		n = n.kids[h%fan]
		h >>= bits
	}
	if n != nil {
		for _, p := range n.vals {
			if p.key == key {
				return p.val, true
			}
		}
	}
	var zero V
	return zero, false
}

// Set is the map with one value changed or added.
func (m Map[V]) Set(key string, v V) Map[V] {
	size := m.size
	if _, ok := m.Get(key); !ok {
		size++
	}
	return Map[V]{root: m.root.set(hash(key), 0, pair[V]{key, v}), size: size}
}

func (n *node[V]) set(h uint64, depth int, p pair[V]) *node[V] {
	if n == nil {
		return &node[V]{leaf: true, vals: []pair[V]{p}}
	}
	if !n.leaf {
		c := *n
		c.kids[h%fan] = n.kids[h%fan].set(h>>bits, depth+1, p)
		return &c
	}
	if n.vals[0].key == p.key || depth == deep {
		return n.replaced(p)
	}
	// Two keys in one leaf: push the old one a level down, then add the new.
	c := &node[V]{}
	old := hash(n.vals[0].key) >> (bits * depth)
	c.kids[old%fan] = n
	c.kids[h%fan] = c.kids[h%fan].set(h>>bits, depth+1, p)
	return c
}

func (n *node[V]) replaced(p pair[V]) *node[V] {
	vals := make([]pair[V], 0, len(n.vals)+1)
	for _, old := range n.vals {
		if old.key != p.key {
			vals = append(vals, old)
		}
	}
	return &node[V]{leaf: true, vals: append(vals, p)}
}

// All yields all pairs, in an order that depends on the keys alone.
func (m Map[V]) All() iter.Seq2[string, V] {
	return func(yield func(string, V) bool) { m.root.walk(yield) }
}

func (n *node[V]) walk(yield func(string, V) bool) bool {
	if n == nil {
		return true
	}
	for _, p := range n.vals {
		if !yield(p.key, p.val) {
			return false
		}
	}
	for _, k := range n.kids {
		if !k.walk(yield) {
			return false
		}
	}
	return true
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
