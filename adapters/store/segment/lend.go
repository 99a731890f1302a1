package segment

import (
	"context"
	"iter"
	"time"

	"github.com/emet-node/emet/domain/es"
)

// Lend implements [es.Lender].
func (s *Store) Lend(ctx context.Context, from es.Position, f es.Filter) iter.Seq2[*es.Lent, error] {
	return func(yield func(*es.Lent, error) bool) {
		var l es.Lent
		var known names
		err := s.scan(ctx, from, s.durable.Head(), &f, func(e *stored) bool {
			l = es.Lent{
				ID: e.id, Type: known.of(e.typ), Subject: string(e.subject), Stream: e.stream, Data: e.dataSalted[saltBytes:], Meta: e.meta[saltBytes:],
				Revision: e.revision, Position: e.position, Recorded: time.Unix(0, e.recorded).UTC(),
			}
			return yield(&l, nil)
		})
		if err != nil {
			yield(&es.Lent{}, err)
		}
	}
}

// names are the types that were met, so that each is made once.
type names map[string]string

const manyNames = 1024

func (n *names) of(b []byte) string {
	if s, ok := (*n)[string(b)]; ok {
		return s
	}
	if *n == nil || len(*n) >= manyNames {
		*n = make(names)
	}
	s := string(b)
	(*n)[s] = s
	return s
}
