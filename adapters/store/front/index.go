package front

import (
	"context"
	"fmt"
	"sync"

	"github.com/emet-node/emet/adapters/store"
	"github.com/emet-node/emet/adapters/store/leaf"
	"github.com/emet-node/emet/domain/es"
)

// index says where things are. Only the writer changes it; it runs ahead of
// what is durable by one batch.
type index struct {
	mu      sync.RWMutex
	lines   map[es.Stream]*line
	ids     map[es.ID]es.Position
	next    es.Position
	tree    leaf.Edge
	pending []Row // of the batch in hand
}

// line is one stream.
type line struct {
	positions []es.Position // by revision
	leaf      es.Hash       // of its last event
}

func newIndex() *index {
	return &index{lines: make(map[es.Stream]*line), ids: make(map[es.ID]es.Position)}
}

// put adds a row that comes next.
func (x *index) put(r *Row) {
	l, ok := x.lines[r.Stream]
	if !ok {
		l = &line{}
		x.lines[r.Stream] = l
	}
	l.positions, l.leaf = append(l.positions, r.Position), r.Leaf
	x.ids[r.ID] = r.Position
	x.next = r.Position + 1
}

// undo takes back rows that were put last.
func (x *index) undo(rows []Row) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := len(rows) - 1; i >= 0; i-- {
		r := &rows[i]
		l := x.lines[r.Stream]
		if l.positions, l.leaf = l.positions[:len(l.positions)-1], r.PrevInStream; len(l.positions) == 0 {
			delete(x.lines, r.Stream)
		}
		delete(x.ids, r.ID)
		x.next = r.Position
	}
}

// found adds a row that the table has, after looking whether it fits.
func (x *index) found(r *Row) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	bad := func(format string, a ...any) error {
		return fmt.Errorf("%w: position %d: %s", es.ErrCorrupt, r.Position, fmt.Sprintf(format, a...))
	}
	if r.Position != x.next {
		return bad("want position %d", x.next)
	}
	l := x.lines[r.Stream]
	if l == nil {
		l = &line{}
	}
	if r.Revision != es.Revision(len(l.positions)) {
		return bad("%s has revision %d, want %d", r.Stream, r.Revision, len(l.positions))
	}
	if r.PrevInStream != l.leaf {
		return bad("%s does not follow the event before", r.Stream)
	}
	if old, twice := x.ids[r.ID]; twice {
		return bad("event %s is at %d already", r.ID, old)
	}
	x.put(r)
	x.tree.Add(r.Leaf)
	return nil
}

// stream returns the positions of s below head.
func (x *index) stream(s es.Stream, head es.Position) []es.Position {
	x.mu.RLock()
	defer x.mu.RUnlock()
	l, ok := x.lines[s]
	if !ok {
		return nil
	}
	ps := l.positions
	for len(ps) > 0 && ps[len(ps)-1] >= head {
		ps = ps[:len(ps)-1]
	}
	return ps
}

// judged is the store as [store.Judge] sees it, the batch in hand included. The
// writer reads without the lock.
type judged struct {
	ctx context.Context //nolint:containedctx // of one verdict
	s   *Store
}

var _ store.Index = judged{}

func (j judged) Last(stream es.Stream) es.Revision {
	if l, ok := j.s.index.lines[stream]; ok {
		return es.Revision(len(l.positions)) - 1
	}
	return es.NoStream
}

func (j judged) Has(id es.ID) bool { _, ok := j.s.index.ids[id]; return ok }

func (j judged) Find(id es.ID) (es.Event, bool, error) {
	p, ok := j.s.index.ids[id]
	if !ok {
		return es.Event{}, false, nil
	}
	if pending := j.s.index.pending; len(pending) > 0 && p >= pending[0].Position {
		return pending[p-pending[0].Position].Event, true, nil
	}
	for r, err := range j.s.table.At(j.ctx, []es.Position{p}) {
		return r.Event, err == nil, err
	}
	return es.Event{}, false, fmt.Errorf("%w: position %d is missing", es.ErrCorrupt, p)
}
