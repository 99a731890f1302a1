package ledger

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/transparency-dev/merkle/compact"
	"github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
)

// InclusionProof implements [ledger.Ledger].
func (t *Tree) InclusionProof(ctx context.Context, p es.Position, size uint64) ([]es.Hash, error) {
	if uint64(p) >= size {
		return nil, fmt.Errorf("%w: position %d in a tree of %d events", ledger.ErrRange, p, size)
	}
	nodes, err := proof.Inclusion(uint64(p), size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ledger.ErrRange, err)
	}
	return t.prove(ctx, nodes, size)
}

// ConsistencyProof implements [ledger.Ledger]. Between equal sizes, and from
// the empty tree, there is nothing to prove.
func (t *Tree) ConsistencyProof(ctx context.Context, from, to uint64) ([]es.Hash, error) {
	if from > to {
		return nil, fmt.Errorf("%w: from %d to %d events", ledger.ErrRange, from, to)
	}
	if from == 0 {
		return nil, t.reach(ctx, to)
	}
	nodes, err := proof.Consistency(from, to)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ledger.ErrRange, err)
	}
	return t.prove(ctx, nodes, to)
}

// RootAt is the root of the tree over the first size events.
func (t *Tree) RootAt(ctx context.Context, size uint64) (es.Hash, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.reachLocked(ctx, size); err != nil {
		return es.Hash{}, err
	}
	if size == 0 {
		return sha256.Sum256(nil), nil
	}
	hashes, err := t.nodes(ctx, compact.RangeNodes(0, size, nil))
	if err != nil {
		return es.Hash{}, err
	}
	root := hashes[len(hashes)-1]
	for i := len(hashes) - 2; i >= 0; i-- {
		root = rfc6962.DefaultHasher.HashChildren(hashes[i], root)
	}
	return es.Hash(root), nil
}

func (t *Tree) reach(ctx context.Context, size uint64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.reachLocked(ctx, size)
}

func (t *Tree) reachLocked(ctx context.Context, size uint64) error {
	if t.ready && size <= t.size {
		return ctx.Err()
	}
	if have, _, err := t.catchUp(ctx); err != nil || size <= have {
		return err
	}
	return fmt.Errorf("%w: a tree of %d events, the log has %d", ledger.ErrRange, size, t.size)
}

func (t *Tree) prove(ctx context.Context, nodes proof.Nodes, size uint64) ([]es.Hash, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.reachLocked(ctx, size); err != nil {
		return nil, err
	}
	hashes, err := t.nodes(ctx, nodes.IDs)
	if err != nil {
		return nil, err
	}
	if hashes, err = nodes.Rehash(hashes, rfc6962.DefaultHasher.HashChildren); err != nil {
		return nil, err
	}
	out := make([]es.Hash, len(hashes))
	for i := range hashes {
		out[i] = es.Hash(hashes[i])
	}
	return out, nil
}

// nodes returns the hashes of perfect subtrees.
func (t *Tree) nodes(ctx context.Context, ids []compact.NodeID) ([][]byte, error) {
	out := make([][]byte, len(ids))
	for i, id := range ids {
		level, within := int(id.Level)/tileHeight, id.Level%tileHeight
		first := id.Index << within // among the hashes of that level of tiles
		row, err := t.row(ctx, level, first>>tileHeight)
		if err != nil {
			return nil, err
		}
		at := first & (tileWidth - 1)
		h := perfect(row[at : at+1<<within])
		out[i] = h[:]
	}
	return out, nil
}
