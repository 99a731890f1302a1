package segment

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sort"

	"github.com/emet-node/emet/adapters/store"
	"github.com/emet-node/emet/domain/es"
)

// reader reads single events and keeps the last frame, since events that are
// read together often lie together.
type reader struct {
	s     *Store
	frame frame
	valid bool
}

func (r *reader) event(p es.Position) (es.Event, error) {
	if !r.valid || p < r.frame.First || p >= r.frame.First+es.Position(r.frame.Count) {
		if err := r.load(p); err != nil {
			return es.Event{}, err
		}
	}
	e, err := r.frame.event(p)
	if err != nil {
		return es.Event{}, err
	}
	return e.event(), nil
}

const guess = 2048 // most frames are smaller

func (r *reader) load(p es.Position) error {
	segment, off, err := r.s.index.find(p)
	if err != nil {
		return r.s.closedOr(err)
	}
	return r.loadAt(segment, off, p)
}

// loadAt reads the frame of event p, which lies there.
func (r *reader) loadAt(segment *file, off int64, p es.Position) error {
	b := make([]byte, min(guess, segment.size-off))
	f, err := r.decode(segment, off, b)
	if err != nil {
		return r.s.unreadable(segment, off, p, err)
	}
	r.frame, r.valid = f, true
	return nil
}

func (r *reader) decode(segment *file, off int64, b []byte) (frame, error) {
	if n, err := segment.ReadAt(b, off); n < len(b) {
		return frame{}, fmt.Errorf("%w: %w", errRead, err)
	}
	size, err := frameSize(b, segment.size-off)
	if err != nil {
		return frame{}, err
	}
	if size > int64(len(b)) {
		return r.decode(segment, off, make([]byte, size))
	}
	return decodeFrame(b[:size], &segment.Salt, off)
}

// closedOr is err, unless that is only for want of a file.
func (s *Store) closedOr(err error) error {
	if s.closed.Load() {
		return es.ErrClosed
	}
	return err
}

// unreadable says what a reader gets instead of an event.
func (s *Store) unreadable(f *file, off int64, p es.Position, reason error) error {
	if s.closed.Load() {
		return es.ErrClosed
	}
	if err := f.asError(reason); err != nil {
		return err
	}
	return &Damage{File: f.name, Offset: off, FirstPosition: p, LastPosition: p, What: reason.Error()}
}

// event returns the event with position p, one of those in f.
func (f frame) event(p es.Position) (stored, error) {
	rest := f.Events
	for range f.Count {
		e, after, err := cutEvent(rest)
		if err != nil || e.position == p {
			return e, err
		}
		rest = after
	}
	return stored{}, fmt.Errorf("position %d is not in its frame", p)
}

// Range yields the events of [from, to) that f matches. Payloads that do not
// match are not copied.
func (s *Store) Range(ctx context.Context, from, to es.Position, f es.Filter) iter.Seq2[es.Event, error] {
	return func(yield func(es.Event, error) bool) {
		err := s.scan(ctx, from, to, &f, func(e *stored) bool { return yield(e.event(), nil) })
		if err != nil {
			yield(es.Event{}, err)
		}
	}
}

// scan shows the events of [from, to) that f matches, until show says that it
// is enough.
func (s *Store) scan(ctx context.Context, from, to es.Position, f *es.Filter, show func(*stored) bool) error {
	var look glass
	for to = min(to, s.durable.Head()); from < to; {
		segment, off, err := s.index.find(from)
		if err != nil {
			return s.closedOr(err)
		}
		c, begin := newCursor(segment, off), from
		for from < to {
			err := c.advance(&look.frame)
			if errors.Is(err, errEnd) && from > begin {
				break // the next segment goes on
			}
			if err != nil {
				return s.unreadable(segment, c.off, from, err)
			}
			if more, err := look.events(ctx, from, to, f, show); !more || err != nil {
				return err
			}
			from = max(from, look.First+es.Position(look.Count))
		}
	}
	return nil
}

// glass looks at the events of a frame, one after the other.
type glass struct {
	frame
	e stored
}

// events shows the events of [from, to) that f matches, in order, and says
// whether more are wanted.
func (g *glass) events(ctx context.Context, from, to es.Position, f *es.Filter, show func(*stored) bool) (more bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	rest := g.Events
	for range g.Count {
		if rest, err = g.e.cut(rest); err != nil {
			return false, err
		}
		if g.e.position < from || g.e.position >= to || !g.e.matches(f) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return false, err
		}
		if !show(&g.e) {
			return false, nil
		}
	}
	return true, nil
}

// ReadAll implements [es.Store].
func (s *Store) ReadAll(ctx context.Context, from es.Position, d es.Direction, f es.Filter, limit int) iter.Seq2[es.Event, error] {
	return func(yield func(es.Event, error) bool) {
		lo, hi := store.SpanAll(from, s.durable.Head(), d)
		events := s.Range(ctx, lo, hi, f)
		if d == es.Backward {
			events = s.backward(ctx, lo, hi, f)
		}
		store.Limit(events, limit)(yield)
	}
}

// backward yields the matching events of [lo, hi), last first, a frame at a time.
func (s *Store) backward(ctx context.Context, lo, hi es.Position, f es.Filter) iter.Seq2[es.Event, error] {
	return func(yield func(es.Event, error) bool) {
		r := &reader{s: s}
		for hi > lo {
			if err := r.load(hi - 1); err != nil {
				yield(es.Event{}, err)
				return
			}
			var matching []es.Event
			look := glass{frame: r.frame}
			_, err := look.events(ctx, lo, hi, &f, func(e *stored) bool {
				matching = append(matching, e.event())
				return true
			})
			if err != nil {
				yield(es.Event{}, err)
				return
			}
			for _, e := range slices.Backward(matching) {
				if !yield(e, ctx.Err()) || ctx.Err() != nil {
					return
				}
			}
			hi = r.frame.First
		}
	}
}

// ReadStream implements [es.Store].
func (s *Store) ReadStream(ctx context.Context, stream es.Stream, from es.Revision, d es.Direction, limit int) iter.Seq2[es.Event, error] {
	return func(yield func(es.Event, error) bool) {
		runs, err := s.index.runs(&key{name: stream}, s.durable.Head())
		if err != nil {
			yield(es.Event{}, s.closedOr(err))
			return
		}
		last := es.NoStream
		if n := len(runs); n > 0 {
			last = runs[n-1].first + es.Revision(runs[n-1].count) - 1
		}
		lo, hi := store.Span(from, last, d)
		store.Limit(func(next func(es.Event, error) bool) {
			r := streamReader{reader: reader{s: s}, name: stream, runs: runs}
			each(lo, hi, d, func(rev es.Revision) bool {
				if err := ctx.Err(); err != nil {
					next(es.Event{}, err)
					return false
				}
				e, err := r.revision(rev)
				return next(e, err) && err == nil
			})
		}, limit)(yield)
	}
}

func each(lo, hi es.Revision, d es.Direction, f func(es.Revision) bool) {
	for i := range hi - min(lo, hi) {
		rev := lo + i
		if d == es.Backward {
			rev = hi - 1 - i
		}
		if !f(rev) {
			return
		}
	}
}

// streamReader reads the events of one stream.
type streamReader struct {
	reader
	name es.Stream
	runs []run
	near page
}

func (r *streamReader) revision(rev es.Revision) (es.Event, error) {
	n := sort.Search(len(r.runs), func(i int) bool { return r.runs[i].first > rev }) - 1
	at := &r.runs[n]
	spot, err := at.spot(int(rev-at.first), &r.near)
	if errors.Is(err, errIndex) { // it is made anew, and then it is in memory
		r.near.of = nil
		if _, err = r.s.index.remake(at.file, at.disk, err); err == nil {
			if *at, err = r.s.index.runIn(at.file, &key{name: r.name}, noEnd); err == nil {
				spot, err = at.spot(int(rev-at.first), &r.near)
			}
		}
	}
	if err != nil {
		return es.Event{}, r.s.closedOr(err)
	}
	p := at.file.First + es.Position(spot.rel)
	if !r.valid || p < r.frame.First || p >= r.frame.First+es.Position(r.frame.Count) {
		if err := r.loadAt(at.file, spot.at(), p); err != nil {
			return es.Event{}, err
		}
	}
	return r.event(p)
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
	r, err := s.index.end(s.index.all(), &key{name: stream}, s.durable.Head())
	if err != nil {
		return es.StreamInfo{}, s.closedOr(err)
	}
	return es.StreamInfo{Head: r.first + es.Revision(r.count) - 1}, ctx.Err()
}

// Head implements [es.Store].
func (s *Store) Head(ctx context.Context) (es.Position, error) { return s.durable.Head(), ctx.Err() }
