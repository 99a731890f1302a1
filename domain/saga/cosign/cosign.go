// Package cosign lets the parties of a deal stand by each other's logs: after
// each step that both took part in, the other one is asked to cosign a
// checkpoint. It asks of each step once, and of nothing that the asking itself
// writes down.
package cosign

import (
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/payment"
)

// Category under which the orders are carried out; they write to no stream of
// that name.
const Category = "cosign"

// Exchange asks for the newest checkpoint of this node to be cosigned by
// Other, with whom Own has a deal.
type Exchange struct{ Own, Other identity.NodeID }

// State is one deal or one payment. The zero State is none.
type State struct {
	own, other identity.NodeID
	step, over bool
}

// Saga is the process; an instance is one side of an agreement, or a payment.
var Saga = es.Saga[State]{
	Name: "cosign",
	Hears: []string{
		"agreement.created.v1", "agreement.received.v1", "agreement.approved.v1", "agreement.terminated.v1",
		"agreement.rejected.v1", "agreement.cancelled.v1", "agreement.expired.v1",
		"bill.note_delivered.v1", "bill.note_received.v1", "bill.note_accepted_by_peer.v1", "bill.acceptance_delivered.v1",
		"bill.invoice_delivered.v1", "bill.invoice_received.v1", "bill.invoice_accepted_by_peer.v1", "bill.settled.v1",
		"payment.delivery_requested.v1", "payment.delivered.v1", "payment.claimed.v1", "payment.verified.v1", "payment.disproved.v1",
	},
	Instance: instance,
	Evolve:   evolve,
	React:    react,
	Done:     func(s State) bool { return s.over || s.own == "" }, // what comes after the end begins nothing
}

func instance(r es.Recorded) string {
	deal := func(side identity.Side, id string) string { return string(side) + "-" + id }
	switch e := r.Data.(type) {
	case agreement.Created:
		return deal(e.Side, e.AgreementID)
	case agreement.Received:
		return deal(e.Side, e.AgreementID)
	case agreement.Approved:
		return deal(e.Side, e.AgreementID)
	case agreement.Terminated:
		return deal(e.Side, e.AgreementID)
	case agreement.Rejected:
		return deal(e.Side, e.AgreementID)
	case agreement.Cancelled:
		return deal(e.Side, e.AgreementID)
	case agreement.Expired:
		return deal(e.Side, e.AgreementID)
	case bill.NoteDelivered:
		return deal(e.Side, e.AgreementID)
	case bill.NoteReceived:
		return deal(e.Side, e.AgreementID)
	case bill.NoteAcceptedByPeer:
		return deal(e.Side, e.AgreementID)
	case bill.AcceptanceDelivered:
		return deal(e.Side, e.AgreementID)
	case bill.InvoiceDelivered:
		return deal(e.Side, e.AgreementID)
	case bill.InvoiceReceived:
		return deal(e.Side, e.AgreementID)
	case bill.InvoiceAcceptedByPeer:
		return deal(e.Side, e.AgreementID)
	case bill.Settled:
		return deal(e.Side, e.AgreementID)
	case payment.DeliveryRequested:
		return "to/" + string(e.PayeeID) + "/" + e.PaymentID
	case payment.Delivered:
		return "to/" + string(e.PayeeID) + "/" + e.PaymentID
	case payment.Claimed:
		return "from/" + string(e.PayeeID) + "/" + e.PaymentID
	case payment.Verified:
		return "from/" + string(e.PayeeID) + "/" + e.PaymentID
	case payment.Disproved:
		return "from/" + string(e.PayeeID) + "/" + e.PaymentID
	}
	return ""
}

func evolve(s State, r es.Recorded) State {
	s.step = false
	switch e := r.Data.(type) {
	case agreement.Created:
		s.own, s.other = e.Terms.Requestor, e.Terms.Provider
	case agreement.Received:
		s.own, s.other = e.Terms.Provider, e.Terms.Requestor
	case payment.DeliveryRequested:
		s.own, s.other = e.PayerID, e.PayeeID
	case payment.Claimed:
		s.own, s.other = e.PayeeID, e.PayerID
	case agreement.Rejected, agreement.Cancelled, agreement.Expired, payment.Disproved: // it never held
		s.over = true
	case payment.Delivered, payment.Verified:
		s.step, s.over = true, true
	case bill.Settled:
		s.step, s.over = true, e.Kind == pay.Invoice
	default:
		s.step = true
	}
	return s
}

func react(s State, _ es.Recorded) []es.Order {
	if !s.step || s.own == "" || s.own == s.other {
		return nil
	}
	return []es.Order{{Category: Category, ID: string(s.other), Identity: string(s.own), Command: Exchange{Own: s.own, Other: s.other}}}
}
