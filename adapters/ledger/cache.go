package ledger

import (
	"container/list"

	"github.com/emet-node/emet/domain/es"
)

// cachedTiles are 8 KiB each.
const cachedTiles = 512

type tileID struct {
	level int
	index uint64
}

// cache keeps the full tiles that were used last. All in it were checked.
type cache struct {
	order *list.List // of *cached, newest first
	byID  map[tileID]*list.Element
}

type cached struct {
	id     tileID
	hashes []es.Hash
}

func newCache() cache { return cache{order: list.New(), byID: make(map[tileID]*list.Element)} }

func (c *cache) get(id tileID) []es.Hash {
	at, ok := c.byID[id]
	if !ok {
		return nil
	}
	c.order.MoveToFront(at)
	return at.Value.(*cached).hashes //nolint:forcetypeassert // nothing else is put there
}

func (c *cache) put(id tileID, hashes []es.Hash) {
	if at, ok := c.byID[id]; ok {
		at.Value.(*cached).hashes = hashes //nolint:forcetypeassert // as above
		c.order.MoveToFront(at)
		return
	}
	c.byID[id] = c.order.PushFront(&cached{id, hashes})
	if c.order.Len() > cachedTiles {
		last := c.order.Back()
		delete(c.byID, c.order.Remove(last).(*cached).id) //nolint:forcetypeassert // as above
	}
}
