package segment

import (
	"crypto/sha256"

	"github.com/emet-node/emet/adapters/store/leaf"
	"github.com/emet-node/emet/domain/es"
)

// tree is the right edge of the tree over the events.
type tree = leaf.Edge

// link extends the chain of frames by the leaves of one.
func link(chain es.Hash, leaves []es.Hash) es.Hash {
	var small [8 * sha256.Size]byte
	b := append(small[:0], chain[:]...)
	for i := range leaves {
		b = append(b, leaves[i][:]...)
	}
	return sha256.Sum256(b)
}
