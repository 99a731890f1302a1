package segment

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/emet-node/emet/domain/es"
)

func TestTreeIsThatOfRFC6962(t *testing.T) {
	t.Parallel()
	var grown tree
	other := (&compact.RangeFactory{Hash: rfc6962.DefaultHasher.HashChildren}).NewEmptyRange(0)
	if grown.Root() != sha256.Sum256(nil) {
		t.Error("root of the empty tree")
	}
	for i := range 600 {
		leaf := leafHash(fmt.Append(nil, "leaf ", i))
		if leaf != es.Hash(rfc6962.DefaultHasher.HashLeaf(fmt.Append(nil, "leaf ", i))) {
			t.Fatal("leaf hash differs")
		}
		grown.Add(leaf)
		if err := other.Append(leaf[:], nil); err != nil {
			t.Fatal(err)
		}
		want, err := other.GetRootHash(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := grown.Root(); got != es.Hash(want) {
			t.Fatalf("root of %d leaves: %s, want %x", i+1, got, want)
		}
	}
}

// An index whose tree has more or fewer roots than its number of events makes
// is no index: there would be nothing to compute a root from.
func TestAnEdgeOfAnotherSizeIsRefused(t *testing.T) {
	t.Parallel()
	var grown tree
	for i := range 5 {
		grown.Add(leafHash(fmt.Append(nil, i)))
	}
	s := summary{events: 5, tree: grown}
	back, err := decodeSummary(s.encode(), s.header)
	if err != nil || back.tree.Root() != grown.Root() {
		t.Fatalf("read back: %s, %v, want %s", back.tree.Root(), err, grown.Root())
	}
	for _, roots := range []uint32{0, 1, 3, 65} {
		b := s.encode()
		b = append(b, make([]byte, pageBytes-len(b))...)
		le.PutUint32(b[12:], roots)
		if _, err := decodeSummary(b, s.header); !errors.Is(err, errIndex) {
			t.Errorf("%d roots for 5 events: %v", roots, err)
		}
	}
}
