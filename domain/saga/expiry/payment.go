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
		b.run(r, id, e.NextAt)
	case cycle.RunRequested:
		b.run(r, id, e.NextAt)
	default:
		b.hearBill(r)
	}
}

func (b *Book) budget(r es.Recorded, id string, timeout time.Time) {
	b.set(r, "allocation/"+id, timeout, func(at time.Time) es.Order {
		return es.Order{Category: ops.Category, ID: id, Command: ops.ExpireAllocation{AllocationID: id, At: at}}
	})
}

func (b *Book) run(r es.Recorded, id string, next time.Time) {
	b.set(r, "cycle/"+id, next, func(at time.Time) es.Order {
		return es.Order{Category: cycle.Category, ID: id, Command: cycle.RequestRun{At: at, By: own, Why: cycle.ByInterval}}
	})
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
		b.owed(r, id, e.DebitNoteID)
	case dbill.InvoiceAccepted:
		b.owed(r, id, e.InvoiceID)
	case dbill.Settled:
		b.clear("due/" + e.DocumentID)
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
	b.set(r, "due/"+document, at, func(at time.Time) es.Order {
		return es.Order{Category: cycle.Category, ID: owed.cycle, Command: cycle.RequestRun{At: at, By: own, Why: cycle.ByDueDate}}
	})
}
