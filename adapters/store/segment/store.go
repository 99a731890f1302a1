package segment

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emet-node/emet/adapters/store"
	"github.com/emet-node/emet/domain/es"
)

// Store is an [es.Store] on disk. Create it with [Open] and end it with
// [Store.Close].
type Store struct {
	dir      string
	options  Options
	logID    [16]byte
	lock     io.Closer
	index    *index
	durable  store.Watermark
	readOnly bool
	failed   atomic.Pointer[failure]

	ballast ballast
	space   sync.Mutex  // held by what takes space beside the log, or gives it back
	tight   atomic.Bool // there is no space for the next segment

	queue  queue
	ended  sync.WaitGroup // the writer
	behind sync.WaitGroup // what works in the background
	stop   chan struct{}
	closed atomic.Bool

	writer // the writer goroutine's own

	treeMu sync.Mutex
	tree   tree // of the durable events
}

type failure struct{ err error }

var _ es.Store = (*Store)(nil)

func start(l *loaded, lock io.Closer, o Options) *Store {
	s := &Store{dir: l.dir, options: o, logID: l.logID, lock: lock, index: l.index, tree: l.walk.tree.Clone(), stop: make(chan struct{})}
	s.queue.wake = make(chan struct{}, 1)
	ballasted := make(chan struct{})
	s.writer = writer{
		off: l.end, next: l.walk.next, chain: l.walk.chain, grown: l.walk.tree, covered: l.walk.next,
		filler: filler{files: o.FS, dir: l.dir, after: ballasted},
		batch:  &batch{}, flight: &batch{}, sent: make(chan *batch), landed: make(chan struct{}, 1),
	}
	s.batch.restart(l.end-int64(len(l.lead)), l.lead)
	l.index.last().bypass(o.FS, l.dir)
	s.clock.Now = o.Now
	s.clock.Resume(time.Unix(0, l.walk.recorded))
	s.durable.Publish(l.walk.next)
	s.ended.Go(s.run)
	s.ended.Go(s.fly)
	s.ballast = ballast{files: o.FS, dir: l.dir, size: o.SegmentBytes}
	s.behind.Go(func() {
		defer close(ballasted)
		s.putBy()
	})
	s.behind.Go(s.sealAll)
	s.behind.Go(s.scrub)
	return s
}

// Caps implements [es.Store].
func (s *Store) Caps() es.Caps { return es.Caps{Name: "segment", Durable: true, MerkleProofs: true} }

// LogID names this log, whatever node it belongs to. It is drawn when the
// store is created.
func (s *Store) LogID() [16]byte { return s.logID }

// Root returns the number of durable events and the root of the RFC 6962 tree
// over them.
func (s *Store) Root() (size uint64, root es.Hash) {
	s.treeMu.Lock()
	defer s.treeMu.Unlock()
	return s.tree.Size, s.tree.Root()
}

// Durable is what may be seen.
func (s *Store) Durable() *store.Watermark { return &s.durable }

// Append implements [es.Store]. It returns [es.ErrCommitUnknown] when the disk
// failed or ctx ended while the append was under way.
func (s *Store) Append(ctx context.Context, checks []es.Check, writes ...es.Write) (es.Receipt, error) {
	if err := ctx.Err(); err != nil {
		return es.Receipt{}, err
	}
	if err := store.Validate(checks, writes); err != nil {
		return es.Receipt{}, err
	}
	if err := s.writable(); err != nil {
		return es.Receipt{}, err
	}
	if s.tight.Load() && s.opens(writes) {
		s.queue.notify() // there may be space by now
		return es.Receipt{}, fmt.Errorf("%w for what opens obligations: there is no space for the next segment of the log; free some", es.ErrDegraded)
	}
	r := newRequest(checks, writes)
	if err := r.search(s.index); err != nil {
		return es.Receipt{}, fmt.Errorf("look up events: %w", err)
	}
	if !s.queue.put(r) {
		return es.Receipt{}, es.ErrClosed
	}
	select {
	case <-r.done:
	case <-ctx.Done():
		if r.abandon() {
			return es.Receipt{}, ctx.Err()
		}
		return es.Receipt{}, fmt.Errorf("%w: %w", es.ErrCommitUnknown, ctx.Err())
	}
	receipt, err := r.receipt, r.err
	r.release()
	return receipt, err
}

func (s *Store) writable() error {
	switch {
	case s.closed.Load():
		return es.ErrClosed
	case s.readOnly:
		return fmt.Errorf("%w: it was opened for reading only", es.ErrDegraded)
	}
	return s.degraded()
}

func (s *Store) degraded() error {
	if f := s.failed.Load(); f != nil {
		return fmt.Errorf("%w since the disk failed: %w", es.ErrDegraded, f.err)
	}
	return nil
}

func (s *Store) opens(writes []es.Write) bool {
	if s.options.Opens == nil {
		return false
	}
	for i := range writes {
		for j := range writes[i].Events {
			if s.options.Opens(writes[i].Events[j].Type) {
				return true
			}
		}
	}
	return false
}

// Tight says that there is no space for the next segment of the log.
func (s *Store) Tight() bool { return s.tight.Load() }

// Failed returns the error of the disk after which the store is read-only, nil
// while all is well. A node ends when it is not nil: the next start copies
// what is in doubt to a fresh file.
func (s *Store) Failed() error {
	if f := s.failed.Load(); f != nil {
		return f.err
	}
	return nil
}

// Close lets the appends under way finish, notes that everything is durable
// and releases the files.
func (s *Store) Close() error {
	if s.closed.Swap(true) {
		return nil
	}
	s.durable.Close()
	if !s.readOnly {
		s.queue.close()
		s.ended.Wait()
	}
	err := s.filler.stop()
	close(s.stop)
	s.behind.Wait()
	err = errors.Join(err, s.index.close())
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return err
}
