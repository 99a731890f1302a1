package rest

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// keyLooks is how often it is looked whether a key that something runs with
// still exists. Two looks in a row must miss it.
const keyLooks = 400 * time.Millisecond

// watches end what runs with a key that was dropped: polls and streams may
// last for hours.
type watches struct {
	keys  Keys
	every time.Duration

	mu sync.Mutex
	by map[string]*watch // by secret
}

// watch is of one key, as long as something runs with it.
type watch struct {
	ctx    context.Context //nolint:containedctx // ends with the key
	cancel context.CancelFunc
	timer  *time.Timer
	users  int
	missed bool
}

func newWatches(k Keys) *watches {
	return &watches{keys: k, every: keyLooks, by: make(map[string]*watch)}
}

// enter returns a context that ends with the key too. Call leave at the end.
func (w *watches) enter(ctx context.Context, secret string) (of context.Context, leave func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	x, ok := w.by[secret]
	if !ok {
		x = &watch{}
		x.ctx, x.cancel = context.WithCancel(context.Background())
		x.timer = time.AfterFunc(w.every, func() { w.look(secret, x) })
		w.by[secret] = x
	}
	x.users++
	of, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(x.ctx, cancel)
	return of, func() {
		stop()
		cancel()
		w.leave(secret, x)
	}
}

func (w *watches) leave(secret string, x *watch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if x.users--; x.users > 0 {
		return
	}
	x.timer.Stop()
	x.cancel()
	if w.by[secret] == x {
		delete(w.by, secret)
	}
}

func (w *watches) look(secret string, x *watch) {
	_, exists := w.keys.Find(secret)
	w.mu.Lock()
	defer w.mu.Unlock()
	if x.users == 0 {
		return
	}
	if !exists && x.missed {
		x.cancel()
		if w.by[secret] == x {
			delete(w.by, secret) // the key may be made again
		}
		return
	}
	x.missed = !exists
	x.timer.Reset(w.every)
}

// revocable ends requests whose key is dropped while they run. A feed of news
// looks itself, and says why it ends.
func (s *server) revocable(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !needsKey(r) || isFeed(r) {
			next.ServeHTTP(w, r)
			return
		}
		ctx, leave := s.watches.enter(r.Context(), secretOf(r))
		defer leave()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
