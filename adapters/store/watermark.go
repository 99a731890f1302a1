package store

import (
	"sync"
	"sync/atomic"

	"github.com/emet-node/emet/domain/es"
)

// Watermark is the number of durable events, told to everyone who waits for it
// to grow. The zero value is at 0.
type Watermark struct {
	head   atomic.Uint64
	mu     sync.Mutex
	moved  chan struct{} // nil while nobody waits
	closed bool
}

// Head is the number of durable events.
func (w *Watermark) Head() es.Position { return es.Position(w.head.Load()) }

// Publish makes everything below p visible.
func (w *Watermark) Publish(p es.Position) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.head.Store(uint64(p))
	w.wake()
}

// Close wakes all who wait, for good.
func (w *Watermark) Close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.wake()
}

func (w *Watermark) wake() {
	if w.moved != nil {
		close(w.moved)
		w.moved = nil
	}
}

// Beyond returns a channel that is closed when the head is above p or the
// watermark was closed; ok is false in the latter case.
func (w *Watermark) Beyond(p es.Position) (moved <-chan struct{}, ok bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.Head() > p || w.closed {
		return closedChannel, !w.closed
	}
	if w.moved == nil {
		w.moved = make(chan struct{})
	}
	return w.moved, true
}

var closedChannel = func() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()
