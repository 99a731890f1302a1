package segment

import (
	"sync"
	"sync/atomic"

	"github.com/emet-node/emet/domain/es"
)

// request is an append on its way to the writer.
type request struct {
	checks []es.Check
	writes []es.Write
	body   []byte // the encoded events, with frameHead bytes before them
	slots  []slot

	searched int  // segments in which the ids were looked up
	known    bool // one of them may be there

	state   atomic.Int32
	done    chan struct{}
	receipt es.Receipt
	err     error
}

const (
	waiting   = iota
	taken     // by the writer
	abandoned // by the caller, before the writer took it
)

var requests = sync.Pool{New: func() any { return &request{done: make(chan struct{}, 1)} }}

// newRequest encodes an append in the caller's goroutine: that is where
// payloads are hashed, so that several cores help.
func newRequest(checks []es.Check, writes []es.Write) *request {
	r := requests.Get().(*request) //nolint:forcetypeassert // the pool holds nothing else
	r.checks, r.writes = checks, writes
	r.state.Store(waiting)
	r.body = append(r.body[:0], zeros[:frameHead]...)
	r.slots = r.slots[:0]
	for i := range writes {
		for j := range writes[i].Events {
			var at slot
			r.body, at = encodeEvent(r.body, writes[i].Stream, &writes[i].Events[j])
			r.slots = append(r.slots, at)
		}
	}
	return r
}

// search looks up the ids in the segments that are sealed, in the caller's
// goroutine too. What comes after them is the writer's to look at.
func (r *request) search(x *index) error {
	segments := x.all()
	r.searched, r.known = len(segments)-1, false
	if r.searched == 0 {
		return nil
	}
	for i := range r.writes {
		for j := range r.writes[i].Events {
			found, err := x.byID(segments[:r.searched], hashOf(r.writes[i].Events[j].ID))
			if err != nil {
				return err
			}
			if len(found) > 0 {
				r.known = true
				return nil
			}
		}
	}
	return nil
}

// FrameBytes is what an append of writes takes in the log.
func FrameBytes(writes ...es.Write) int {
	r := newRequest(nil, writes)
	defer r.release()
	return padded(len(r.body))
}

const pooledBytes = 64 << 10

// release gives r back. Nobody else may know it any more.
func (r *request) release() {
	r.checks, r.writes, r.receipt, r.err = nil, nil, es.Receipt{}, nil
	if cap(r.body) <= pooledBytes {
		requests.Put(r)
	}
}

func (r *request) take() bool    { return r.state.CompareAndSwap(waiting, taken) }
func (r *request) abandon() bool { return r.state.CompareAndSwap(waiting, abandoned) }

func (r *request) finish() { r.done <- struct{}{} }

// queue holds requests while the writer is busy: everything that gathers
// during one sync goes into the next.
type queue struct {
	mu     sync.Mutex
	items  []*request
	closed bool
	wake   chan struct{}
}

func (q *queue) put(r *request) bool {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return false
	}
	q.items = append(q.items, r)
	first := len(q.items) == 1
	q.mu.Unlock()
	if first {
		q.notify()
	}
	return true
}

func (q *queue) notify() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// swap takes everything and leaves spare to be filled.
func (q *queue) swap(spare []*request) (items []*request, closed bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	items, q.items = q.items, spare[:0]
	return items, q.closed
}

func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.notify()
}
