package replay

import (
	"context"
	"errors"

	"github.com/emet-node/emet/domain/es"
)

// errCaptured ends a command when what it decided is known.
var errCaptured = errors.New("decided, and not written")

// capture is a log of the past that keeps what is to be appended instead of
// appending it.
type capture struct {
	es.Store
	base  es.Store
	facts []Fact
}

// at moves to when the log had n facts.
func (c *capture) at(n es.Position) { c.Store, c.facts = es.AsOf(c.base, n), nil }

// Append implements es.Store.
func (c *capture) Append(_ context.Context, _ []es.Check, writes ...es.Write) (es.Receipt, error) {
	c.facts = nil
	for _, w := range writes {
		for _, e := range w.Events {
			c.facts = append(c.facts, Fact{Stream: w.Stream, Type: e.Type, Data: string(e.Data)})
		}
	}
	return es.Receipt{}, errCaptured
}

// reader opens what is sealed and seals nothing, so that what is decided can
// be compared.
type reader struct{ es.Sealer }

// Seal implements es.Sealer.
func (reader) Seal(context.Context, es.Stream, *es.NewEvent) error { return nil }

// Open implements es.Sealer.
func (r reader) Open(ctx context.Context, e *es.Event) error {
	if r.Sealer == nil {
		return nil
	}
	return r.Sealer.Open(ctx, e)
}

// queue holds commands by when they are decided.
type queue struct {
	list []asked
	n    int
}

func (q *queue) Len() int { return len(q.list) }

func (q *queue) Less(i, j int) bool {
	a, b := q.list[i], q.list[j]
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}
func (q *queue) Swap(i, j int) { q.list[i], q.list[j] = q.list[j], q.list[i] }
func (q *queue) Push(x any)    { q.list = append(q.list, x.(asked)) } //nolint:forcetypeassert // nothing else is pushed
func (q *queue) Pop() any {
	last := q.list[len(q.list)-1]
	q.list = q.list[:len(q.list)-1]
	return last
}
