package segment

import (
	"runtime"
	"time"

	"github.com/emet-node/emet/adapters/store"
	"github.com/emet-node/emet/domain/es"
)

// writer is what belongs to the one goroutine that decides on appends. It runs
// ahead of what is durable by two batches: one is gathered while the other is on
// its way to the disk.
type writer struct {
	clock   store.Clock
	off     int64       // where the next frame goes in the last segment
	next    es.Position // of the next event
	chain   es.Hash
	grown   tree
	covered es.Position // the watermark in the file
	filler  filler

	batch  *batch // that is gathered
	flight *batch // that was sent last
	flying bool   // it is not known to have landed
	sent   chan *batch
	landed chan struct{}

	lines  []*line // of the append in hand
	spare  []*request
	leaves []es.Hash
	addr   address // of the frame in hand
}

// maxBatch bounds the memory of a batch.
const maxBatch = 8 << 20

// run is the writer goroutine.
func (s *Store) run() {
	timer := time.NewTimer(s.options.Idle)
	defer timer.Stop()
	defer close(s.sent)
	for {
		requests, closed := s.queue.swap(s.spare)
		s.spare = requests
		switch {
		case len(requests) > 0:
			s.gather(requests)
			clear(requests)
			s.send()
			s.yield(len(requests))
		case s.flying:
			select {
			case <-s.landed:
				s.flying = false
				s.send()
			case <-s.queue.wake:
				runtime.Gosched()
			}
		case closed:
			s.cover()
			return
		default:
			s.rest(timer)
		}
	}
}

// yield gives those just answered, who are about to append again, a turn: it
// makes the next batch larger. A lonely writer pays nothing.
func (s *Store) yield(answered int) {
	for range min(answered/4, 4) {
		runtime.Gosched()
	}
}

// rest waits for an append, and notes in the file that all before it is durable
// when there is none for a while.
func (s *Store) rest(timer *time.Timer) {
	if s.tight.Load() {
		s.prepare()
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

// gather adds requests to the batch, in order.
func (s *Store) gather(requests []*request) {
	for _, r := range requests {
		if !r.take() {
			continue
		}
		if r.err = s.stage(r); !s.flying && !s.batch.fresh() {
			r.finish() // nothing to wait for
			continue
		}
		s.batch.requests = append(s.batch.requests, r)
		if len(s.batch.buf) >= maxBatch {
			s.land()
		}
	}
}

// send puts the batch on its way, unless the one before it has not landed: then
// it gathers more.
func (s *Store) send() {
	if s.flying {
		select {
		case <-s.landed:
			s.flying = false
		default:
			return
		}
	}
	if len(s.batch.requests) < s.options.HandOver {
		s.land()
		return
	}
	s.take()
	s.flying = true
	s.sent <- s.flight
}

// land waits until everything that was gathered is durable.
func (s *Store) land() {
	if s.flying {
		<-s.landed
		s.flying = false
	}
	if len(s.batch.requests) > 0 || s.batch.fresh() {
		s.take()
		s.commit(s.flight)
	}
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
	segment := s.index.last()
	if err := s.makeRoom(int64(padded(len(r.body)))); err != nil {
		return err
	}
	if segment != s.index.last() {
		if err := s.resolve(r); err != nil {
			return err
		}
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
		s.grown.Add(s.leaves[i])
	}
	s.chain = link(s.chain, s.leaves)
	f.Chain = s.chain
	s.add(r.body, segment, f)
}

// add appends a frame to the batch. Its events follow frameHead bytes in body.
func (s *Store) add(body []byte, segment *file, f frame) {
	b := s.batch
	b.reserve(padded(len(body)))
	at := len(b.buf)
	b.buf = append(b.buf, body...)
	b.buf = sealFrame(b.buf, at, &segment.Salt, s.off, &f, &s.addr)
	s.off += int64(len(b.buf) - at)
}

// take takes the batch that was gathered and begins another.
func (s *Store) take() {
	b := s.batch
	b.segment, b.next = s.index.last(), s.next
	b.tree.Set(&s.grown)
	s.batch, s.flight = s.flight, b
	s.batch.begin(b)
}

// cover notes in the file that everything in it is durable, so that damage to
// the last frames cannot be mistaken for an unfinished write.
func (s *Store) cover() {
	if s.covered == s.next || s.Failed() != nil {
		return
	}
	s.chain = link(s.chain, nil)
	var body [frameHead]byte
	s.add(body[:], s.index.last(), frame{First: s.next, Watermark: s.next, Chain: s.chain})
	s.land()
	if s.Failed() == nil {
		s.covered = s.next
	}
}
