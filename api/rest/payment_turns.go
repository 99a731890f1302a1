package rest

import (
	"context"
	"sync"
)

// turns lets requests about one thing go one after the other, in the order in
// which they asked. Clients release an allocation while they still accept
// bills from it; what came later has to wait.
type turns struct {
	mu   sync.Mutex
	held map[string]*turn
}

type turn struct {
	free    chan struct{} // holds a value when it is nobody's turn
	waiting int           // including the one whose turn it is; guarded by turns.mu
}

func newTurns() *turns { return &turns{held: make(map[string]*turn)} }

// take waits for the turn of key, or until ctx ends. Call done when it is over.
func (t *turns) take(ctx context.Context, key string) (done func(), err error) {
	t.mu.Lock()
	w, ok := t.held[key]
	if !ok {
		w = &turn{free: make(chan struct{}, 1)}
		w.free <- struct{}{}
		t.held[key] = w
	}
	w.waiting++
	t.mu.Unlock()
	select {
	case <-w.free:
		return func() { w.free <- struct{}{}; t.leave(key, w) }, nil
	case <-ctx.Done():
		t.leave(key, w)
		return nil, ctx.Err()
	}
}

func (t *turns) leave(key string, w *turn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if w.waiting--; w.waiting == 0 {
		delete(t.held, key)
	}
}
