package effects

import (
	"context"
	"slices"

	"github.com/emet-node/emet/domain/es"
)

// OpenStreams lists, in the order they were opened, the ids of streams of a
// prefix that have a fact of one of the types opens, in any version, and none
// of closes. It looks at headers only.
func OpenStreams(ctx context.Context, s es.Store, prefix string, opens, closes []string) ([]string, error) {
	open := make(map[es.Stream]es.Position)
	f, ends := es.AnyVersion(slices.Concat(opens, closes)...), es.AnyVersion(closes...).Facts
	f.StreamPrefixes = []string{prefix}
	for e, err := range s.ReadAll(ctx, 0, es.Forward, f, 0) {
		if err != nil {
			return nil, err
		}
		if slices.Contains(ends, es.FactName(e.Type)) {
			delete(open, e.Stream)
		} else if _, ok := open[e.Stream]; !ok {
			open[e.Stream] = e.Position
		}
	}
	ids := make([]es.Stream, 0, len(open))
	for s := range open {
		ids = append(ids, s)
	}
	slices.SortFunc(ids, func(a, b es.Stream) int { return int(open[a]) - int(open[b]) })
	out := make([]string, len(ids))
	for i, s := range ids {
		out[i] = s.Key()
	}
	return out, nil
}
