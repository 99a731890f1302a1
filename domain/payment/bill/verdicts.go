package bill

import (
	"fmt"
	"slices"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
)

// accepting says whether a document can be accepted now. Both false and no
// error means that it is accepted already.
func accepting(d Document, amount money.Decimal) (bool, error) {
	if !amount.Equal(d.Said()) && !amount.Equal(d.Amount.Decimal()) {
		return false, fmt.Errorf("%w: %s, the document says %s", ErrAmount, amount, d.Said())
	}
	switch d.Status {
	case payment.Received, payment.Rejected:
		return true, nil
	case payment.Accepted, payment.Settled:
		return false, nil
	}
	return false, wrong(d)
}

func acceptNote(s State, c AcceptNote) ([]Event, error) {
	d, err := s.ours(c.By, identity.Requestor, c.DebitNoteID, payment.DebitNote)
	if err != nil {
		return nil, err
	}
	if ok, err := accepting(d, c.Amount); !ok {
		return nil, err
	}
	if i, ok := s.docs.Get(s.InvoiceID); ok && i.Status != payment.Received {
		return nil, nil // the invoice was decided on, and it includes this note
	}
	a := s.Activity(d.ActivityIDs[0])
	from := a.Totals.Accepted
	to := from.Max(d.Amount)
	return s.thenSettle([]Event{NoteAccepted{
		ActivityID: a.ID, AgreementID: s.AgreementID, AllocationID: c.AllocationID, Amount: d.Amount,
		DebitNoteID: d.ID, Delta: to.Sub(from), From: from, Side: s.Side, To: to,
	}})
}

func acceptInvoice(s State, c AcceptInvoice) ([]Event, error) {
	d, err := s.ours(c.By, identity.Requestor, c.InvoiceID, payment.Invoice)
	if err != nil {
		return nil, err
	}
	if ok, err := accepting(d, c.Amount); !ok {
		return nil, err
	}
	if d.Amount.Less(s.accepted) {
		return nil, &InvoiceTooSmall{Accepted: s.accepted, Amount: d.Amount}
	}
	from := s.Activity("").Totals.Accepted
	delta := d.Amount.Sub(s.accepted)
	return s.thenSettle([]Event{InvoiceAccepted{
		AgreementID: s.AgreementID, AllocationID: c.AllocationID, Amount: d.Amount, Delta: delta, From: from,
		InvoiceID: d.ID, Side: s.Side, To: from.Add(delta),
	}})
}

func reject(s State, c Reject) ([]Event, error) {
	d, err := s.ours(c.By, identity.Requestor, c.DocumentID, c.Kind)
	if err != nil {
		return nil, err
	}
	switch d.Status {
	case payment.Rejected:
		return nil, nil
	case payment.Received:
	default:
		return nil, wrong(d)
	}
	if c.Kind == payment.DebitNote {
		return []Event{NoteRejected{AgreementID: s.AgreementID, DebitNoteID: d.ID, Rejection: c.Rejection, Side: s.Side}}, nil
	}
	return []Event{InvoiceRejected{AgreementID: s.AgreementID, InvoiceID: d.ID, Rejection: c.Rejection, Side: s.Side}}, nil
}

func cancel(s State, c Cancel) ([]Event, error) {
	d, err := s.ours(c.By, identity.Provider, c.DocumentID, c.Kind)
	if err != nil {
		return nil, err
	}
	switch d.Status {
	case payment.Cancelled:
		return nil, nil
	case payment.Issued, payment.Received, payment.Rejected:
	default:
		return nil, wrong(d)
	}
	if c.Kind == payment.DebitNote {
		return []Event{NoteCancelled{AgreementID: s.AgreementID, DebitNoteID: d.ID, Side: s.Side}}, nil
	}
	return []Event{InvoiceCancelled{AgreementID: s.AgreementID, InvoiceID: d.ID, Side: s.Side}}, nil
}

func hearAcceptance(s State, c HearAcceptance) ([]Event, error) {
	d, err := s.theirs(c.By, identity.Provider, c.DocumentID, c.Kind)
	if err != nil {
		return nil, err
	}
	if !c.Amount.Equal(d.Amount.Decimal()) {
		return nil, fmt.Errorf("%w: %s, the document says %s", ErrAmount, c.Amount, d.Amount)
	}
	switch d.Status {
	case payment.Accepted, payment.Settled:
		return nil, nil
	case payment.Cancelled:
		return nil, wrong(d)
	}
	if c.Kind == payment.Invoice {
		return s.thenSettle([]Event{InvoiceAcceptedByPeer{
			AgreementID: s.AgreementID, Amount: d.Amount, InvoiceID: d.ID, Raw: c.Raw, Side: s.Side,
		}})
	}
	return s.thenSettle([]Event{NoteAcceptedByPeer{
		ActivityID: d.ActivityIDs[0], AgreementID: s.AgreementID, Amount: d.Amount, DebitNoteID: d.ID, Raw: c.Raw, Side: s.Side,
	}})
}

func hearRejection(s State, c HearRejection) ([]Event, error) {
	d, err := s.theirs(c.By, identity.Provider, c.DocumentID, c.Kind)
	if err != nil {
		return nil, err
	}
	switch d.Status {
	case payment.Rejected:
		return nil, nil
	case payment.Accepted, payment.Settled, payment.Cancelled:
		return nil, wrong(d)
	}
	if c.Kind == payment.Invoice {
		return []Event{InvoiceRejectedByPeer{AgreementID: s.AgreementID, InvoiceID: d.ID, Raw: c.Raw, Rejection: c.Rejection, Side: s.Side}}, nil
	}
	return []Event{NoteRejectedByPeer{AgreementID: s.AgreementID, DebitNoteID: d.ID, Raw: c.Raw, Rejection: c.Rejection, Side: s.Side}}, nil
}

func hearCancellation(s State, c HearCancellation) ([]Event, error) {
	d, err := s.theirs(c.By, identity.Requestor, c.DocumentID, c.Kind)
	if err != nil {
		return nil, err
	}
	switch d.Status {
	case payment.Cancelled:
		return nil, nil
	case payment.Accepted, payment.Settled:
		return nil, wrong(d)
	}
	if c.Kind == payment.Invoice {
		return []Event{InvoiceCancelledByPeer{AgreementID: s.AgreementID, InvoiceID: d.ID, Raw: c.Raw, Side: s.Side}}, nil
	}
	return []Event{NoteCancelledByPeer{AgreementID: s.AgreementID, DebitNoteID: d.ID, Raw: c.Raw, Side: s.Side}}, nil
}

// answer closes intents. While one is open there is exactly one fact.
func answer(s State, c Command) ([]Event, error) {
	switch c := c.(type) {
	case AnswerDelivery:
		if d, ok := s.docs.Get(c.DocumentID); ok && d.sending {
			return []Event{s.delivery(d, c.Refusal)}, nil
		}
	case AnswerAcceptance:
		d, ok := s.docs.Get(c.DocumentID)
		switch {
		case !ok || !d.accepting:
		case c.Refusal != "":
			return []Event{AcceptanceRefused{AgreementID: s.AgreementID, DocumentID: d.ID, Kind: d.Kind, Side: s.Side, Why: c.Refusal}}, nil
		default:
			return []Event{AcceptanceDelivered{AgreementID: s.AgreementID, DocumentID: d.ID, Kind: d.Kind, Side: s.Side}}, nil
		}
	case AnswerNotice:
		d, ok := s.docs.Get(c.DocumentID)
		switch {
		case !ok || !d.noticing:
		case c.Abandoned != "":
			return []Event{NoticeAbandoned{AgreementID: s.AgreementID, DocumentID: d.ID, Kind: d.Kind, Side: s.Side, Why: c.Abandoned}}, nil
		default:
			return []Event{NoticeDelivered{AgreementID: s.AgreementID, DocumentID: d.ID, Kind: d.Kind, Side: s.Side}}, nil
		}
	case Raise:
		if d, ok := s.docs.Get(c.DocumentID); !ok || slices.Contains(d.flags, c.What) {
			return nil, nil
		}
		return []Event{s.flag(c.DocumentID, c.Kind, c.What, c.Detail)}, nil
	default:
		return nil, es.ErrWrongCommand
	}
	return nil, nil
}

func (s State) delivery(d Document, refusal string) Event {
	switch note := d.Kind == payment.DebitNote; {
	case note && refusal == "":
		return NoteDelivered{AgreementID: s.AgreementID, DebitNoteID: d.ID, Side: s.Side}
	case note:
		return NoteUndeliverable{AgreementID: s.AgreementID, DebitNoteID: d.ID, Side: s.Side, Why: refusal}
	case refusal == "":
		return InvoiceDelivered{AgreementID: s.AgreementID, InvoiceID: d.ID, Side: s.Side}
	}
	return InvoiceUndeliverable{AgreementID: s.AgreementID, InvoiceID: d.ID, Side: s.Side, Why: refusal}
}
