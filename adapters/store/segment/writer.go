package segment

import (
	"fmt"
	"runtime"
	"time"

	"github.com/emet-node/emet/adapters/store"
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

	buf    []byte // frames of this batch, to be written at off-len(buf)
	batch  []*request
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
			for range min(len(requests)/16, 4) {
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
		if r.err = s.stage(r); len(s.buf) == 0 {
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
	old, err := store.Judge(judged{s}, r.checks, r.writes)
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
	s.encode(r)
	return nil
}

// encode fills in what only the writer knows and adds the frame to the batch.
func (s *Store) encode(r *request) {
	x := s.index
	segment := x.segments[len(x.segments)-1]
	at := s.clock.Reserve(len(r.slots))
	r.receipt = es.Receipt{First: s.next, Last: s.next + es.Position(len(r.slots)) - 1, Recorded: at, Heads: make([]es.Revision, len(r.writes))}
	f := frame{First: s.next, Count: len(r.slots), Watermark: s.durable.Head()}

	s.leaves = s.leaves[:0]
	x.mu.Lock()
	x.placed(f.First, s.off)
	slots := r.slots
	for i := range r.writes {
		w := &r.writes[i]
		l := x.lineOf(w.Stream)
		for j := range w.Events {
			leaf := slots[0].fill(r.body, s.next, es.Revision(len(l.positions)), at, &l.leaf)
			x.put(l, w.Events[j].ID, s.next, leaf)
			s.leaves = append(s.leaves, leaf)
			s.next, at, slots = s.next+1, at.Add(time.Microsecond), slots[1:]
		}
		r.receipt.Heads[i] = es.Revision(len(l.positions)) - 1
	}
	x.mu.Unlock()
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
	if len(s.buf) > 0 {
		fault(beforeWrite)
	}
	if len(s.buf) > 0 && s.sync() == nil {
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
	s.buf = s.buf[:0]
}

// sync writes the batch in one piece. An error is final: the kernel may have
// dropped the pages and would report success the next time.
func (s *Store) sync() error {
	segment := s.index.segments[len(s.index.segments)-1]
	_, err := segment.WriteAt(s.buf, s.off-int64(len(s.buf)))
	if err == nil {
		err = segment.SyncData()
	}
	if err != nil {
		s.fail(fmt.Errorf("write %s: %w", segment.name, err))
	}
	return err
}

func (s *Store) fail(err error) { s.failed.CompareAndSwap(nil, &failure{err}) }

// cover notes in the file that everything in it is durable, so that damage to
// the last frames cannot be mistaken for an unfinished write.
func (s *Store) cover() {
	if s.covered == s.next || s.Failed() != nil {
		return
	}
	segment := s.index.segments[len(s.index.segments)-1]
	s.chain = link(s.chain, nil)
	var body [frameHead]byte
	s.add(body[:], segment, frame{First: s.next, Watermark: s.next, Chain: s.chain})
	if s.sync() == nil {
		s.covered = s.next
	}
	s.buf = s.buf[:0]
}

// makeRoom begins a new segment when a frame does not fit into this one. There
// is always room left for a frame that covers the last.
func (s *Store) makeRoom(size int64) error {
	segment := s.index.segments[len(s.index.segments)-1]
	room := segment.size - frameHead
	if s.off+size <= room {
		if s.off-headerBytes > segment.size/2 {
			s.filler.begin(min(2*segment.size, s.options.SegmentBytes))
		}
		return nil
	}
	s.flush()
	if err := s.degraded(); err != nil {
		return err
	}
	return s.roll(segment, size)
}

// roll ends a segment. Everything in it is durable.
func (s *Store) roll(old *file, size int64) error {
	size = max(roundUp(headerBytes+size+2*frameHead), min(2*old.size, s.options.SegmentBytes))
	f, size, err := s.filler.take(size)
	if err != nil {
		return fmt.Errorf("%w: no space for the next segment: %w", es.ErrDegraded, err)
	}
	h := header{LogID: s.logID, First: s.next, Salt: newSalt(), Chain: s.chain, Root: s.grown.root(), Created: s.options.Now().UnixNano()}
	next, err := publish(s.options.FS, s.dir, f, size, h)
	if err != nil {
		_ = f.Close()
		s.fail(err)
		return fmt.Errorf("%w: %w", es.ErrDegraded, err)
	}
	s.index.mu.Lock()
	s.index.segments = append(s.index.segments, next)
	s.index.mu.Unlock()
	s.off, s.covered = headerBytes, s.next
	return nil
}

// judged is the store as [store.Judge] sees it, the batch in hand included.
// Only the writer changes the index, so it reads without the lock.
type judged struct{ s *Store }

func (j judged) Last(stream es.Stream) es.Revision {
	if l, ok := j.s.index.lines[stream]; ok {
		return es.Revision(len(l.positions)) - 1
	}
	return es.NoStream
}

func (j judged) Has(id es.ID) bool {
	_, ok := j.s.index.ids[j.s.index.hash(id)]
	return ok
}

func (j judged) Find(id es.ID) (es.Event, bool, error) {
	x := j.s.index
	if p, ok := x.twins[id]; ok {
		e, err := j.at(p)
		return e, err == nil, err
	}
	p, ok := x.ids[x.hash(id)]
	if !ok {
		return es.Event{}, false, nil
	}
	e, err := j.at(p)
	return e, err == nil && e.ID == id, err
}

// at reads an event from the file or, if it is not written yet, the batch.
func (j judged) at(p es.Position) (es.Event, error) {
	segment, places, i := j.s.index.find(p)
	start := j.s.off - int64(len(j.s.buf))
	if p < j.s.durable.Head() {
		return (&reader{s: j.s}).event(p)
	}
	f, err := decodeFrame(j.s.buf[places[i].at()-start:], &segment.Salt, places[i].at())
	if err != nil {
		return es.Event{}, err
	}
	e, err := f.event(p)
	if err != nil {
		return es.Event{}, err
	}
	return e.event(), nil
}
