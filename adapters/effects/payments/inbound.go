package payments

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/dealterms"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/peer"
)

// Inbound answers what other nodes say about money.
type Inbound struct {
	*Effects
	// Activities lists the activities of an agreement on one side.
	Activities func(ctx context.Context, side identity.Side, agreementID string) ([]string, error)
	// Sync sends again what a peer has not answered; it may be nil.
	Sync func(peer identity.NodeID)

	once      sync.Once
	documents effects.Pace // per agreement
	weight    effects.Pace // bytes of them
	claims    effects.Pace // per payer
}

// How much of an agreement's documents, and of a payer's claims, is taken.
// Notes come once per interval; a deal may have many activities.
const (
	documentsPerSecond, documentBurst = 1, 120
	bytesPerSecond, bytesBurst        = 4 << 10, 1 << 20
	claimsPerSecond, claimBurst       = 1.0 / 3, 60
)

func (in *Inbound) limit() {
	in.once.Do(func() {
		in.documents.Rate, in.documents.Burst = documentsPerSecond, documentBurst
		in.weight.Rate, in.weight.Burst = bytesPerSecond, bytesBurst
		in.claims.Rate, in.claims.Burst = claimsPerSecond, claimBurst
	})
}

// paced refuses documents that come faster than any deal makes them.
func (in *Inbound) paced(from peer.Caller, agreementID string) error {
	in.limit()
	if wait := in.documents.Take(agreementID, 1); wait > 0 {
		return effects.Busy(wait, "too many documents of this agreement")
	}
	if wait := in.weight.Take(agreementID, float64(len(from.Raw))); wait > 0 {
		return effects.Busy(wait, "the documents of this agreement are too large")
	}
	return nil
}

// Answers is the table of what is answered.
func (in *Inbound) Answers() effects.Inbound {
	return effects.Inbound{Calls: map[string]effects.Call{
		peer.DebitNote{}.Kind():         effects.Typed(in.note),
		peer.Invoice{}.Kind():           effects.Typed(in.invoice),
		peer.DebitNoteAccepted{}.Kind(): effects.Typed(in.noteAccepted),
		peer.InvoiceAccepted{}.Kind():   effects.Typed(in.invoiceAccepted),
		peer.DebitNoteRejected{}.Kind(): effects.Typed(in.noteRejected),
		peer.InvoiceRejected{}.Kind():   effects.Typed(in.invoiceRejected),
		peer.InvoiceCancelled{}.Kind():  effects.Typed(in.invoiceCancelled),
		peer.PaymentSent{}.Kind():       effects.Typed(in.paid),
		peer.PaymentSyncNeeded{}.Kind(): effects.Typed(in.syncNeeded),
	}}
}

func (in *Inbound) tell(ctx context.Context, from peer.Caller, side identity.Side, agreementID, key string, c bill.Command) (peer.Message, error) {
	_, err := in.Bills.Do(ctx, bill.StreamID(side, agreementID), c, effects.Following(ctx, in.Log.Store, effects.PeerMeta(from, agreementID, key),
		es.StreamOf(bill.Category, bill.StreamID(side, agreementID)), agreement.StreamOf(side, agreementID)))
	if err != nil {
		return nil, refusal(err)
	}
	return peer.Ack{}, nil
}

// noes are errors of the rules: what is refused so is refused each time.
var noes = []error{
	bill.ErrAlreadyInvoiced, bill.ErrOtherContent, bill.ErrOtherTerms, bill.ErrAmount, bill.ErrNegative, bill.ErrActivity, bill.ErrNameless, bill.ErrSide,
	payment.ErrMalformed, payment.ErrNotSigned, payment.ErrOtherContent, payment.ErrSigner, payment.ErrAddressee, payment.ErrPayerAddr, payment.ErrNotCovered, payment.ErrTooOften,
	pay.ErrPlatform, dealterms.ErrNoPlatform, money.ErrSyntax, es.ErrTooLarge, es.ErrWrongCommand,
}

// refusal turns a no of the rules into one for the peer. Whatever else went
// wrong is this node's own trouble: the peer is to say it again later, and does
// not learn what it was.
func refusal(err error) error {
	if _, ok := effects.RefusalOf(err); ok {
		return err
	}
	var (
		status *bill.WrongStatus
		lower  *bill.AmountLowered
		small  *bill.InvoiceTooSmall
		fine   *money.TooFine
	)
	switch {
	case errors.Is(err, identity.ErrForbidden):
		return peer.Refuse(peer.Forbidden, "%v", err)
	case errors.Is(err, payment.ErrUndecided):
		return peer.Refuse(peer.Busy, "%v", err)
	case errors.Is(err, bill.ErrUnknownDocument):
		return peer.Refuse(peer.NotFound, "%v", err)
	case errors.As(err, &status), errors.As(err, &lower), errors.As(err, &small), errors.As(err, &fine),
		slices.ContainsFunc(noes, func(no error) bool { return errors.Is(err, no) }):
		return peer.Refuse(peer.BadRequest, "%v", err)
	}
	return err
}

func (in *Inbound) note(ctx context.Context, from peer.Caller, m peer.DebitNote) (peer.Message, error) {
	s, err := effects.Deal(ctx, in.Agreements, from, identity.Requestor, m.AgreementID)
	if err != nil {
		return nil, err
	}
	if err := in.paced(from, m.AgreementID); err != nil {
		return nil, err
	}
	t, err := dealterms.Of(s)
	if err != nil {
		return nil, peer.Refuse(peer.BadRequest, "%v", err)
	}
	return in.tell(ctx, from, identity.Requestor, m.AgreementID, "note/"+m.DebitNoteID+"/"+from.MessageID, bill.ReceiveNote{
		ActivityID: m.ActivityID, AgreementID: m.AgreementID, Amount: m.TotalAmountDue, By: effects.FromPeer(from), DebitNoteID: m.DebitNoteID,
		DueDate: m.PaymentDueDate, PayeeAddr: m.PayeeAddr, PayerAddr: m.PayerAddr, Platform: m.PaymentPlatform,
		Raw: market.KeepRaw(from.Raw), Terms: t, Timestamp: m.Timestamp, UsageVector: m.UsageCounterJSON,
	})
}

func (in *Inbound) invoice(ctx context.Context, from peer.Caller, m peer.Invoice) (peer.Message, error) {
	s, err := effects.Deal(ctx, in.Agreements, from, identity.Requestor, m.AgreementID)
	if err != nil {
		return nil, err
	}
	if err := in.paced(from, m.AgreementID); err != nil {
		return nil, err
	}
	t, err := dealterms.Of(s)
	if err != nil {
		return nil, peer.Refuse(peer.BadRequest, "%v", err)
	}
	known, err := in.Activities(ctx, identity.Requestor, m.AgreementID)
	if err != nil {
		return nil, err
	}
	return in.tell(ctx, from, identity.Requestor, m.AgreementID, "invoice/"+m.InvoiceID+"/"+from.MessageID, bill.ReceiveInvoice{
		Activities: known, ActivityIDs: m.ActivityIDs, AgreementID: m.AgreementID, Amount: m.Amount, By: effects.FromPeer(from),
		DueDate: m.PaymentDueDate, InvoiceID: m.InvoiceID, PayeeAddr: m.PayeeAddr, PayerAddr: m.PayerAddr,
		Platform: m.PaymentPlatform, Raw: market.KeepRaw(from.Raw), Terms: t, Timestamp: m.Timestamp,
	})
}

func (in *Inbound) accepted(ctx context.Context, from peer.Caller, agreementID, id, amount string, kind pay.Kind) (peer.Message, error) {
	if _, err := effects.Deal(ctx, in.Agreements, from, identity.Provider, agreementID); err != nil {
		return nil, err
	}
	d, err := money.ParseDecimal(amount)
	if err != nil {
		return nil, peer.Refuse(peer.BadRequest, "amount: %v", err)
	}
	return in.tell(ctx, from, identity.Provider, agreementID, "accept/"+id, bill.HearAcceptance{
		Amount: d, By: effects.FromPeer(from), DocumentID: id, Kind: kind, Raw: market.KeepRaw(from.Raw),
	})
}

func (in *Inbound) noteAccepted(ctx context.Context, from peer.Caller, m peer.DebitNoteAccepted) (peer.Message, error) {
	return in.accepted(ctx, from, m.AgreementID, m.DebitNoteID, m.Amount, pay.DebitNote)
}

func (in *Inbound) invoiceAccepted(ctx context.Context, from peer.Caller, m peer.InvoiceAccepted) (peer.Message, error) {
	return in.accepted(ctx, from, m.AgreementID, m.InvoiceID, m.Amount, pay.Invoice)
}

func (in *Inbound) rejected(ctx context.Context, from peer.Caller, agreementID, id, rejection string, kind pay.Kind) (peer.Message, error) {
	if _, err := effects.Deal(ctx, in.Agreements, from, identity.Provider, agreementID); err != nil {
		return nil, err
	}
	if err := in.paced(from, agreementID); err != nil {
		return nil, err
	}
	return in.tell(ctx, from, identity.Provider, agreementID, "reject/"+id+"/"+from.MessageID, bill.HearRejection{
		By: effects.FromPeer(from), DocumentID: id, Kind: kind, Raw: market.KeepRaw(from.Raw), Rejection: rejection,
	})
}

func (in *Inbound) noteRejected(ctx context.Context, from peer.Caller, m peer.DebitNoteRejected) (peer.Message, error) {
	return in.rejected(ctx, from, m.AgreementID, m.DebitNoteID, m.Rejection, pay.DebitNote)
}

func (in *Inbound) invoiceRejected(ctx context.Context, from peer.Caller, m peer.InvoiceRejected) (peer.Message, error) {
	return in.rejected(ctx, from, m.AgreementID, m.InvoiceID, m.Rejection, pay.Invoice)
}

func (in *Inbound) invoiceCancelled(ctx context.Context, from peer.Caller, m peer.InvoiceCancelled) (peer.Message, error) {
	if _, err := effects.Deal(ctx, in.Agreements, from, identity.Requestor, m.AgreementID); err != nil {
		return nil, err
	}
	return in.tell(ctx, from, identity.Requestor, m.AgreementID, "cancel/"+m.InvoiceID, bill.HearCancellation{
		By: effects.FromPeer(from), DocumentID: m.InvoiceID, Kind: pay.Invoice, Raw: market.KeepRaw(from.Raw),
	})
}

// proofTime is how long the payer waits for our look at the chain.
const proofTime = 3 * time.Second

// paid is a payer's signed proof. It is answered when the chain was looked at;
// if that takes long, the payer asks again.
func (in *Inbound) paid(ctx context.Context, from peer.Caller, m peer.PaymentSent) (peer.Message, error) {
	doc, err := payment.ParseDocument(m.Canonical)
	if err != nil {
		return nil, peer.Refuse(peer.BadRequest, "%v", err)
	}
	signer, err := in.Recover(m.Canonical, m.Signature)
	if err != nil {
		return nil, peer.Refuse(peer.BadRequest, "signature: %v", err)
	}
	if err := in.credible(ctx, from, doc, signer); err != nil {
		return nil, err
	}
	id := payment.ReceivedID(from.To, doc.PaymentID)
	_, err = in.Payments.Do(ctx, id, payment.Claim{
		By: effects.FromPeer(from), Canonical: m.Canonical, PayeeID: from.To, Signature: m.Signature, Signer: signer,
	}, effects.PeerMeta(from, doc.PaymentID, "claim/"+doc.PaymentID+"/"+from.MessageID))
	if err != nil {
		return nil, refusal(err)
	}
	wait, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	s, err := in.Payments.Await(wait, id, func(s payment.State) bool { return s.Claim.Answered() })
	switch {
	case !s.Claim.Answered():
		return nil, errors.Join(err, peer.Refuse(peer.Busy, "the chain has not shown the transfer yet"))
	case s.Claim.Phase == payment.PhaseDisproved:
		return nil, peer.Refuse(peer.BadRequest, "%s", s.Claim.Why)
	}
	return peer.Ack{}, nil
}

// credible refuses claims that are not worth writing down: of strangers, about
// nothing that they owe, or too many. Nobody but a debtor fills this log.
func (in *Inbound) credible(ctx context.Context, from peer.Caller, d payment.Document, signer identity.NodeID) error {
	switch {
	case signer != d.PayerID || from.Node != d.PayerID:
		return refusal(payment.ErrSigner)
	case d.PayeeID != from.To:
		return refusal(payment.ErrAddressee)
	case len(d.Shares) == 0:
		return peer.Refuse(peer.BadRequest, "the payment %s settles nothing", d.PaymentID)
	}
	why, err := in.owed(ctx, payment.Claimed{
		PayeeAddr: d.PayeeAddr, PayeeID: d.PayeeID, PayerAddr: d.PayerAddr, PayerID: d.PayerID, Platform: d.Platform, Shares: d.Shares,
	})
	switch {
	case err != nil:
		return err
	case why != "":
		return peer.Refuse(peer.BadRequest, "%s", why)
	}
	in.limit()
	if wait := in.claims.Take(string(from.Node), 1); wait > 0 {
		return effects.Busy(wait, "too many payments at once")
	}
	return nil
}

func (in *Inbound) syncNeeded(_ context.Context, from peer.Caller, _ peer.PaymentSyncNeeded) (peer.Message, error) {
	if in.Sync != nil {
		in.Sync(from.Node)
	}
	return peer.Ack{}, nil
}
