package segment

import (
	"github.com/emet-node/emet/domain/es"
)

// judged is the store as [store.Judge] sees it, the batch in hand included.
// Only the writer changes the last table, so it reads without the lock.
type judged struct {
	s *Store
	r *request
}

func (j judged) Last(stream es.Stream) es.Revision {
	for i := range j.r.writes {
		if j.r.writes[i].Stream == stream {
			return j.s.lines[i].next() - 1
		}
	}
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
	return j.r.known || j.r.searched < len(segments)-1 || last.ids.has(hashOf(id))
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

// at reads an event from the file or, if it is not durable yet, from its batch.
func (j judged) at(p es.Position) (es.Event, error) {
	if p < j.s.durable.Head() {
		return (&reader{s: j.s}).event(p)
	}
	segment, off, err := j.s.index.find(p)
	if err != nil {
		return es.Event{}, err
	}
	b := j.s.batch
	if off < b.at+int64(b.lead) {
		b = j.s.flight
	}
	f, err := decodeFrame(b.buf[off-b.at:], &segment.Salt, off)
	if err != nil {
		return es.Event{}, err
	}
	e, err := f.event(p)
	if err != nil {
		return es.Event{}, err
	}
	return e.event(), nil
}
