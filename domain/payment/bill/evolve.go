package bill

import (
	"slices"

	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
)

func evolve(s State, e Event) State {
	switch e := e.(type) {
	case Opened:
		s.AgreementID, s.Side = e.AgreementID, e.Side
		s.Terms = payment.Terms{
			AppSessionID: e.AppSessionID, PayeeAddr: e.PayeeAddr, PayeeID: e.PayeeID,
			PayerAddr: e.PayerAddr, PayerID: e.PayerID, Platform: e.Platform,
		}
	case NoteIssued:
		return s.note(Document{
			ActivityIDs: []string{e.ActivityID}, Amount: e.Amount, DueDate: e.DueDate, ID: e.DebitNoteID, Kind: payment.DebitNote,
			Nonce: e.Nonce, PreviousID: e.PreviousID, Status: payment.Issued, Timestamp: e.Timestamp,
			UsageVector: e.UsageVector, sending: true,
		})
	case NoteReceived:
		return s.note(Document{
			ActivityIDs: []string{e.ActivityID}, Amount: e.Amount, AmountText: e.AmountText, DueDate: e.DueDate, ID: e.DebitNoteID,
			Kind: payment.DebitNote, Nonce: e.Nonce, PreviousID: e.PreviousID, Status: payment.Received,
			Timestamp: e.Timestamp, UsageVector: e.UsageVector,
		})
	case InvoiceIssued:
		return s.invoice(Document{
			ActivityIDs: e.ActivityIDs, Amount: e.Amount, DueDate: e.DueDate, ID: e.InvoiceID, Kind: payment.Invoice,
			Status: payment.Issued, Timestamp: e.Timestamp, sending: true,
		})
	case InvoiceReceived:
		return s.invoice(Document{
			ActivityIDs: e.ActivityIDs, Amount: e.Amount, AmountText: e.AmountText, DueDate: e.DueDate, ID: e.InvoiceID,
			Kind: payment.Invoice, Status: payment.Received, Timestamp: e.Timestamp,
		})
	default:
		return s.answer(e)
	}
	return s
}

// note adds a debit note to the chain of its activity.
func (s State) note(d Document) State {
	s.docs = s.docs.Set(d.ID, d)
	if d.Status == payment.Issued {
		s.open = opened(s.open, d.ID)
	}
	id := d.ActivityIDs[0]
	return s.activity(id, func(a *Activity) {
		a.Last, a.Notes = d.ID, a.Notes+1
		a.Totals.Due = a.Totals.Due.Max(d.Amount)
	})
}

func (s State) invoice(d Document) State {
	s.docs, s.InvoiceID = s.docs.Set(d.ID, d), d.ID
	if d.Status == payment.Issued {
		s.open = opened(s.open, d.ID)
	}
	return s
}

// answer folds what was said about one document.
func (s State) answer(e Event) State {
	switch e := e.(type) {
	case NoteDelivered:
		return s.doc(e.DebitNoteID, (*Document).delivered)
	case InvoiceDelivered:
		return s.doc(e.InvoiceID, (*Document).delivered)
	case NoteUndeliverable:
		return s.doc(e.DebitNoteID, func(d *Document) { d.sending = false })
	case InvoiceUndeliverable:
		return s.doc(e.InvoiceID, func(d *Document) { d.sending = false })
	case NoteAccepted:
		r := payment.Range{
			ActivityID: e.ActivityID, AgreementID: e.AgreementID, AllocationID: e.AllocationID,
			From: e.From, PayeeID: s.Terms.PayeeID, To: e.To,
		}
		return s.accept(e.DebitNoteID, r)
	case InvoiceAccepted:
		r := payment.Range{
			AgreementID: e.AgreementID, AllocationID: e.AllocationID, From: e.From, PayeeID: s.Terms.PayeeID, To: e.To,
		}
		return s.accept(e.InvoiceID, r)
	case NoteAcceptedByPeer:
		return s.acceptedByPeer(e.DebitNoteID, e.ActivityID, e.Amount)
	case InvoiceAcceptedByPeer:
		return s.acceptedByPeer(e.InvoiceID, "", e.Amount)
	case AcceptanceDelivered:
		return s.doc(e.DocumentID, func(d *Document) { d.accepting = false })
	case AcceptanceRefused:
		return s.doc(e.DocumentID, func(d *Document) { d.accepting = false })
	case NoteRejected:
		return s.doc(e.DebitNoteID, func(d *Document) { d.reject(e.Rejection, true) })
	case InvoiceRejected:
		return s.doc(e.InvoiceID, func(d *Document) { d.reject(e.Rejection, true) })
	case NoteRejectedByPeer:
		return s.doc(e.DebitNoteID, func(d *Document) { d.reject(e.Rejection, false) })
	case InvoiceRejectedByPeer:
		return s.doc(e.InvoiceID, func(d *Document) { d.reject(e.Rejection, false) })
	case NoteCancelled:
		return s.doc(e.DebitNoteID, func(d *Document) { d.Status, d.noticing = payment.Cancelled, true })
	case InvoiceCancelled:
		return s.doc(e.InvoiceID, func(d *Document) { d.Status, d.noticing = payment.Cancelled, true })
	case NoteCancelledByPeer:
		return s.doc(e.DebitNoteID, func(d *Document) { d.Status = payment.Cancelled })
	case InvoiceCancelledByPeer:
		return s.doc(e.InvoiceID, func(d *Document) { d.Status = payment.Cancelled })
	case NoticeDelivered:
		return s.doc(e.DocumentID, func(d *Document) { d.noticing = false })
	case NoticeAbandoned:
		return s.doc(e.DocumentID, func(d *Document) { d.noticing = false })
	case Flagged:
		return s.doc(e.DocumentID, func(d *Document) { d.flags = append(slices.Clip(d.flags), e.What) })
	default:
		return s.money(e)
	}
}

func (d *Document) delivered() {
	d.sending = false
	if d.Status == payment.Issued {
		d.Status = payment.Received
	}
}

func (d *Document) reject(rejection string, tell bool) {
	d.Status, d.Rejection = payment.Rejected, rejection
	d.noticing = d.noticing || tell
}

func (s State) accept(id string, r payment.Range) State {
	s = s.doc(id, func(d *Document) {
		d.Status, d.accepting, d.AllocationID, d.Added = payment.Accepted, true, r.AllocationID, r
	})
	s.open = opened(s.open, id)
	s.accepted = s.accepted.Add(r.Amount())
	return s.activity(r.ActivityID, func(a *Activity) { a.Totals.Accepted = r.To })
}

// acceptedByPeer mirrors at the provider what the requestor counted. An invoice
// that was accepted before its notes includes them.
func (s State) acceptedByPeer(id, activityID string, amount money.Amount) State {
	s = s.doc(id, func(d *Document) { d.Status = payment.Accepted })
	s.open = opened(s.open, id)
	before := s.accepted
	if activityID != "" {
		before = s.Activity(activityID).Totals.Accepted
	}
	add := amount.Sub(before).Max(money.Amount{})
	if included := add.Min(s.Activity("").Totals.Accepted); activityID != "" && !included.IsZero() {
		s.accepted = s.accepted.Sub(included)
		s = s.activity("", func(a *Activity) { a.Totals.Accepted = a.Totals.Accepted.Sub(included) })
	}
	s.accepted = s.accepted.Add(add)
	return s.activity(activityID, func(a *Activity) { a.Totals.Accepted = a.Totals.Accepted.Add(add) })
}

// money folds what was scheduled and paid.
func (s State) money(e Event) State {
	switch e := e.(type) {
	case Scheduled:
		s.intents = s.intents.Set(e.IntentID, Intent{ID: e.IntentID, OrderID: e.OrderID, PaymentID: e.PaymentID, Ranges: e.Ranges})
		s.scheduled = s.scheduled.Add(payment.Total(e.Ranges))
		for _, r := range e.Ranges {
			s = s.activity(r.ActivityID, func(a *Activity) { a.Totals.Scheduled = r.To })
		}
	case Paid:
		s.payments = s.payments.Set(e.PaymentID, Payment{ID: e.PaymentID, IntentID: e.IntentID, Ranges: e.Ranges, TxHash: e.TxHash})
		return s.pay(e.Ranges, 1)
	case PaymentReversed:
		p, _ := s.payments.Get(e.PaymentID)
		p.Reversed = true
		s.payments = s.payments.Set(e.PaymentID, p)
		return s.pay(e.Ranges, -1)
	case Settled:
		s = s.doc(e.DocumentID, func(d *Document) { d.Status = payment.Settled })
		s.open = slices.DeleteFunc(slices.Clone(s.open), func(id string) bool { return id == e.DocumentID })
	case Unsettled:
		s = s.doc(e.DocumentID, func(d *Document) { d.Status = payment.Accepted })
		s.open = opened(s.open, e.DocumentID)
	case Opened, NoteIssued, NoteReceived, InvoiceIssued, InvoiceReceived:
		// evolve folds them
	case NoteDelivered, InvoiceDelivered, NoteUndeliverable, InvoiceUndeliverable,
		NoteAccepted, InvoiceAccepted, NoteAcceptedByPeer, InvoiceAcceptedByPeer, AcceptanceDelivered, AcceptanceRefused,
		NoteRejected, InvoiceRejected, NoteRejectedByPeer, InvoiceRejectedByPeer,
		NoteCancelled, InvoiceCancelled, NoteCancelledByPeer, InvoiceCancelledByPeer,
		NoticeDelivered, NoticeAbandoned, Flagged:
		// answer folds them
	}
	return s
}

func (s State) pay(ranges []payment.Range, sign int) State {
	for _, r := range ranges {
		amount := r.Amount()
		if sign < 0 {
			amount = amount.Neg()
		}
		s.paid = s.paid.Add(amount)
		s = s.activity(r.ActivityID, func(a *Activity) { a.Totals.Paid = a.Totals.Paid.Add(amount) })
	}
	return s
}

// opened adds a document to those that may still be settled. At the provider
// it is there from its issue on.
func opened(open []string, id string) []string {
	if slices.Contains(open, id) {
		return open
	}
	return append(slices.Clip(open), id)
}

func (s State) doc(id string, change func(*Document)) State {
	s.docs = s.docs.Update(id, change)
	return s
}

// activity changes the debt of one activity.
func (s State) activity(id string, change func(*Activity)) State {
	isNew := false
	s.activities = s.activities.Change(id, func(a *Activity) {
		isNew, a.ID = a.ID == "" && id != "", id
		due := a.Totals.Due
		change(a)
		s.due = s.due.Sub(due).Add(a.Totals.Due)
	})
	if isNew {
		s.order = &link{id: id, next: s.order}
	}
	return s
}
