package segment

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/emet-node/emet/adapters/store"
	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
)

// writer is what belongs to the one goroutine that appends. It runs ahead of
// what is durable by one batch.
type writer struct {
	clock   store.Clock
	off     int64       // where the next frame goes in the last segment
	next    es.Position // of the next event
	chain   es.Hash
	grown   tree
	covered es.Position // the watermark in the file
	filler  filler

	// buf ends at off and begins with a page: first what lies in that page
	// already, then the frames of this batch. Whole pages are written, so that none
	// has to be read for it.
	buf    []byte
	lead   int // bytes of buf that were written before
	batch  []*request
	lines  []*line // of the append in hand
	spare  []*request
	leaves []es.Hash
}

// maxBatch bounds the memory of a batch.
const maxBatch = 8 << 20

// run is the writer goroutine.
func (s *Store) run() {
	timer := time.NewTimer(s.options.Idle)
	defer timer.Stop()
	for {
		requests, closed := s.queue.swap(s.spare)
		s.spare = requests
		if len(requests) > 0 {
			s.commit(requests)
			// Those just answered are about to append again: a turn for them makes
			// the next batch larger. A lonely writer pays nothing.
			for range min(len(requests)/4, 4) {
				runtime.Gosched()
			}
			clear(requests)
			continue
		}
		if closed {
			s.cover()
			return
		}
		timer.Reset(s.options.Idle)
		select {
		case <-s.queue.wake:
		case <-timer.C:
			s.cover()
			if s.covered == s.next || s.Failed() != nil {
				<-s.queue.wake
			}
		}
	}
}

// commit carries out requests in order and answers them when they are durable.
func (s *Store) commit(requests []*request) {
	for _, r := range requests {
		if !r.take() {
			continue
		}
		if r.err = s.stage(r); len(s.buf) == s.lead {
			r.finish() // nothing to wait for
			continue
		}
		s.batch = append(s.batch, r)
		if len(s.buf) >= maxBatch {
			s.flush()
		}
	}
	s.flush()
}

// stage decides on r and encodes its frame. What it answers may rest on the
// frames before it in the batch, so it is told to the caller after the sync.
func (s *Store) stage(r *request) error {
	if err := s.degraded(); err != nil {
		return err
	}
	if err := s.resolve(r); err != nil {
		return err
	}
	old, err := store.Judge(judged{s, r}, r.checks, r.writes)
	if err != nil {
		return err
	}
	if old != nil {
		r.receipt = *old
		return nil
	}
	if err := s.makeRoom(int64(padded(len(r.body)))); err != nil {
		return err
	}
	if err := s.resolve(r); err != nil { // the segment may be a new one
		return err
	}
	s.encode(r)
	return nil
}

// resolve finds the lines of everything that r writes or asks about.
func (s *Store) resolve(r *request) error {
	s.lines = s.lines[:0]
	for i := range r.writes {
		l, err := s.index.lineOf(r.writes[i].Stream)
		if err != nil {
			return err
		}
		s.lines = append(s.lines, l)
	}
	for i := range r.checks {
		if _, err := s.index.lineOf(r.checks[i].Stream); err != nil {
			return err
		}
	}
	return nil
}

// encode fills in what only the writer knows and adds the frame to the batch.
func (s *Store) encode(r *request) {
	x := s.index
	segment := x.last()
	m := segment.table().(*memTable) //nolint:forcetypeassert // that of the last always is
	at := s.clock.Reserve(len(r.slots))
	r.receipt = es.Receipt{First: s.next, Last: s.next + es.Position(len(r.slots)) - 1, Recorded: at, Heads: make([]es.Revision, len(r.writes))}
	f := frame{First: s.next, Count: len(r.slots), Watermark: s.durable.Head()}

	s.leaves = s.leaves[:0]
	spot := place{uint32(f.First - segment.First), uint32(s.off / frameAlign)}
	m.mu.Lock()
	m.frames = append(m.frames, spot)
	slots := r.slots
	for i := range r.writes {
		w := &r.writes[i]
		l := s.lines[i]
		for j := range w.Events {
			leaf := slots[0].fill(r.body, s.next, l.next(), at, &l.leaf)
			spot.rel = uint32(s.next - segment.First)
			m.put(l, w.Events[j].ID, spot, leaf)
			s.leaves = append(s.leaves, leaf)
			s.next, at, slots = s.next+1, at.Add(time.Microsecond), slots[1:]
		}
		r.receipt.Heads[i] = l.next() - 1
	}
	m.mu.Unlock()
	for i := range s.leaves {
		s.grown.add(s.leaves[i])
	}
	s.chain = link(s.chain, s.leaves)
	f.Chain = s.chain
	s.add(r.body, segment, f)
}

// add appends a frame to the batch. Its events follow frameHead bytes in body.
func (s *Store) add(body []byte, segment *file, f frame) {
	at := len(s.buf)
	s.buf = append(s.buf, body...)
	s.buf = sealFrame(s.buf, at, &segment.Salt, s.off, f)
	s.off += int64(len(s.buf) - at)
}

// flush makes the batch durable, then visible, then answers it.
func (s *Store) flush() {
	pending := len(s.buf) > s.lead
	if pending {
		fault(beforeWrite)
	}
	if pending && s.sync() == nil {
		fault(afterDurable)
		s.treeMu.Lock()
		s.tree.size, s.tree.edge = s.grown.size, append(s.tree.edge[:0], s.grown.edge...)
		s.treeMu.Unlock()
		s.durable.Publish(s.next)
	}
	unknown := s.Failed()
	for i, r := range s.batch {
		if unknown != nil {
			r.receipt, r.err = es.Receipt{}, fmt.Errorf("%w: %w", es.ErrCommitUnknown, unknown)
		}
		r.finish()
		s.batch[i] = nil
	}
	s.batch = s.batch[:0]
}

// sync writes the batch in one piece. An error is final: the kernel may have
// dropped the pages and would report success the next time.
func (s *Store) sync() error {
	segment := s.index.last()
	n := len(s.buf)
	at := s.off - int64(n)
	for len(s.buf)%pageBytes != 0 {
		s.buf = append(s.buf, zeros[:min(len(zeros), pageBytes-len(s.buf)%pageBytes)]...)
	}
	_, err := segment.WriteAt(s.buf, at)
	if err == nil {
		err = segment.SyncData()
	}
	if err != nil {
		s.fail(fmt.Errorf("write %s: %w", segment.name, err))
	}
	s.lead = n % pageBytes
	s.buf = s.buf[:copy(s.buf, s.buf[n-s.lead:n])]
	return err
}

func (s *Store) fail(err error) { s.failed.CompareAndSwap(nil, &failure{err}) }

// cover notes in the file that everything in it is durable, so that damage to
// the last frames cannot be mistaken for an unfinished write.
func (s *Store) cover() {
	if s.covered == s.next || s.Failed() != nil {
		return
	}
	segment := s.index.last()
	s.chain = link(s.chain, nil)
	var body [frameHead]byte
	s.add(body[:], segment, frame{First: s.next, Watermark: s.next, Chain: s.chain})
	if s.sync() == nil {
		s.covered = s.next
	}
}

// makeRoom begins a new segment when a frame does not fit into this one. There
// is always room left for a frame that covers the last.
func (s *Store) makeRoom(size int64) error {
	segment := s.index.last()
	room := segment.size - frameHead
	if s.off+size <= room {
		if s.off-headerBytes > segment.size/2 || s.tight.Load() {
			s.filler.begin(min(2*segment.size, s.options.SegmentBytes))
			if s.filler.failed != nil || s.filler.ready != nil {
				s.tighten(s.filler.failed)
			}
		}
		return nil
	}
	s.flush()
	if err := s.degraded(); err != nil {
		return err
	}
	return s.roll(segment, size)
}

// tighten notes whether there is space for the next segment.
func (s *Store) tighten(err error) {
	if s.tight.Swap(err != nil) == (err != nil) {
		return
	}
	if err != nil {
		s.options.Logger.Error("there is no space for the next segment of the log; nothing that opens obligations is accepted", "error", err)
		return
	}
	s.options.Logger.Info("there is space for the next segment of the log again")
	wake(s.index.unsealed)
	s.behind.Go(s.putBy)
}

// putBy keeps space for the day when the disk is full.
func (s *Store) putBy() {
	if err := s.ballast.take(); err != nil {
		s.options.Logger.Warn("no space can be put by for the day when the disk is full", "error", err)
	}
}

// takeBallast tries once more with the space that was put by.
func (s *Store) takeBallast(need int64, full error) (vfs.File, int64, error) {
	released, err := s.ballast.release()
	if !released {
		return nil, 0, errors.Join(full, err)
	}
	s.options.Logger.Warn("the space that was put by for a full disk is used", "bytes", s.ballast.size)
	return s.filler.take(max(need, s.ballast.size))
}

// roll ends a segment. Everything in it is durable.
func (s *Store) roll(old *file, size int64) error {
	need := roundUp(headerBytes + size + 2*frameHead)
	f, got, err := s.filler.take(max(need, min(2*old.size, s.options.SegmentBytes)))
	if err != nil {
		s.tighten(err)
		if f, got, err = s.takeBallast(need, err); err != nil {
			return fmt.Errorf("%w: no space for the next segment: %w", es.ErrDegraded, err)
		}
	}
	size = got
	h := header{LogID: s.logID, First: s.next, Salt: newSalt(), Chain: s.chain, Root: s.grown.root(), Created: s.options.Now().UnixNano()}
	next, err := publish(s.options.FS, s.dir, f, size, h)
	if err != nil {
		_ = f.Close()
		s.fail(err)
		return fmt.Errorf("%w: %w", es.ErrDegraded, err)
	}
	old.sum = summary{
		header: old.header, events: uint64(s.next - old.First), end: s.off, recorded: s.clock.Last().UnixNano(),
		chain: s.chain, tree: s.grown.clone(),
	}
	next.setTable(newMemTable())
	s.index.add(next)
	wake(s.index.unsealed)
	s.off, s.covered, s.buf, s.lead = headerBytes, s.next, s.buf[:0], 0
	return nil
}

// judged is the store as [store.Judge] sees it, the batch in hand included.
// Only the writer changes the last table, so it reads without the lock.
type judged struct {
	s *Store
	r *request
}

func (j judged) Last(stream es.Stream) es.Revision {
	l, err := j.s.index.lineOf(stream)
	if err != nil { // resolve has found it before
		return es.NoStream
	}
	return l.next() - 1
}

// Has implements [store.Index]. What is in sealed segments the caller of Append
// has looked up; only those that were sealed since are left.
func (j judged) Has(id es.ID) bool {
	segments := j.s.index.all()
	last := segments[len(segments)-1].table().(*memTable) //nolint:forcetypeassert // that of the last always is
	if _, ok := last.ids[hashOf(id)]; ok {
		return true
	}
	return j.r.known || j.r.searched < len(segments)-1
}

func (j judged) Find(id es.ID) (es.Event, bool, error) {
	segments := j.s.index.all()
	if !j.r.known {
		segments = segments[min(j.r.searched, len(segments)-1):]
	}
	found, err := j.s.index.byID(segments, hashOf(id))
	if err != nil {
		return es.Event{}, false, err
	}
	for _, p := range found {
		if e, err := j.at(p); err != nil || e.ID == id {
			return e, err == nil, err
		}
	}
	return es.Event{}, false, nil
}

// at reads an event from the file or, if it is not written yet, the batch.
func (j judged) at(p es.Position) (es.Event, error) {
	if p < j.s.durable.Head() {
		return (&reader{s: j.s}).event(p)
	}
	segment, off, err := j.s.index.find(p)
	if err != nil {
		return es.Event{}, err
	}
	f, err := decodeFrame(j.s.buf[off-(j.s.off-int64(len(j.s.buf))):], &segment.Salt, off)
	if err != nil {
		return es.Event{}, err
	}
	e, err := f.event(p)
	if err != nil {
		return es.Event{}, err
	}
	return e.event(), nil
}
