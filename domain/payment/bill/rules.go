package bill

import (
	"errors"
	"fmt"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
)

// Rules say what may happen to the bill of an agreement, and what it then is.
var Rules = es.Decider[Command, Event, State]{Decide: decide, Evolve: evolve}

// Refusals.
var (
	ErrUnknownDocument = errors.New("there is no such document")
	ErrAlreadyInvoiced = errors.New("the agreement has an invoice already")
	ErrOtherContent    = errors.New("another document with this id was received before")
	ErrOtherTerms      = errors.New("the document does not keep to the terms of the agreement")
	ErrAmount          = errors.New("Invalid amount accepted") //nolint:staticcheck // clients show this sentence
	ErrNegative        = errors.New("an amount must not be negative")
	ErrActivity        = errors.New("the activity is not of this agreement")
	ErrNameless        = errors.New("the document does not say what it is about") // "" is what an invoice adds, and no document
	ErrSide            = errors.New("this is for the other side of the deal")
	ErrRange           = errors.New("these ranges cannot be scheduled")
	ErrIntent          = errors.New("nothing is scheduled under this intent")
)

// WrongStatus says that a document is in a status in which it cannot be asked
// for this.
type WrongStatus struct {
	DocumentID string
	Kind       payment.Kind
	Status     payment.Status
}

func (e *WrongStatus) Error() string {
	return fmt.Sprintf("%s %s is %s", e.Kind, e.DocumentID, e.Status)
}

// AmountLowered says that an invoice is less than what was billed before.
type AmountLowered struct{ Asked, Due money.Amount }

func (e *AmountLowered) Error() string {
	return fmt.Sprintf("Requested amount for agreement cannot be lowered by invoice. Notes: %s, invoice: %s", e.Due, e.Asked)
}

// InvoiceTooSmall says that more was accepted in notes than the invoice asks.
type InvoiceTooSmall struct{ Accepted, Amount money.Amount }

func (e *InvoiceTooSmall) Error() string {
	return fmt.Sprintf("Invoice is smaller than agreement.total_amount_accepted: invoice %s, accepted %s", e.Amount, e.Accepted)
}

func decide(s State, c Command) ([]Event, error) {
	switch c := c.(type) {
	case IssueNote:
		return issueNote(s, c)
	case IssueInvoice:
		return issueInvoice(s, c)
	case ReceiveNote:
		return receiveNote(s, c)
	case ReceiveInvoice:
		return receiveInvoice(s, c)
	case AcceptNote:
		return acceptNote(s, c)
	case AcceptInvoice:
		return acceptInvoice(s, c)
	case Reject:
		return reject(s, c)
	case Cancel:
		return cancel(s, c)
	case HearAcceptance:
		return hearAcceptance(s, c)
	case HearRejection:
		return hearRejection(s, c)
	case HearCancellation:
		return hearCancellation(s, c)
	case AnswerDelivery, AnswerAcceptance, AnswerNotice, Raise:
		return answer(s, c)
	case Schedule, MarkPaid, CreditPayment, ReversePayment, Settle:
		return move(s, c)
	}
	return nil, es.ErrWrongCommand
}

// opening are the facts that come before the first document. The terms of an
// open bill stand.
func opening(s State, side identity.Side, agreementID string, t payment.Terms) (State, []Event) {
	if s.AgreementID != "" {
		return s, nil
	}
	e := Opened{
		AgreementID: agreementID, AppSessionID: t.AppSessionID, PayeeAddr: t.PayeeAddr, PayeeID: t.PayeeID,
		PayerAddr: t.PayerAddr, PayerID: t.PayerID, Platform: t.Platform, Side: side,
	}
	return evolve(s, e), []Event{e}
}

// owner is the local identity that the bill belongs to.
func (s State) owner() identity.NodeID {
	if s.Side == identity.Requestor {
		return s.Terms.PayerID
	}
	return s.Terms.PayeeID
}

// peer is the other party.
func (s State) peer() identity.NodeID {
	if s.Side == identity.Requestor {
		return s.Terms.PayeeID
	}
	return s.Terms.PayerID
}

// ours finds a document that the caller may decide about as one side.
func (s State) ours(by identity.Caller, side identity.Side, id string, kind payment.Kind) (Document, error) {
	if s.AgreementID != "" && s.Side != side {
		return Document{}, ErrSide
	}
	d, ok := s.docs.Get(id)
	if !ok || d.Kind != kind {
		return Document{}, ErrUnknownDocument
	}
	return d, by.MayAct(s.owner(), side)
}

// theirs finds a document that the other party speaks about.
func (s State) theirs(by identity.Caller, side identity.Side, id string, kind payment.Kind) (Document, error) {
	if s.AgreementID != "" && s.Side != side {
		return Document{}, ErrSide
	}
	d, ok := s.docs.Get(id)
	if !ok || d.Kind != kind {
		return Document{}, ErrUnknownDocument
	}
	return d, by.IsPeer(s.peer())
}

// invoiced says whether there is an invoice that counts.
func (s State) invoiced() bool {
	d, ok := s.docs.Get(s.InvoiceID)
	return ok && d.Status != payment.Cancelled
}

func wrong(d Document) error {
	return &WrongStatus{DocumentID: d.ID, Kind: d.Kind, Status: d.Status}
}
