package billing

import (
	"encoding/json"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment/bill"
)

var own = identity.Caller{Actor: es.ActorSaga, Grade: es.GradeSelf}

// note asks for a debit note over the newest reading. The last one of an
// activity is payable; others only when the time to pay has passed since the
// last payable one. Without an agreed time to pay no note ever is: requestors
// take such a note for a breach.
func (s State) note(w work, r es.Recorded, last bool) State {
	var due time.Time
	if s.timeout > 0 && (last || !s.payable.Add(s.timeout).After(r.Recorded)) {
		due, s.payable = r.Recorded.Add(s.timeout), r.Recorded
	}
	s = s.change(w.id, func(w *work) { w.notedAt = r.Recorded })
	s.orders = append(s.orders, s.toBill(bill.IssueNote{
		ActivityID: w.id, AgreementID: s.id, Amount: w.cost, At: r.Recorded, By: own,
		DebitNoteID: s.name("note", r), DueDate: due, Terms: s.terms, UsageEventID: w.usageID.String(), UsageVector: w.vector,
	}))
	return s
}

// finish writes the last note of an activity. One that was never measured has
// cost nothing.
func (s State) finish(id string, r es.Recorded) State {
	w, ok := s.work(id)
	if !ok || w.done {
		return s
	}
	if w.billable && !s.byAgent {
		s = s.note(w, r, true)
	}
	return s.change(id, func(w *work) { w.done = true })
}

// invoice asks for the one invoice when all is over, also over nothing. It names
// the activities that were measured: of one whose exe-unit could not be started
// the requestor may know nothing, and would refuse the bill.
func (s State) invoice(r es.Recorded) State {
	if !s.finished() || s.asked || s.invoiced {
		return s
	}
	var total money.Amount
	ids := make([]string, 0, len(s.activities))
	for _, w := range s.activities {
		if w.billable {
			total, ids = total.Add(w.cost), append(ids, w.id)
		}
	}
	due := s.timeout
	if due == 0 {
		due = DefaultDue
	}
	s.asked = true
	s.orders = append(s.orders, s.toBill(bill.IssueInvoice{
		ActivityIDs: ids, AgreementID: s.id, Amount: total, At: r.Recorded, By: own,
		DueDate: r.Recorded.Add(due), InvoiceID: s.name("invoice", r), Terms: s.terms,
	}))
	return s
}

// breakOff ends an agreement whose requestor does not pay for what it used.
func breakOff(e bill.NoteRejectedByPeer) es.Order {
	var rejection struct {
		Reason string `json:"rejectionReason"`
	}
	_ = json.Unmarshal([]byte(e.Rejection), &rejection) // a reason that cannot be read is no reason
	text, err := es.CanonicalJSON(map[string]string{
		"golem.provider.code": "DebitNoteRejected",
		"message":             "Requestor rejected the debit note: " + rejection.Reason,
	})
	if err != nil {
		text = []byte(`{"golem.provider.code":"DebitNoteRejected","message":"Requestor rejected the debit note"}`)
	}
	return es.Order{
		Category: agreement.Category, ID: agreement.StreamID(identity.Provider, e.AgreementID), Correlation: e.AgreementID,
		Command: agreement.Terminate{By: own, Reason: string(text)},
	}
}

func (s State) toBill(c bill.Command) es.Order {
	return es.Order{
		Category: bill.Category, ID: bill.StreamID(identity.Provider, s.id), Command: c,
		Correlation: s.id, Identity: string(s.terms.PayeeID),
	}
}
