package storytest

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"github.com/emet-node/emet/domain/es"
)

// former says how facts were written before they got their present shape, by
// type: the type then, and what had no place in it.
var former = map[string]struct {
	typ     string
	unheard *regexp.Regexp
}{
	"batch.exec_requested.v2": {"batch.exec_requested.v1", regexp.MustCompile(`,"timeoutMs":\d+`)},
}

// Former appends the events of one store, none of them sealed, to another as a
// build of before would have written them, and says how many it changed. clock
// is told when each was recorded, before it is appended; nil = nobody asks.
func Former(ctx context.Context, from, to es.Store, clock func(time.Time)) (changed int, err error) {
	for e, err := range from.ReadAll(ctx, 0, es.Forward, es.Filter{}, 0) {
		if err != nil {
			return changed, err
		}
		if f, ok := former[e.Type]; ok {
			old := f.unheard.ReplaceAll(e.Data, nil)
			if len(old) == len(e.Data) {
				return changed, fmt.Errorf("event %d: %s has nothing that is new in it", e.Position, e.Type)
			}
			e.Type, e.Data = f.typ, old
			changed++
		}
		if clock != nil {
			clock(e.Recorded)
		}
		if _, err := to.Append(ctx, nil, es.Write{Stream: e.Stream, Expected: es.Any, Events: []es.NewEvent{e.NewEvent}}); err != nil {
			return changed, err
		}
	}
	return changed, nil
}
