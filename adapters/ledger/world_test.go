package ledger

import (
	"context"
	"encoding/binary"
	"iter"
	"sync"
	"testing"

	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
)

var realDisk = vfs.Files{FS: vfs.OS{}}

// leafStore is a log of which there are only leaves. The leaf at p is the hash
// of p and a seed.
type leafStore struct {
	es.Store // nothing else is asked
	mu       sync.Mutex
	size     uint64
	edge     [64]es.Hash // perfect trees by height, for the root
	seed     byte
	reads    int // leaves that were read
}

func (s *leafStore) leaf(p uint64) es.Hash {
	return es.Hash(rfc6962.DefaultHasher.HashLeaf(binary.BigEndian.AppendUint64([]byte{s.seed}, p)))
}

func (s *leafStore) grow(to uint64) *leafStore {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.size < to {
		s.put(s.leaf(s.size))
	}
	return s
}

func (s *leafStore) put(h es.Hash) {
	level := 0
	for ; s.size>>level&1 == 1; level++ {
		h = nodeHash(&s.edge[level], &h)
	}
	s.edge[level] = h
	s.size++
}

func (s *leafStore) Root() (uint64, es.Hash) {
	s.mu.Lock()
	defer s.mu.Unlock()
	root, any := es.Hash(rfc6962.DefaultHasher.EmptyRoot()), false
	for level := range s.edge {
		switch {
		case s.size>>level&1 == 0:
		case !any:
			root, any = s.edge[level], true
		default:
			root = nodeHash(&s.edge[level], &root)
		}
	}
	return s.size, root
}

func (s *leafStore) Caps() es.Caps { return es.Caps{Name: "leaves", MerkleProofs: true} }

func (s *leafStore) Head(context.Context) (es.Position, error) { return es.Position(s.size), nil }

func (s *leafStore) LeafHashes(ctx context.Context, from, to es.Position) iter.Seq2[es.Hash, error] {
	return func(yield func(es.Hash, error) bool) {
		for p := from; p < to; p++ {
			s.reads++
			if !yield(s.leaf(uint64(p)), ctx.Err()) {
				return
			}
		}
	}
}

// hashes is the tree of the second opinion.
type hashes []tlog.Hash

func (h *hashes) add(t testing.TB, s *leafStore, p uint64) {
	more, err := tlog.StoredHashesForRecordHash(int64(p), tlog.Hash(s.leaf(p)), *h)
	if err != nil {
		t.Fatal(err)
	}
	*h = append(*h, more...)
}

// ReadHashes implements tlog.HashReader.
func (h hashes) ReadHashes(at []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(at))
	for i, n := range at {
		out[i] = h[n]
	}
	return out, nil
}

func treeOf(t testing.TB, s es.Store, f files) *Tree {
	t.Helper()
	tree, err := newTree(s, f, nil)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}
