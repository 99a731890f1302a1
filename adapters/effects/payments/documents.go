package payments

import (
	"context"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/peer"
)

const (
	callTime = 5 * time.Second
	// sendFor bounds how long a document, acceptance or proof is sent again.
	sendFor = 30 * 24 * time.Hour
)

// send delivers a message. It returns ("", nil) when the peer took it, its
// refusal, or an error when it should be tried again.
func (e *Effects) send(ctx context.Context, a effects.Attempt, from, to identity.NodeID, m peer.Message) (refusal string, err error) {
	call, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	_, err = e.Peers.Call(call, from, to, m)
	no, refused := effects.RefusalOf(err)
	switch {
	case err == nil:
		return "", nil
	case refused && !no.MayPass():
		return string(no.Code) + ": " + no.Text, nil
	case time.Since(a.Intent.Recorded) > sendFor:
		return "given up: " + err.Error(), nil
	}
	return "", err
}

// parties loads a bill and says who we are in it and who the other one is.
func (e *Effects) parties(ctx context.Context, a effects.Attempt) (s bill.State, from, to identity.NodeID, err error) {
	s, _, err = e.Bills.Load(ctx, a.Intent.Stream.Key())
	if s.Side == identity.Provider {
		return s, s.Terms.PayeeID, s.Terms.PayerID, err
	}
	return s, s.Terms.PayerID, s.Terms.PayeeID, err
}

func billOutcome(a effects.Attempt, to identity.NodeID, c bill.Command) effects.Outcome {
	return effects.Outcome{Peer: string(to), Order: es.Order{Category: bill.Category, ID: a.Intent.Stream.Key(), Command: c}}
}

func (e *Effects) sendNote(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
	n := a.Intent.Data.(bill.NoteIssued)
	s, from, to, err := e.parties(ctx, a)
	if err != nil {
		return effects.Outcome{}, err
	}
	refusal, err := e.send(ctx, a, from, to, peer.DebitNote{
		ActivityID: n.ActivityID, AgreementID: n.AgreementID, DebitNoteID: n.DebitNoteID, PayeeAddr: s.Terms.PayeeAddr,
		PayerAddr: s.Terms.PayerAddr, PaymentDueDate: n.DueDate, PaymentPlatform: string(s.Terms.Platform), PreviousID: n.PreviousID,
		Timestamp: n.Timestamp, TotalAmountDue: n.Amount.String(), UsageCounterJSON: n.UsageVector,
	})
	if err != nil {
		return effects.Outcome{}, err
	}
	return billOutcome(a, to, bill.AnswerDelivery{DocumentID: n.DebitNoteID, Refusal: refusal}), nil
}

func (e *Effects) sendInvoice(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
	i := a.Intent.Data.(bill.InvoiceIssued)
	s, from, to, err := e.parties(ctx, a)
	if err != nil {
		return effects.Outcome{}, err
	}
	refusal, err := e.send(ctx, a, from, to, peer.Invoice{
		ActivityIDs: i.ActivityIDs, AgreementID: i.AgreementID, Amount: i.Amount.String(), InvoiceID: i.InvoiceID,
		PayeeAddr: s.Terms.PayeeAddr, PayerAddr: s.Terms.PayerAddr, PaymentDueDate: i.DueDate,
		PaymentPlatform: string(s.Terms.Platform), Timestamp: i.Timestamp,
	})
	if err != nil {
		return effects.Outcome{}, err
	}
	return billOutcome(a, to, bill.AnswerDelivery{DocumentID: i.InvoiceID, Refusal: refusal}), nil
}

func (e *Effects) sendAcceptance(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
	_, from, to, err := e.parties(ctx, a)
	if err != nil {
		return effects.Outcome{}, err
	}
	var (
		m  peer.Message
		id string
	)
	switch f := a.Intent.Data.(type) {
	case bill.NoteAccepted:
		m, id = peer.DebitNoteAccepted{AgreementID: f.AgreementID, Amount: f.Amount.String(), DebitNoteID: f.DebitNoteID}, f.DebitNoteID
	case bill.InvoiceAccepted:
		m, id = peer.InvoiceAccepted{AgreementID: f.AgreementID, Amount: f.Amount.String(), InvoiceID: f.InvoiceID}, f.InvoiceID
	}
	refusal, err := e.send(ctx, a, from, to, m)
	if err != nil {
		return effects.Outcome{}, err
	}
	return billOutcome(a, to, bill.AnswerAcceptance{DocumentID: id, Refusal: refusal}), nil
}

func (e *Effects) sendNotice(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
	_, from, to, err := e.parties(ctx, a)
	if err != nil {
		return effects.Outcome{}, err
	}
	var (
		m  peer.Message
		id string
	)
	switch f := a.Intent.Data.(type) {
	case bill.NoteRejected:
		m, id = peer.DebitNoteRejected{AgreementID: f.AgreementID, DebitNoteID: f.DebitNoteID, Rejection: f.Rejection}, f.DebitNoteID
	case bill.InvoiceRejected:
		m, id = peer.InvoiceRejected{AgreementID: f.AgreementID, InvoiceID: f.InvoiceID, Rejection: f.Rejection}, f.InvoiceID
	case bill.InvoiceCancelled:
		m, id = peer.InvoiceCancelled{AgreementID: f.AgreementID, InvoiceID: f.InvoiceID}, f.InvoiceID
	case bill.NoteCancelled:
		// There is no message for it: the next note says what is owed.
		return billOutcome(a, to, bill.AnswerNotice{DocumentID: f.DebitNoteID, Abandoned: "nodes do not tell each other of cancelled debit notes"}), nil
	}
	refusal, err := e.send(ctx, a, from, to, m)
	if err != nil {
		return effects.Outcome{}, err
	}
	return billOutcome(a, to, bill.AnswerNotice{DocumentID: id, Abandoned: refusal}), nil
}
