package effects

import (
	"context"

	"github.com/emet-node/emet/domain/es"
)

// Because marks metadata as caused by the newest fact of a type in a stream.
// Reports from outside (an exe-unit, a chain, a provider's mirror) follow from
// what was asked for, and say so. Without such a fact m is as it was.
func Because(ctx context.Context, s es.Store, m es.Meta, stream es.Stream, typ string) es.Meta {
	for e, err := range s.ReadStream(ctx, stream, -1, es.Backward, 0) {
		if err != nil {
			break
		}
		if e.Type == typ {
			at := e.Position
			m.CausationID, m.Cause = e.ID, &at
			break
		}
	}
	return m
}

// Following marks metadata as caused by the newest fact of the first stream
// that has one: what another node says about a thing follows from how the
// thing stood here.
func Following(ctx context.Context, s es.Store, m es.Meta, streams ...es.Stream) es.Meta {
	for _, stream := range streams {
		for e, err := range s.ReadStream(ctx, stream, -1, es.Backward, 1) {
			if err == nil {
				at := e.Position
				m.CausationID, m.Cause = e.ID, &at
			}
			return m
		}
	}
	return m
}
