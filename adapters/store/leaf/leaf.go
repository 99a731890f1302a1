// Package leaf makes what the Merkle tree of a log is made of: the header of an
// event in its fixed form, its hash, and the salted commitments to content.
// Engines that keep events in other forms than this store the salts and build
// headers when somebody asks, so that the same event in the same place has the
// same leaf in every engine. docs/formats.md has the form byte by byte.
package leaf

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"math/bits"

	"github.com/emet-node/emet/domain/es"
)

// SaltBytes is the length of a salt.
const SaltBytes = 16

const (
	version      = 1
	contentJSON  = 1
	contentBytes = 2 // sealed content is no JSON
	fixed        = 1 + 8 + 2 + 8 + 16 + 2 + 8 + 1 + 1 + 32 + 32 + 32 + 2
)

// Salts hide content that could be guessed.
type Salts struct{ Data, Meta [SaltBytes]byte }

// Fresh draws the salts of one event.
func Fresh() (s Salts) {
	var b [2 * SaltBytes]byte
	_, _ = rand.Read(b[:]) // never fails
	copy(s.Data[:], b[:])
	copy(s.Meta[:], b[SaltBytes:])
	return s
}

// Bytes are both salts, that of the data first.
func (s Salts) Bytes() []byte { return append(append([]byte(nil), s.Data[:]...), s.Meta[:]...) }

// ParseSalts reads what Bytes wrote.
func ParseSalts(b []byte) (s Salts, ok bool) {
	if len(b) != 2*SaltBytes {
		return s, false
	}
	copy(s.Data[:], b)
	copy(s.Meta[:], b[SaltBytes:])
	return s, true
}

// Header is the leaf of an event: everything about it except its content,
// which it commits to. e.Leaf is not looked at.
func Header(e *es.Event, s Salts) []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, fixed+len(e.Stream)+len(e.Type)+len(e.Subject))
	b = append(b, version)
	b = le.AppendUint64(b, uint64(e.Position))
	b = appendName(b, string(e.Stream))
	b = le.AppendUint64(b, uint64(e.Revision))
	b = append(b, e.ID[:]...)
	b = appendName(b, e.Type)
	b = le.AppendUint64(b, uint64(e.Recorded.UnixNano()))
	content := byte(contentJSON)
	if e.Subject != "" {
		content = contentBytes
	}
	b = append(b, content, 0)
	b = append(b, e.PrevInStream[:]...)
	b = append(b, commitment(s.Data, e.Data)...)
	b = append(b, commitment(s.Meta, e.Meta)...)
	return appendName(b, e.Subject)
}

// Hash is RFC 6962's hash of a leaf.
func Hash(header []byte) es.Hash {
	h := sha256.New()
	h.Write([]byte{0})
	h.Write(header)
	return es.Hash(h.Sum(nil))
}

func appendName(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint16(b, uint16(len(s))), s...)
}

func commitment(salt [SaltBytes]byte, content []byte) []byte {
	h := sha256.New()
	h.Write([]byte{2})
	h.Write(salt[:])
	h.Write(content)
	return h.Sum(nil)
}

// Edge is the right edge of an RFC 6962 tree: the roots of its perfect
// subtrees, largest first. That is all that is needed to grow it.
type Edge struct {
	Size  uint64
	roots []es.Hash
}

// Add appends a leaf.
func (t *Edge) Add(h es.Hash) {
	for n := t.Size; n&1 == 1; n >>= 1 {
		last := len(t.roots) - 1
		h = node(t.roots[last], h)
		t.roots = t.roots[:last]
	}
	t.roots = append(t.roots, h)
	t.Size++
}

// Root is the hash of the whole tree.
func (t *Edge) Root() es.Hash {
	if t.Size == 0 {
		return sha256.Sum256(nil)
	}
	h := t.roots[len(t.roots)-1]
	for i := len(t.roots) - 2; i >= 0; i-- {
		h = node(t.roots[i], h)
	}
	return h
}

func node(l, r es.Hash) es.Hash {
	var b [65]byte
	b[0] = 1
	copy(b[1:], l[:])
	copy(b[33:], r[:])
	return sha256.Sum256(b[:])
}

// Roots are the roots of the perfect subtrees, largest first.
func (t *Edge) Roots() []es.Hash { return append([]es.Hash(nil), t.roots...) }

// Clone is a copy that grows by itself.
func (t *Edge) Clone() Edge { return Edge{t.Size, t.Roots()} }

// Set makes t a copy of another one, in the memory that t has.
func (t *Edge) Set(other *Edge) { t.Size, t.roots = other.Size, append(t.roots[:0], other.roots...) }

// EdgeOf is the edge of a tree of that size; ok is false when the roots cannot be its.
func EdgeOf(size uint64, roots []es.Hash) (e Edge, ok bool) {
	return Edge{size, roots}, bits.OnesCount64(size) == len(roots)
}
