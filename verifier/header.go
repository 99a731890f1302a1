package verifier

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"time"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
)

// leaf is the header of an event.
type leaf struct {
	position, revision uint64
	stream, kind       string
	id                 [16]byte
	recorded           time.Time
	previous           [32]byte
	data, meta         [32]byte
	subject            string
	sealed             bool
	hash               [32]byte // in the tree
}

var errHeader = errors.New("the header of the event does not add up")

// readLeaf reads the header of an event, which docs/formats.md lays out.
func readLeaf(b []byte) (l leaf, err error) {
	copy(l.hash[:], rfc6962.DefaultHasher.HashLeaf(b))
	r := bytes.NewBuffer(b)
	next := func(n int) []byte {
		out := r.Next(n)
		if len(out) < n {
			err = errHeader
			return make([]byte, n)
		}
		return out
	}
	number := func() uint64 { return binary.LittleEndian.Uint64(next(8)) }
	text := func() string { return string(next(int(binary.LittleEndian.Uint16(next(2))))) }
	version := next(1)[0]
	l.position, l.stream, l.revision = number(), text(), number()
	copy(l.id[:], next(16))
	l.kind = text()
	nanos := number()
	content, flags := next(1)[0], next(1)[0]
	copy(l.previous[:], next(32))
	copy(l.data[:], next(32))
	copy(l.meta[:], next(32))
	l.subject = text()
	if r.Len() > 0 || version != 1 || flags != 0 || content != 1 && content != 2 || nanos > math.MaxInt64 || l.revision > math.MaxInt64 {
		return l, errHeader
	}
	l.recorded, l.sealed = time.Unix(0, int64(nanos)).UTC(), content == 2
	return l, err
}

// in says whether the leaf is in the tree of a checkpoint.
func (l leaf) in(n note, hashes [][]byte) bool {
	return l.position < n.size && proof.VerifyInclusion(rfc6962.DefaultHasher, l.position, n.size, l.hash[:], hashes, n.root) == nil
}

// commits says whether a header's commitment is to a content.
func commits(to [32]byte, salt, content []byte) bool {
	return len(salt) == 16 && sha256.Sum256(slices.Concat([]byte{2}, salt, content)) == to
}

var errSealed = errors.New("the key does not open the content")

// unseal opens sealed content with the key of its event.
func (l leaf) unseal(key, b []byte) ([]byte, error) {
	if len(key) != 32 || len(b) < 21 || b[0] != 1 {
		return nil, errSealed
	}
	both, err := hkdf.Expand(sha256.New, key, "emet/seal/1", 64)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(both[:32])
	if err != nil {
		return nil, err
	}
	gcm, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return gcm.Open(nil, b[9:21], b[21:], slices.Concat([]byte(l.stream), []byte{0}, []byte(l.kind), []byte{0}, l.id[:]))
}
