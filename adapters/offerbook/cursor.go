package offerbook

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/props"
	"github.com/emet-node/emet/domain/peer"
)

// Cursor follows the offers that match one demand, or that one scan asks for.
// It is safe for concurrent use; every offer is taken once. Close it.
type Cursor struct {
	book    *Book
	demand  props.Side
	owner   identity.NodeID // its own offers never match
	scan    bool            // only the constraints count, and offers come in order
	linear  bool            // the demand asks for linear prices
	never   bool            // the demand's texts cannot be read
	pending []string        // matches that were not taken
	queued  map[string]bool // those of them that are in the book
	wake    chan struct{}
}

// Open begins to follow a demand. Texts that cannot be read match nothing.
func (b *Book) Open(properties, constraints string, owner identity.NodeID) *Cursor {
	side, err := props.CompileSide(properties, constraints)
	c := &Cursor{book: b, demand: side, owner: owner, never: err != nil}
	if err == nil {
		c.linear = side.Constraints.Mentions("golem.com.pricing.model", "linear")
	}
	return b.follow(c)
}

// Scan begins to follow all offers over whose properties the constraints are
// true; "" takes all. It fails when the constraints cannot be read.
func (b *Book) Scan(constraints string) (*Cursor, error) {
	if constraints == "" {
		constraints = "()"
	}
	e, err := props.Parse(constraints)
	if err != nil {
		return nil, fmt.Errorf("Invalid constraint. %w", err) //nolint:staticcheck // clients know the text
	}
	return b.follow(&Cursor{book: b, demand: props.Side{Constraints: e}, scan: true}), nil
}

func (b *Book) follow(c *Cursor) *Cursor {
	c.wake = make(chan struct{}, 1)
	c.queued = make(map[string]bool)
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	var live []*entry
	for _, e := range b.entries {
		if e.offer.Expires.After(now) {
			live = append(live, e)
		}
	}
	slices.SortFunc(live, func(x, y *entry) int { return cmp.Compare(x.sequence, y.sequence) })
	for _, e := range live {
		c.consider(e)
	}
	b.cursors[c] = struct{}{}
	return c
}

// consider adds the offer to what may be taken. The book's lock is held.
func (c *Cursor) consider(e *entry) {
	if !c.matches(e) || c.queued[e.offer.ID] {
		return
	}
	c.pending = append(c.pending, e.offer.ID)
	c.queued[e.offer.ID] = true
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// forget leaves out an offer that is gone, so that a cursor which nobody asks
// does not remember all that ever matched. The book's lock is held.
func (c *Cursor) forget(e *entry) {
	if !c.queued[e.offer.ID] {
		return
	}
	delete(c.queued, e.offer.ID)
	if len(c.pending) > 2*len(c.queued)+16 {
		c.pending = slices.DeleteFunc(slices.Clone(c.pending), func(id string) bool { return !c.queued[id] })
	}
}

func (c *Cursor) matches(e *entry) bool {
	switch {
	case c.never:
		return false
	case c.scan:
		return c.demand.Constraints.Eval(e.side.Properties).Truth == props.True
	case e.side.Constraints == nil, e.offer.Provider == c.owner, c.linear && e.malformed != "":
		return false
	}
	return props.Match(c.demand, e.side).Yes()
}

// Take hands out at most n matches that live, in random order (a scan: in the
// order they came). Those for which skip says so are dropped; skip may be nil.
// What could not be used is given back with [Cursor.Return].
func (c *Cursor) Take(n int, skip func(offerID string) bool) []peer.Offer {
	now := time.Now()
	c.book.mu.Lock()
	defer c.book.mu.Unlock()
	var out []peer.Offer
	for len(out) < n && len(c.pending) > 0 {
		id := c.next()
		delete(c.queued, id)
		e, ok := c.book.entries[id]
		if ok && e.offer.Expires.After(now) && (skip == nil || !skip(e.offer.ID)) {
			out = append(out, e.offer)
		}
	}
	return out
}

// next removes one of the pending ids.
func (c *Cursor) next() string {
	if c.scan {
		id := c.pending[0]
		c.pending = c.pending[1:]
		return id
	}
	i := c.random(len(c.pending))
	last := len(c.pending) - 1
	id := c.pending[i]
	c.pending[i] = c.pending[last]
	c.pending = c.pending[:last]
	return id
}

func (c *Cursor) random(n int) int {
	if r := c.book.opts.Rand; r != nil {
		return r.IntN(n)
	}
	return rand.IntN(n) //nolint:gosec // fairness, not secrecy
}

// Return makes offers available again: they could not be handed out, or the
// agreement about them is over. Those that are gone or do not match are left out.
func (c *Cursor) Return(offerIDs ...string) {
	c.book.mu.Lock()
	defer c.book.mu.Unlock()
	for _, id := range offerIDs {
		if e, ok := c.book.entries[id]; ok {
			c.consider(e)
		}
	}
}

// Wake yields a value when matches came since it was last read. There may be
// none left by then.
func (c *Cursor) Wake() <-chan struct{} { return c.wake }

// Close ends following.
func (c *Cursor) Close() {
	c.book.mu.Lock()
	defer c.book.mu.Unlock()
	delete(c.book.cursors, c)
}
