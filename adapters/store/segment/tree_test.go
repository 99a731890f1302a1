package segment

import (
	"crypto/sha256"
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
	if grown.root() != sha256.Sum256(nil) {
		t.Error("root of the empty tree")
	}
	for i := range 600 {
		leaf := leafHash(fmt.Append(nil, "leaf ", i))
		if leaf != es.Hash(rfc6962.DefaultHasher.HashLeaf(fmt.Append(nil, "leaf ", i))) {
			t.Fatal("leaf hash differs")
		}
		grown.add(leaf)
		if err := other.Append(leaf[:], nil); err != nil {
			t.Fatal(err)
		}
		want, err := other.GetRootHash(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := grown.root(); got != es.Hash(want) {
			t.Fatalf("root of %d leaves: %s, want %x", i+1, got, want)
		}
	}
}
