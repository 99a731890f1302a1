package rest

import (
	"bytes"
	"net/http"
	"sync"

	"github.com/labstack/echo/v4"
)

// maxReplays bounds how many answers are kept for requests that come again.
const maxReplays = 4096

// replays keeps the answers of requests whose effect lives in memory only, so
// that a request which is sent again with its Idempotency-Key is answered as
// before. What is in the log needs none of this: facts carry the key.
type replays struct {
	turns *turns

	mu   sync.Mutex
	kept map[string]kept
}

type kept struct {
	status int
	header http.Header
	body   []byte
}

func newReplays() *replays { return &replays{turns: newTurns(), kept: make(map[string]kept)} }

func (r *replays) get(key string) (kept, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k, ok := r.kept[key]
	return k, ok
}

func (r *replays) put(key string, k kept) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.kept) >= maxReplays {
		clear(r.kept)
	}
	r.kept[key] = k
}

// once makes a handler carry out a request with an Idempotency-Key once. Only
// what succeeded is kept: a refusal may be tried again.
func (r *replays) once(h echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if !keyed(c) {
			return h(c)
		}
		key := commandKey(c)
		done, err := r.turns.take(c.Request().Context(), key)
		if err != nil {
			return err
		}
		defer done()
		if k, ok := r.get(key); ok {
			return k.write(c)
		}
		out := &copying{ResponseWriter: c.Response().Writer}
		c.Response().Writer = out
		if err := h(c); err != nil {
			return err
		}
		r.put(key, kept{c.Response().Status, c.Response().Header().Clone(), out.body.Bytes()})
		return nil
	}
}

// inTurn lets requests with the same Idempotency-Key go one after the other, so
// that the second finds in the log what the first did.
func (s *server) inTurn(h echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if !keyed(c) {
			return h(c)
		}
		done, err := s.tries.take(c.Request().Context(), commandKey(c))
		if err != nil {
			return err
		}
		defer done()
		return h(c)
	}
}

func (k kept) write(c echo.Context) error {
	for _, name := range []string{"Content-Type", "Location"} {
		if v := k.header.Get(name); v != "" {
			c.Response().Header().Set(name, v)
		}
	}
	c.Response().WriteHeader(k.status)
	_, err := c.Response().Write(k.body)
	return err
}

// copying keeps what is written.
type copying struct {
	http.ResponseWriter
	body bytes.Buffer
}

// Write implements http.ResponseWriter.
func (w *copying) Write(b []byte) (int, error) {
	w.body.Write(b)
	return w.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController through.
func (w *copying) Unwrap() http.ResponseWriter { return w.ResponseWriter }
