package ledger

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
)

// Watch knows whether a node may act on its log. It reads $log, of which it
// remembers what it read. It is safe for concurrent use.
type Watch struct {
	log    *es.Log
	logger *slog.Logger

	mu sync.Mutex
	s  ledger.Standing
}

// NewWatch makes a Watch of a log. logger may be nil.
func NewWatch(l *es.Log, logger *slog.Logger) *Watch {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Watch{log: l, logger: logger, s: ledger.Standing{Revision: es.NoStream}}
}

// Standing is how it is now.
func (w *Watch) Standing(ctx context.Context) (ledger.Standing, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	info, err := w.log.Store.Info(ctx, ledger.LogStream)
	if err != nil {
		return w.s, err
	}
	if info.Head < w.s.Revision { // the log of replays goes back
		w.s = ledger.Standing{Revision: es.NoStream}
	}
	if info.Head == w.s.Revision {
		return w.s, nil
	}
	for r, err := range w.log.ReadStream(ctx, ledger.LogStream, w.s.Revision+1) {
		if err != nil {
			return w.s, fmt.Errorf("read whether the log is the newest copy: %w", err)
		}
		w.s = w.s.Evolve(r.Data)
		w.s.Revision = r.Revision
	}
	return w.s, nil
}

// Held is a [*ledger.Held] while the node must not act.
func (w *Watch) Held(ctx context.Context) error {
	s, err := w.Standing(ctx)
	if err != nil {
		return err
	}
	return s.Err()
}

// LogID is the name of the log: the one that it gave itself last, or else that
// of its store.
func (w *Watch) LogID(ctx context.Context, store [16]byte) ([16]byte, error) {
	s, err := w.Standing(ctx)
	if err != nil || s.LogID == "" {
		return store, err
	}
	b, err := hex.DecodeString(s.LogID)
	if err != nil || len(b) != len(store) {
		return store, fmt.Errorf("%w: $log says that the log is called %q", es.ErrCorrupt, s.LogID)
	}
	return [16]byte(b), nil
}

// Freeze writes down what shows that this log is not the newest copy, unless
// that is known. From then on nothing is signed, paid or agreed on.
func (w *Watch) Freeze(ctx context.Context, f ledger.Frozen) error {
	for {
		s, err := w.Standing(ctx)
		if err != nil || !s.New(f) {
			return err
		}
		head, err := w.log.Store.Head(ctx)
		if err != nil {
			return err
		}
		f.LogID, f.Size = s.LogID, int64(head) //nolint:gosec // below 2^53
		m := es.Meta{Key: fmt.Sprintf("log/frozen/%d", s.Revision+1), Actor: es.ActorEffect, Grade: es.GradeSelf, Peer: string(f.Node)}
		_, err = w.log.Append(ctx, m, nil, es.Facts{Stream: ledger.LogStream, Expected: s.Revision, Facts: []any{f}})
		if errors.Is(err, es.ErrConflict) || errors.Is(err, es.ErrIDConflict) {
			continue
		}
		if err == nil {
			w.logger.Error("the log is not the newest copy", "error", &ledger.Held{Findings: []ledger.Frozen{f}})
		}
		return err
	}
}
