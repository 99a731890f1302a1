package rest

import (
	"sync"
	"time"

	"github.com/emet-node/emet/domain/identity"
)

// postOffice keeps a cursor of the offer book for every demand that is polled.
type postOffice struct {
	book Book

	mu    sync.Mutex
	boxes map[string]*mailbox // by demand
}

// mailbox is where the matches of one demand arrive.
type mailbox struct {
	cursor  Cursor
	expires time.Time
	done    chan struct{}

	mu    sync.Mutex
	moved chan struct{}     // closed and replaced when matches came
	freed map[string]string // the agreement whose end made an offer available last
	ended map[string]bool   // agreements whose end did
}

func newPostOffice(book Book) *postOffice {
	return &postOffice{book: book, boxes: make(map[string]*mailbox)}
}

// open returns the mailbox of a demand, which it makes at the first poll.
func (p *postOffice) open(id, properties, constraints string, owner identity.NodeID, expires time.Time) *mailbox {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b, ok := p.boxes[id]; ok {
		return b
	}
	p.sweep()
	b := &mailbox{
		cursor: p.book.Open(properties, constraints, owner), expires: expires,
		done: make(chan struct{}), moved: make(chan struct{}), freed: make(map[string]string), ended: make(map[string]bool),
	}
	p.boxes[id] = b
	go b.listen()
	return b
}

// sweep closes boxes of demands whose time is over. The lock is held.
func (p *postOffice) sweep() {
	now := time.Now()
	for id, b := range p.boxes {
		if !b.expires.After(now) {
			b.close()
			delete(p.boxes, id)
		}
	}
}

func (p *postOffice) close(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if b, ok := p.boxes[id]; ok {
		b.close()
		delete(p.boxes, id)
	}
}

func (b *mailbox) close() {
	close(b.done)
	b.cursor.Close()
}

// listen passes on the cursor's word to all polls at once.
func (b *mailbox) listen() {
	for {
		select {
		case <-b.cursor.Wake():
			b.ring()
		case <-b.done:
			return
		}
	}
}

func (b *mailbox) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.moved)
	b.moved = make(chan struct{})
}

// news is closed when matches come after this call.
func (b *mailbox) news() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.moved
}

// free makes an offer available again after an agreement about it ended. It
// does so once per agreement; those about one offer come in the order in which
// they were made.
func (b *mailbox) free(offerID, agreementID string) {
	b.mu.Lock()
	known := b.ended[agreementID]
	if !known {
		b.freed[offerID], b.ended[agreementID] = agreementID, true
	}
	b.mu.Unlock()
	if !known {
		b.cursor.Return(offerID)
	}
}

// after is the agreement whose end made an offer available again, "" = none.
func (b *mailbox) after(offerID string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.freed[offerID]
}
