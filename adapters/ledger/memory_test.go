package ledger

import (
	"context"
	"iter"
	"sync"

	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/es"
)

// memoryLog is a store in memory with a tree, for tests in fake time. The leaf
// of an event is made of its id.
type memoryLog struct {
	*memory.Store
	mu   sync.Mutex
	tree leafStore
}

func newMemoryLog() *memoryLog { return &memoryLog{Store: memory.New()} }

func (m *memoryLog) LogID() [16]byte { return [16]byte{0xab} }

func (m *memoryLog) Caps() es.Caps { return es.Caps{Name: "memory with a tree", MerkleProofs: true} }

func (m *memoryLog) LeafHashes(ctx context.Context, from, to es.Position) iter.Seq2[es.Hash, error] {
	return func(yield func(es.Hash, error) bool) {
		for e, err := range m.ReadAll(ctx, from, es.Forward, es.Filter{}, int(to-from)) {
			if !yield(es.Hash(rfc6962.DefaultHasher.HashLeaf(e.ID[:])), err) || err != nil {
				return
			}
		}
	}
}

func (m *memoryLog) Root() (uint64, es.Hash) {
	m.mu.Lock()
	defer m.mu.Unlock()
	head, _ := m.Head(context.Background())
	if m.tree.size < uint64(head) {
		for h := range m.LeafHashes(context.Background(), es.Position(m.tree.size), head) {
			m.tree.put(h)
		}
	}
	return m.tree.Root()
}
