package expiry

import (
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/payment/allocation"
	dbill "github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/cycle"
	"github.com/emet-node/emet/domain/payment/ops"
)

// bill is what due dates need of a payer's bill.
type bill struct {
	cycle string // stream id of the payer's cycle
	due   map[string]time.Time
}

// settling is what a payer's cycle is about to do. A run with nothing to pay
// would only make the log longer, so there is a deadline only while something
// that was accepted is not paid.
type settling struct {
	next     time.Time
	interval time.Duration
	unpaid   map[string]bool // documents, by stream and id: their issuers choose the ids
}

// hearPayment: budgets end at their timeout; settlement runs at its interval,
// and shortly before an accepted document is due.
func (b *Book) hearPayment(r es.Recorded) {
	id := r.Stream.Key()
	switch e := r.Data.(type) {
	case allocation.Created:
		b.budget(r, id, e.Timeout)
	case allocation.Amended:
		b.budget(r, id, e.Timeout)
	case allocation.Released, allocation.Expired:
		b.clear("allocation/" + id)
	case cycle.Configured:
		c := b.cycle(id)
		c.next, c.interval = e.NextAt, time.Duration(e.IntervalSec)*time.Second
		b.run(r, id)
	case cycle.RunRequested:
		b.cycle(id).next = e.NextAt
		b.run(r, id)
	default:
		b.hearBill(r)
	}
}

func (b *Book) budget(r es.Recorded, id string, timeout time.Time) {
	b.set(r, "allocation/"+id, timeout, func(at time.Time) es.Order {
		return es.Order{Category: ops.Category, ID: id, Command: ops.ExpireAllocation{AllocationID: id, At: at}}
	})
}

func (b *Book) cycle(id string) *settling {
	c, ok := b.cycles[id]
	if !ok {
		c = &settling{unpaid: make(map[string]bool)}
		b.cycles[id] = c
	}
	return c
}

// run sets the next run of a cycle, or none. Those that were left out keep the
// beat.
func (b *Book) run(r es.Recorded, id string) {
	c := b.cycle(id)
	if len(c.unpaid) == 0 {
		b.clear("cycle/" + id)
		return
	}
	next := c.next
	if late := r.Recorded.Sub(next); late > 0 && c.interval > 0 {
		next = next.Add((late/c.interval + 1) * c.interval)
	}
	b.set(r, "cycle/"+id, next, func(at time.Time) es.Order {
		return es.Order{Category: cycle.Category, ID: id, Command: cycle.RequestRun{At: at, By: own, Why: cycle.ByInterval}}
	})
}

// owes notes that a document of a payer's bill waits to be paid, or does not.
func (b *Book) owes(r es.Recorded, stream, document string, unpaid bool) {
	owed, ok := b.bills[stream]
	if !ok {
		return
	}
	c := b.cycle(owed.cycle)
	before := len(c.unpaid)
	if key := stream + "/" + document; unpaid {
		c.unpaid[key] = true
	} else {
		delete(c.unpaid, key)
	}
	if (before == 0) != (len(c.unpaid) == 0) {
		b.run(r, owed.cycle)
	}
}

func (b *Book) hearBill(r es.Recorded) {
	id := r.Stream.Key()
	switch e := r.Data.(type) {
	case dbill.Opened:
		if e.Side == identity.Requestor {
			b.bills[id] = bill{cycle: cycle.StreamID(e.Platform, e.PayerAddr), due: make(map[string]time.Time)}
		}
	case dbill.NoteReceived:
		b.due(id, e.DebitNoteID, e.DueDate)
	case dbill.InvoiceReceived:
		b.due(id, e.InvoiceID, e.DueDate)
	case dbill.NoteAccepted:
		b.owes(r, id, e.DebitNoteID, true)
		b.owed(r, id, e.DebitNoteID)
	case dbill.InvoiceAccepted:
		b.owes(r, id, e.InvoiceID, true)
		b.owed(r, id, e.InvoiceID)
	case dbill.Settled:
		b.owes(r, id, e.DocumentID, false)
		b.clear("due/" + id + "/" + e.DocumentID)
	case dbill.Unsettled:
		b.owes(r, id, e.DocumentID, true)
	}
}

func (b *Book) due(stream, document string, at time.Time) {
	if owed, ok := b.bills[stream]; ok && !at.IsZero() {
		owed.due[document] = at
	}
}

func (b *Book) owed(r es.Recorded, stream, document string) {
	owed, ok := b.bills[stream]
	at := owed.due[document]
	if !ok || at.IsZero() {
		return
	}
	delete(owed.due, document)
	at = at.Add(-cycle.Lead)
	if at.Before(r.Recorded) {
		at = r.Recorded
	}
	b.set(r, "due/"+stream+"/"+document, at, func(at time.Time) es.Order {
		return es.Order{Category: cycle.Category, ID: owed.cycle, Command: cycle.RequestRun{At: at, By: own, Why: cycle.ByDueDate}}
	})
}
