package ledger

import (
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
)

const (
	tileHeight = ledger.TileHeight
	tileWidth  = ledger.TileWidth
	maxLevel   = ledger.MaxTileLevel
)

// row returns the hashes of a tile as far as there are any: a full tile, or
// that part of the last one of its level that is there.
func (t *Tree) row(ctx context.Context, level int, index uint64) ([]es.Hash, error) {
	last := t.size >> (tileHeight * (level + 1))
	if index == last {
		return t.edge[level], nil
	}
	return t.full(ctx, level, index)
}

// full returns a full tile. Its file is believed only when its hashes make the
// one that the tile above has for it.
func (t *Tree) full(ctx context.Context, level int, index uint64) ([]es.Hash, error) {
	id := tileID{level, index}
	if hashes := t.cache.get(id); hashes != nil {
		return hashes, nil
	}
	above, err := t.row(ctx, level+1, index>>tileHeight)
	if err != nil {
		return nil, err
	}
	want := above[index&(tileWidth-1)]
	if b := t.files.readTile(ledger.TilePath(level, index, tileWidth), tileWidth*sha256.Size); b != nil {
		if hashes := split(b); perfect(hashes) == want {
			t.cache.put(id, hashes)
			return hashes, nil
		}
	}
	hashes, err := t.mend(ctx, level, index, want)
	if err != nil {
		return nil, err
	}
	t.cache.put(id, hashes)
	return hashes, nil
}

// mend makes a tile whose file is missing or damaged: from the tiles below, or
// if those are not right either, from the leaves.
func (t *Tree) mend(ctx context.Context, level int, index uint64, want es.Hash) ([]es.Hash, error) {
	t.logger.Warn("a tile of the log is made anew", "tile", ledger.TilePath(level, index, tileWidth))
	for _, trusted := range []uint64{t.size, 0} {
		hashes, err := t.derive(ctx, level, index, trusted)
		if err != nil {
			return nil, err
		}
		if perfect(hashes) == want {
			t.keep(level, index, hashes)
			return hashes, nil
		}
	}
	return nil, fmt.Errorf("%w: the events do not make tile %s", es.ErrCorrupt, ledger.TilePath(level, index, tileWidth))
}

// tileHash returns the root of a tile, from its file if that is there and lies
// over leaves below trusted.
func (t *Tree) tileHash(ctx context.Context, level int, index, trusted uint64) (es.Hash, error) {
	if (index+1)<<(tileHeight*(level+1)) <= trusted {
		if b := t.files.readTile(ledger.TilePath(level, index, tileWidth), tileWidth*sha256.Size); b != nil {
			return perfect(split(b)), nil
		}
	}
	hashes, err := t.derive(ctx, level, index, trusted)
	if err != nil {
		return es.Hash{}, err
	}
	t.keep(level, index, hashes)
	return perfect(hashes), nil
}

// derive computes a tile. Files of tiles below are used unseen when they lie over
// leaves below trusted.
func (t *Tree) derive(ctx context.Context, level int, index, trusted uint64) ([]es.Hash, error) {
	hashes := make([]es.Hash, 0, tileWidth)
	if level == 0 {
		for h, err := range t.leaves(ctx, index<<tileHeight, (index+1)<<tileHeight) {
			if err != nil {
				return nil, err
			}
			hashes = append(hashes, h)
		}
		if len(hashes) != tileWidth {
			return nil, fmt.Errorf("%w: %d leaves of a tile of %d", es.ErrCorrupt, len(hashes), tileWidth)
		}
		return hashes, nil
	}
	for i := index << tileHeight; i < (index+1)<<tileHeight; i++ {
		below, err := t.tileHash(ctx, level-1, i, trusted)
		if err != nil {
			return nil, err
		}
		hashes = append(hashes, below)
	}
	return hashes, nil
}

// Tile implements [ledger.Ledger].
func (t *Tree) Tile(ctx context.Context, level int, index uint64, width int) ([]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if level < 0 || level > maxLevel || width < 1 || width > tileWidth {
		return nil, fmt.Errorf("%w: tile of level %d and width %d", ledger.ErrRange, level, width)
	}
	there := func() bool {
		n := t.size >> (tileHeight * level) // hashes of the level
		return index < n>>tileHeight || index == n>>tileHeight && uint64(width) <= n&(tileWidth-1)
	}
	if !t.ready || !there() {
		if _, _, err := t.catchUp(ctx); err != nil {
			return nil, err
		}
	}
	if !there() {
		return nil, fmt.Errorf("%w: tile %s of a log of %d events", ledger.ErrRange, ledger.TilePath(level, index, width), t.size)
	}
	hashes, err := t.row(ctx, level, index)
	if err != nil {
		return nil, err
	}
	return join(hashes[:width]), nil
}

// publish writes those tiles of a tree of that size which are not full, so that
// the files alone prove everything about it.
func (t *Tree) publish(size uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for level, row := range t.edge {
		n := size >> (tileHeight * level)
		width := int(n & (tileWidth - 1))
		if width == 0 || n>>tileHeight != t.size>>(tileHeight*(level+1)) {
			continue // nothing there, or full by now
		}
		path := ledger.TilePath(level, n>>tileHeight, width)
		if err := t.files.writeTile(path, join(row[:width])); err != nil {
			t.logger.Warn("a tile of the log cannot be written", "tile", path, "error", err)
		}
	}
}
