package segment

import (
	"crypto/sha256"
	"math/bits"

	"github.com/emet-node/emet/domain/es"
)

// tree is the right edge of an RFC 6962 tree: the roots of its perfect
// subtrees, largest first. That is all that is needed to grow it.
type tree struct {
	size uint64
	edge []es.Hash
}

func (t *tree) add(leaf es.Hash) {
	for range bits.TrailingZeros64(^t.size) {
		last := len(t.edge) - 1
		leaf = nodeHash(t.edge[last], leaf)
		t.edge = t.edge[:last]
	}
	t.edge = append(t.edge, leaf)
	t.size++
}

// root is the hash of the whole tree.
func (t *tree) root() es.Hash {
	if t.size == 0 {
		return sha256.Sum256(nil)
	}
	h := t.edge[len(t.edge)-1]
	for i := len(t.edge) - 2; i >= 0; i-- {
		h = nodeHash(t.edge[i], h)
	}
	return h
}

func (t *tree) clone() tree { return tree{t.size, append([]es.Hash(nil), t.edge...)} }

func nodeHash(l, r es.Hash) es.Hash {
	var b [65]byte
	b[0] = 1
	copy(b[1:], l[:])
	copy(b[33:], r[:])
	return sha256.Sum256(b[:])
}

// link extends the chain of frames by the leaves of one.
func link(chain es.Hash, leaves []es.Hash) es.Hash {
	var small [8 * sha256.Size]byte
	b := append(small[:0], chain[:]...)
	for i := range leaves {
		b = append(b, leaves[i][:]...)
	}
	return sha256.Sum256(b)
}
