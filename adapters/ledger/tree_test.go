package ledger

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
)

func slicesOf(hashes []es.Hash) [][]byte {
	out := make([][]byte, len(hashes))
	for i := range hashes {
		out[i] = hashes[i][:]
	}
	return out
}

func same(got []es.Hash, want []tlog.Hash) bool {
	return slices.EqualFunc(got, want, func(a es.Hash, b tlog.Hash) bool { return a == es.Hash(b) })
}

// both holds the proofs for one pair against two other programs. The roots are
// those that tlog computes.
func both(t *testing.T, tree *Tree, s *leafStore, other hashes, index, size uint64) {
	t.Helper()
	root, err := tlog.TreeHash(int64(size), other)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tree.RootAt(t.Context(), size); err != nil || got != es.Hash(root) {
		t.Fatalf("root of %d: %s, %v", size, got, err)
	}
	leaf := s.leaf(index)
	inclusion, err := tree.InclusionProof(t.Context(), es.Position(index), size)
	if err != nil {
		t.Fatalf("inclusion of %d in %d: %v", index, size, err)
	}
	if err := proof.VerifyInclusion(rfc6962.DefaultHasher, index, size, leaf[:], slicesOf(inclusion), root[:]); err != nil {
		t.Fatalf("inclusion of %d in %d: %v", index, size, err)
	}
	if want, err := tlog.ProveRecord(int64(size), int64(index), other); err != nil || !same(inclusion, want) {
		t.Fatalf("inclusion of %d in %d is not that of tlog, %v", index, size, err)
	}
	from := index + 1
	old, err := tlog.TreeHash(int64(from), other)
	if err != nil {
		t.Fatal(err)
	}
	consistency, err := tree.ConsistencyProof(t.Context(), from, size)
	if err != nil {
		t.Fatalf("from %d to %d: %v", from, size, err)
	}
	if err := proof.VerifyConsistency(rfc6962.DefaultHasher, from, size, slicesOf(consistency), old[:], root[:]); err != nil {
		t.Fatalf("from %d to %d: %v", from, size, err)
	}
	if want, err := tlog.ProveTree(int64(size), int64(from), other); err != nil || !same(consistency, want) {
		t.Fatalf("from %d to %d is not that of tlog, %v", from, size, err)
	}
}

// Two other programs agree with every proof of every small tree, whether it is
// asked for while the log grows or afterwards.
func TestSmallTreesAreProvedAsOthersProveThem(t *testing.T) {
	t.Parallel()
	const most = 300
	s, other := &leafStore{}, hashes{}
	tree := treeOf(t, s, files{dir: t.TempDir(), disk: realDisk})
	for size := uint64(1); size <= most; size++ {
		other.add(t, s, size-1)
		s.grow(size)
		for index := range size {
			both(t, tree, s, other, index, size)
		}
	}
	late := treeOf(t, s, files{dir: t.TempDir(), disk: realDisk})
	for size := uint64(1); size <= most; size += 7 {
		for index := range size {
			both(t, late, s, other, index, size)
		}
	}
}

func TestLargeTreesAreProvedAsOthersProveThem(t *testing.T) {
	t.Parallel()
	const most = 1<<17 + 3*256 + 77
	dir := t.TempDir()
	s, other := &leafStore{}, hashes{}
	for p := range uint64(most) {
		other.add(t, s, p)
	}
	s.grow(most)
	grown := treeOf(t, s, files{dir: dir, disk: realDisk})
	r := rand.New(rand.NewPCG(1, 2))
	check := func(tree *Tree) {
		for range 300 {
			size := r.Uint64N(most) + 1
			both(t, tree, s, other, r.Uint64N(size), size)
		}
		for _, size := range []uint64{255, 256, 257, 65535, 65536, 65537, 1 << 17, most} {
			for _, index := range []uint64{0, 1, size / 2, size - 1} {
				both(t, tree, s, other, index, size)
			}
		}
	}
	check(grown)
	s.reads = 0
	check(treeOf(t, s, files{dir: dir, disk: realDisk})) // from the tiles on disk
	if s.reads > tileWidth {
		t.Errorf("%d leaves were read although the tiles are there", s.reads)
	}
	check(treeOf(t, s, files{})) // without any
}

func TestThereAreNoProofsOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	tree := treeOf(t, (&leafStore{}).grow(300), files{dir: t.TempDir(), disk: realDisk})
	ctx := t.Context()
	_, beyond := tree.InclusionProof(ctx, 5, 301)
	_, outside := tree.InclusionProof(ctx, 5, 5)
	_, backward := tree.ConsistencyProof(ctx, 6, 5)
	_, future := tree.ConsistencyProof(ctx, 6, 301)
	_, fromNothing := tree.ConsistencyProof(ctx, 0, 301)
	_, root := tree.RootAt(ctx, 301)
	for i, err := range []error{beyond, outside, backward, future, fromNothing, root} {
		if !errors.Is(err, ledger.ErrRange) {
			t.Errorf("%d: %v", i, err)
		}
	}
	if p, err := tree.ConsistencyProof(ctx, 0, 300); err != nil || len(p) != 0 {
		t.Errorf("from the empty tree: %v, %v", p, err)
	}
	if p, err := tree.ConsistencyProof(ctx, 300, 300); err != nil || len(p) != 0 {
		t.Errorf("between equals: %v, %v", p, err)
	}
}

func TestAStoreWithoutATreeIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := newTree(plain{}, files{}, nil); !errors.Is(err, ledger.ErrUnprovable) {
		t.Error(err)
	}
}

type plain struct{ es.Store }

func (plain) Caps() es.Caps { return es.Caps{Name: "plain"} }
