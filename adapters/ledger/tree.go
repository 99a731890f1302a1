package ledger

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"sync"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
)

// What a store may offer beyond [es.Store].
type (
	// leafReader yields leaf hashes without the events.
	leafReader interface {
		LeafHashes(ctx context.Context, from, to es.Position) iter.Seq2[es.Hash, error]
	}
	// rooted knows the tree's root itself.
	rooted interface {
		Root() (size uint64, root es.Hash)
	}
	// entryReader returns events as they were hashed.
	entryReader interface {
		Entry(ctx context.Context, p es.Position) (ledger.Entry, error)
	}
)

// Tree is the Merkle tree over a log. It is safe for concurrent use.
type Tree struct {
	store  es.Store
	files  files
	logger *slog.Logger

	mu    sync.Mutex
	size  uint64
	edge  [maxLevel + 1][]es.Hash // the last tile of each level, never full
	cache cache
	ready bool // the edge was read
}

// doubted is how many leaves lie below the tiles that a power loss may have
// taken.
const doubted = 1 << 17

// errTiles says that the tiles on disk do not make the tree's root.
var errTiles = errors.New("the tiles do not make the root of the log")

// newTree returns the tree of a store, which has not looked at anything yet.
func newTree(store es.Store, f files, logger *slog.Logger) (*Tree, error) {
	if c := store.Caps(); !c.MerkleProofs {
		return nil, fmt.Errorf("store %q: %w", c.Name, ledger.ErrUnprovable)
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Tree{store: store, files: f, logger: logger, cache: newCache()}, nil
}

// Root takes in what the log holds by now and returns the size and the root of
// its tree. When the store knows the root itself, they are the same.
func (t *Tree) Root(ctx context.Context) (size uint64, root es.Hash, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.catchUp(ctx)
}

func (t *Tree) catchUp(ctx context.Context) (uint64, es.Hash, error) {
	size, want, known, err := t.target(ctx)
	if err != nil {
		return 0, es.Hash{}, err
	}
	if t.ready && size < t.size { // a newer reader was here in between
		return t.size, t.edgeRoot(), nil
	}
	err = t.advance(ctx, size, known)
	if wrong := func() bool { return err == nil && known && t.edgeRoot() != want }; wrong() && size > doubted {
		// A power loss takes the newest tiles, which were not synced.
		t.logger.Warn("the newest tiles of the log are made anew", "size", size, "reason", errTiles)
		err = t.restore(ctx, size, size-doubted)
	}
	if err == nil && known && t.edgeRoot() != want {
		t.logger.Warn("tiles of the log are made anew", "size", size, "reason", errTiles)
		err = t.remake(ctx, size)
		if err == nil && known && t.edgeRoot() != want {
			err = fmt.Errorf("%w: its events do not make the root %s of %d events", es.ErrCorrupt, want, size)
		}
	}
	return t.size, t.edgeRoot(), err
}

// target is up to where the tree is to be made, and its root if the store
// knows it.
func (t *Tree) target(ctx context.Context) (size uint64, root es.Hash, known bool, err error) {
	if s, ok := t.store.(rooted); ok {
		size, root = s.Root()
		return size, root, true, ctx.Err()
	}
	head, err := t.store.Head(ctx)
	return uint64(head), es.Hash{}, false, err
}

// advance makes the tree grow to size. The first time the edge is taken from
// the tiles on disk, if there is a root to check it by.
func (t *Tree) advance(ctx context.Context, size uint64, checkable bool) error {
	if !t.ready {
		if !checkable || t.files.dir == "" {
			return t.remake(ctx, size)
		}
		if err := t.restore(ctx, size, size); err != nil {
			return err
		}
		t.ready = true
		return nil
	}
	return t.grow(ctx, size)
}

func (t *Tree) remake(ctx context.Context, size uint64) error {
	t.size, t.edge, t.cache = 0, [maxLevel + 1][]es.Hash{}, newCache()
	err := t.grow(ctx, size)
	t.ready = err == nil
	return err
}

// leaves yields the leaf hashes of [from, to).
func (t *Tree) leaves(ctx context.Context, from, to uint64) iter.Seq2[es.Hash, error] {
	if from >= to {
		return func(func(es.Hash, error) bool) {}
	}
	if r, ok := t.store.(leafReader); ok {
		return r.LeafHashes(ctx, es.Position(from), es.Position(to))
	}
	return func(yield func(es.Hash, error) bool) {
		for e, err := range t.store.ReadAll(ctx, es.Position(from), es.Forward, es.Filter{}, int(to-from)) {
			if !yield(e.Leaf, err) || err != nil {
				return
			}
		}
	}
}

// grow adds leaves until there are size of them.
func (t *Tree) grow(ctx context.Context, size uint64) error {
	for h, err := range t.leaves(ctx, t.size, size) {
		if err != nil {
			return err
		}
		t.add(h)
	}
	if t.size < size {
		return fmt.Errorf("%w: the log ends at %d, not at %d", es.ErrCorrupt, t.size, size)
	}
	return nil
}

// add puts a leaf to the edge; tiles that become full go to disk.
func (t *Tree) add(h es.Hash) {
	for level := range t.edge {
		t.edge[level] = append(t.edge[level], h)
		if len(t.edge[level]) < tileWidth {
			break
		}
		full := t.edge[level]
		t.edge[level] = make([]es.Hash, 0, tileWidth)
		index := t.size >> (tileHeight * (level + 1))
		t.cache.put(tileID{level, index}, full)
		t.keep(level, index, full)
		h = perfect(full)
	}
	t.size++
}

// keep writes a full tile. What cannot be written is made anew when it is asked
// for.
func (t *Tree) keep(level int, index uint64, hashes []es.Hash) {
	path := ledger.TilePath(level, index, tileWidth)
	b := join(hashes)
	if old := t.files.readTile(path, len(b)); slices.Equal(old, b) {
		return
	}
	if err := t.files.writeTile(path, b); err != nil {
		t.logger.Warn("a tile of the log cannot be written", "tile", path, "error", err)
		return
	}
	t.files.removePartial(path)
}

// restore reads the right edge of a tree of that size. Tiles over the leaves
// below trusted are taken as they are, if they are there; the root shows whether
// they are right. The others are made from the leaves.
func (t *Tree) restore(ctx context.Context, size, trusted uint64) error {
	t.cache = newCache()
	t.size, t.edge = size, [maxLevel + 1][]es.Hash{}
	for h, err := range t.leaves(ctx, size&^(tileWidth-1), size) {
		if err != nil {
			return err
		}
		t.edge[0] = append(t.edge[0], h)
	}
	for level := 1; level <= maxLevel; level++ {
		end := size >> (tileHeight * level)
		for i := end &^ (tileWidth - 1); i < end; i++ {
			h, err := t.tileHash(ctx, level-1, i, trusted)
			if err != nil {
				return err
			}
			t.edge[level] = append(t.edge[level], h)
		}
	}
	return nil
}

// edgeRoot is the root of the whole tree.
func (t *Tree) edgeRoot() es.Hash {
	var root *es.Hash
	for level := range t.edge {
		row := t.edge[level]
		for end := len(row); end > 0; {
			n := end & -end // the last perfect tree among them
			h := perfect(row[end-n : end])
			if root != nil {
				h = nodeHash(&h, root)
			}
			root, end = &h, end-n
		}
	}
	if root == nil {
		return sha256.Sum256(nil)
	}
	return *root
}
