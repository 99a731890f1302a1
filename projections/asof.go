package projections

import (
	"context"
	"iter"

	"github.com/emet-node/emet/domain/es"
)

// upTo is a store as it was when it had n events.
type upTo struct {
	es.Store
	n es.Position
}

// Head implements es.Store.
func (s upTo) Head(ctx context.Context) (es.Position, error) {
	head, err := s.Store.Head(ctx)
	return min(head, s.n), err
}

// ReadAll implements es.Store for reading forward.
func (s upTo) ReadAll(ctx context.Context, from es.Position, dir es.Direction, f es.Filter, limit int) iter.Seq2[es.Event, error] {
	return func(yield func(es.Event, error) bool) {
		for e, err := range s.Store.ReadAll(ctx, from, dir, f, limit) {
			if err == nil && e.Position >= s.n || !yield(e, err) {
				return
			}
		}
	}
}
