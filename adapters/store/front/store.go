package front

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emet-node/emet/adapters/store"
	"github.com/emet-node/emet/adapters/store/leaf"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
)

// Options of a [Store].
type Options struct {
	Name  string // of the engine
	LogID [16]byte
	Now   func() time.Time // nil = time.Now
	// MaxBatch is how many bytes of content go in one write, unless a single
	// append has more; 0 = 8 MiB.
	MaxBatch int
	// MaxEvent is what an event may weigh, if that is less than
	// [es.MaxEventBytes]; 0 = it is not.
	MaxEvent int
	ReadOnly bool
	// Outline is a file that keeps where everything is, so that a start need not
	// read the whole table; "" = none.
	Outline string
	// Final says that after an error of that kind nothing may be written any
	// more. nil = after none.
	Final func(error) bool
}

// Store is an [es.Store] over a [Table]. Create it with [Open].
type Store struct {
	o       Options
	table   Table
	index   *index
	outline *outline // of the writer
	durable store.Watermark
	clock   store.Clock

	failed atomic.Pointer[error]
	closed atomic.Bool
	unsure bool // of the writer: a write may have happened
	ended  sync.WaitGroup
	cancel context.CancelFunc
	queue  queue
}

var (
	_ es.Store     = (*Store)(nil)
	_ store.Source = (*Store)(nil)
)

// Open takes what the table holds into memory: where each event is, not the
// events. rows yields those from a position on, which may be without their content.
// It fails with [es.ErrCorrupt] when rows do not follow each other; those that the
// outline has are not looked at again, [Store.Verify] does.
func Open(ctx context.Context, t Table, rows func(from es.Position) iter.Seq2[Row, error], o Options) (*Store, error) {
	if o.MaxBatch == 0 {
		o.MaxBatch = 8 << 20
	}
	s := &Store{o: o, table: t, index: newIndex(), outline: newOutline(o.Outline, o.LogID), queue: queue{wake: make(chan struct{}, 1)}}
	s.clock.Now = o.Now
	if err := s.recall(ctx); err != nil {
		return nil, err
	}
	for r, err := range rows(s.index.next) {
		if err == nil {
			err = s.index.found(&r)
		}
		if err != nil {
			return nil, err
		}
		s.clock.Resume(r.Recorded)
		if !o.ReadOnly {
			s.outline.note([]Row{r}, s.index)
		}
	}
	s.durable.Publish(s.index.next)
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	if !o.ReadOnly {
		s.ended.Go(func() { s.run(background) })
	}
	return s, nil
}

// recall begins with what the outline says, if that fits the table.
func (s *Store) recall(ctx context.Context) error {
	recorded := s.outline.load(s.index)
	ok, err := sound(ctx, s.table, s.index)
	if err != nil {
		return err
	}
	if !ok {
		s.index = newIndex()
		s.outline.drop(s.o.ReadOnly)
		return nil
	}
	if s.index.next > 0 {
		s.clock.Resume(recorded)
	}
	return nil
}

// Caps implements [es.Store].
func (s *Store) Caps() es.Caps { return es.Caps{Name: s.o.Name, Durable: true, MerkleProofs: true} }

// LogID names this log. It is drawn when the log is created.
func (s *Store) LogID() [16]byte { return s.o.LogID }

// Root returns the number of durable events and the root of the RFC 6962 tree
// over them.
func (s *Store) Root() (size uint64, root es.Hash) {
	s.index.mu.RLock()
	defer s.index.mu.RUnlock()
	return s.index.tree.Size, s.index.tree.Root()
}

// Durable is what may be seen.
func (s *Store) Durable() *store.Watermark { return &s.durable }

// Failed returns the error after which the store is read-only, nil while all
// is well.
func (s *Store) Failed() error {
	if f := s.failed.Load(); f != nil {
		return *f
	}
	return nil
}

// Append implements [es.Store].
func (s *Store) Append(ctx context.Context, checks []es.Check, writes ...es.Write) (es.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return es.Receipt{}, err
	}
	if err := store.Validate(checks, writes); err != nil {
		return es.Receipt{}, err
	}
	if err := s.fits(writes); err != nil {
		return es.Receipt{}, err
	}
	if err := s.writable(); err != nil {
		return es.Receipt{}, err
	}
	r := &request{checks: checks, writes: writes, done: make(chan struct{})}
	if !s.queue.put(r) {
		return es.Receipt{}, es.ErrClosed
	}
	select {
	case <-r.done:
		return r.receipt, r.err
	case <-ctx.Done():
	}
	if r.state.CompareAndSwap(waiting, abandoned) {
		return es.Receipt{}, ctx.Err()
	}
	return es.Receipt{}, fmt.Errorf("%w: %w", es.ErrCommitUnknown, ctx.Err())
}

// fits holds events against the limit of the engine.
func (s *Store) fits(writes []es.Write) error {
	if s.o.MaxEvent == 0 {
		return nil
	}
	for _, w := range writes {
		for i, e := range w.Events {
			if size := len(e.Data) + len(e.Meta); size > s.o.MaxEvent {
				return fmt.Errorf("event %d for stream %s has %d bytes, the engine %s takes at most %d: %w", i, w.Stream, size, s.o.Name, s.o.MaxEvent, es.ErrTooLarge)
			}
		}
	}
	return nil
}

func (s *Store) writable() error {
	switch err := s.Failed(); {
	case s.closed.Load():
		return es.ErrClosed
	case s.o.ReadOnly:
		return fmt.Errorf("%w: it was opened for reading only", es.ErrDegraded)
	case err != nil:
		return fmt.Errorf("%w: %w", es.ErrDegraded, err)
	}
	return nil
}

// ReadStream implements [es.Store].
func (s *Store) ReadStream(ctx context.Context, stream es.Stream, from es.Revision, d es.Direction, limit int) iter.Seq2[es.Event, error] {
	return func(yield func(es.Event, error) bool) {
		positions := s.index.stream(stream, s.durable.Head())
		lo, hi := store.Span(from, es.Revision(len(positions))-1, d)
		if lo >= hi {
			return
		}
		wanted := positions[lo:hi]
		if limit > 0 && len(wanted) > limit && d == es.Forward {
			wanted = wanted[:limit]
		}
		if d == es.Backward {
			wanted = slices.Clone(wanted)
			slices.Reverse(wanted)
			if limit > 0 && len(wanted) > limit {
				wanted = wanted[:limit]
			}
		}
		s.events(ctx, s.table.At(ctx, wanted))(yield)
	}
}

// ReadAll implements [es.Store].
func (s *Store) ReadAll(ctx context.Context, from es.Position, d es.Direction, f es.Filter, limit int) iter.Seq2[es.Event, error] {
	return func(yield func(es.Event, error) bool) {
		lo, hi := store.SpanAll(from, s.durable.Head(), d)
		if limit > 0 && isAll(f) && hi-lo > es.Position(limit) {
			if d == es.Forward {
				hi = lo + es.Position(limit)
			} else {
				lo = hi - es.Position(limit)
			}
		}
		store.Limit(s.events(ctx, s.table.Range(ctx, lo, hi, d, f)), limit)(yield)
	}
}

func isAll(f es.Filter) bool {
	return len(f.Streams)+len(f.StreamPrefixes)+len(f.Types)+len(f.Facts)+len(f.TypePrefixes) == 0 && f.StreamPattern == nil && f.TypePattern == nil
}

// Range implements [store.Source].
func (s *Store) Range(ctx context.Context, from, to es.Position, f es.Filter) iter.Seq2[es.Event, error] {
	return s.events(ctx, s.table.Range(ctx, from, to, es.Forward, f))
}

// events takes the events out of rows; a read ends with its context.
func (s *Store) events(ctx context.Context, rows iter.Seq2[Row, error]) iter.Seq2[es.Event, error] {
	return func(yield func(es.Event, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(es.Event{}, err)
			return
		}
		for r, err := range rows {
			if ended := ctx.Err(); ended != nil {
				r, err = Row{}, ended
			} else if err != nil && s.closed.Load() {
				err = es.ErrClosed
			}
			if !yield(r.Event, err) || err != nil {
				return
			}
		}
	}
}

// Subscribe implements [es.Store].
func (s *Store) Subscribe(ctx context.Context, after *es.Position, f es.Filter) es.Subscription {
	return store.Follow(ctx, s, after, f)
}

// Info implements [es.Store].
func (s *Store) Info(ctx context.Context, stream es.Stream) (es.StreamInfo, error) {
	if s.closed.Load() {
		return es.StreamInfo{}, es.ErrClosed
	}
	return es.StreamInfo{Head: es.Revision(len(s.index.stream(stream, s.durable.Head()))) - 1}, ctx.Err()
}

// Head implements [es.Store].
func (s *Store) Head(ctx context.Context) (es.Position, error) { return s.durable.Head(), ctx.Err() }

// LeafHashes yields the leaves of the tree over [from, to), as far as they are
// durable.
func (s *Store) LeafHashes(ctx context.Context, from, to es.Position) iter.Seq2[es.Hash, error] {
	return func(yield func(es.Hash, error) bool) {
		for r, err := range s.table.Range(ctx, from, min(to, s.durable.Head()), es.Forward, es.Filter{}) {
			if !yield(r.Leaf, err) || err != nil {
				return
			}
		}
	}
}

// Entry returns an event as it was hashed. It fails with [ledger.ErrRange]
// beyond the end.
func (s *Store) Entry(ctx context.Context, p es.Position) (ledger.Entry, error) {
	if head := s.durable.Head(); p >= head {
		return ledger.Entry{}, fmt.Errorf("%w: position %d, the log ends at %d", ledger.ErrRange, p, head)
	}
	for r, err := range s.table.At(ctx, []es.Position{p}) {
		if err != nil {
			return ledger.Entry{}, err
		}
		return ledger.Entry{
			Header: leaf.Header(&r.Event, r.Salts), Data: r.Data, DataSalt: r.Salts.Data[:], Meta: r.Meta, MetaSalt: r.Salts.Meta[:],
		}, nil
	}
	return ledger.Entry{}, fmt.Errorf("%w: position %d is missing", es.ErrCorrupt, p)
}

// Verify holds every event against its leaf and the leaves against the tree.
func (s *Store) Verify(ctx context.Context) error {
	size, want := s.Root()
	var tree leaf.Edge
	for r, err := range s.table.Range(ctx, 0, es.Position(size), es.Forward, es.Filter{}) {
		if err != nil {
			return err
		}
		h := leaf.Hash(leaf.Header(&r.Event, r.Salts))
		if h != r.Leaf {
			return fmt.Errorf("%w: position %d of %s is not as it was written", es.ErrCorrupt, r.Position, r.Stream)
		}
		tree.Add(h)
	}
	if tree.Size != size || tree.Root() != want {
		return fmt.Errorf("%w: the events make another tree than the log had when it was opened", es.ErrCorrupt)
	}
	return nil
}

// Close lets the appends under way finish and closes the table.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.durable.Close()
	s.queue.close()
	s.ended.Wait()
	s.cancel()
	if !s.o.ReadOnly {
		s.outline.write(s.index)
	}
	return errors.Join(s.table.Close())
}
