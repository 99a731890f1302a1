// Package storytest writes the facts of two finished deals, both sides of
// each, into a log. The deals share a demand, a budget, a settlement run and a
// transaction, so that what shows one of them must leave the other out.
package storytest

import (
	"context"
	"strconv"
	"strings"
	"time"

	life "github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/activity/usage"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/account"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/demand"
	"github.com/emet-node/emet/domain/market/negotiation"
	"github.com/emet-node/emet/domain/market/offer"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/allocation"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/cycle"
	"github.com/emet-node/emet/domain/payment/order"
	pay "github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/payment/wallet"
)

// Ids of what the deals have in common.
const (
	Buyer      identity.NodeID  = "0x00000000000000000000000000000000000000b1"
	Seller     identity.NodeID  = "0x00000000000000000000000000000000000000c2"
	Platform   payment.Platform = "erc20-hoodi-tglm"
	Allocation                  = "11111111-aaaa-4bbb-8ccc-222222222222"
	Order                       = "33333333-aaaa-4bbb-8ccc-444444444444"
	TxHash                      = "0x5555555555555555555555555555555555555555555555555555555555555555"
	Secret                      = "print the sealed words" // in the script of each deal
	chain                       = 560048
)

// Deal are the ids of one deal.
type Deal struct {
	Agreement, Activity, Batch, Invoice, Note, Payment, Proposal string
	ThreadR, ThreadP                                             string // negotiations
	intent                                                       string
}

// Demand and Offer are subscriptions that both deals come from.
var (
	Demand = hex("de", 16) + "-" + hex("d0", 32)
	Offer  = hex("0f", 16) + "-" + hex("f0", 32)
	First  = deal("a1")
	Second = deal("b2")
)

func hex(pair string, n int) string { return strings.Repeat(pair, n) }

// deal spells ids that begin with a word of their own, so that prefixes work.
func deal(x string) Deal {
	return Deal{
		Agreement: "a9" + hex(x, 31), Activity: "ac" + hex(x, 15), Batch: "ba" + hex(x, 15), Invoice: "1a" + hex(x, 15), Note: "de" + hex(x, 15),
		Payment: "9a" + hex(x, 15), Proposal: "90" + hex(x, 31), ThreadR: "4e" + hex(x, 15), ThreadP: "49" + hex(x, 15), intent: Order + "/" + x,
	}
}

// writer appends facts and remembers where they are.
type writer struct {
	ctx   context.Context
	log   *es.Log
	err   error
	n     int
	last  es.Position
	story string
	// prefix of idempotency keys; "" = those of the two deals
	prefix string
}

// rest writes what a client asked for: it has no cause.
func (w *writer) rest(stream string, facts ...any) es.Position {
	return w.put(es.Meta{Actor: es.ActorREST, Identity: string(Buyer), Grade: es.GradeSelf}, stream, facts...)
}

// then writes what the last fact led to.
func (w *writer) then(stream string, facts ...any) es.Position {
	return w.after(w.last, stream, facts...)
}

func (w *writer) after(cause es.Position, stream string, facts ...any) es.Position {
	return w.put(es.Meta{Actor: es.ActorSaga, Cause: &cause, Grade: es.GradeSelf}, stream, facts...)
}

func (w *writer) put(m es.Meta, stream string, facts ...any) es.Position {
	if w.err != nil {
		return 0
	}
	w.n++
	m.Key, m.Correlation = "storytest/"+string(rune('a'+w.n/26/26))+string(rune('a'+w.n/26%26))+string(rune('a'+w.n%26)), w.story
	if w.prefix != "" {
		m.Key = w.prefix + strconv.Itoa(w.n)
	}
	r, err := w.log.Append(w.ctx, m, nil, es.Facts{Stream: es.Stream(stream), Expected: es.Any, Facts: facts})
	w.err, w.last = err, r.Last
	return r.Last
}

// Write appends both deals, from identities to the money that arrived.
func Write(ctx context.Context, log *es.Log) error {
	w := &writer{ctx: ctx, log: log}
	w.put(es.Meta{Actor: es.ActorOperator}, "identity-"+string(Buyer), account.Created{Alias: "buyer", Identity: Buyer, Origin: account.Generated})
	w.put(es.Meta{Actor: es.ActorOperator}, "identity-"+string(Seller), account.Created{Alias: "seller", Identity: Seller, Origin: account.Generated})
	purse := wallet.StreamID(chain, string(Buyer))
	w.rest("wallet-"+purse, wallet.Opened{Address: string(Buyer), ChainID: chain, OwnerID: Buyer, Platform: Platform},
		wallet.FundsObserved{Address: string(Buyer), Block: 7, ChainID: chain, Native: money.MustParse("1"), Token: money.MustParse("1000")})
	w.rest("offer-"+Offer, offer.Published{OfferID: Offer, Properties: "{}", Constraints: "()", Provider: Seller, Created: noon, Expires: noon.Add(time.Hour)})
	w.rest("allocation-"+Allocation, allocation.Created{
		Address: string(Buyer), AllocationID: Allocation, ChainID: chain, OwnerID: Buyer, Platform: Platform, Timeout: noon.Add(time.Hour), Total: money.MustParse("10"),
	})
	w.then("wallet-"+purse, wallet.FundsReserved{Address: string(Buyer), AllocationID: Allocation, Amount: money.MustParse("10"), ChainID: chain})
	w.rest("demand-"+Demand, demand.Published{DemandID: Demand, Properties: "{}", Constraints: "()", Requestor: Buyer, Created: noon, Expires: noon.Add(time.Hour)})
	w.negotiate(First)
	w.negotiate(Second)
	w.work(First)
	w.work(Second)
	w.settle(purse)
	return w.err
}

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func (w *writer) negotiate(d Deal) {
	w.story = d.ThreadR
	opened := negotiation.Opened{DemandID: Demand, OfferID: Offer, NegotiationID: d.ThreadR, Provider: Seller, Requestor: Buyer, Side: identity.Requestor}
	w.rest("negotiation-"+d.ThreadR, opened)
	w.rest("negotiation-"+d.ThreadR, negotiation.CounterRequested{NegotiationID: d.ThreadR, Prev: "p0", Proposal: negotiation.Proposal{ProposalID: "01" + d.Proposal[2:]}})
	opened.NegotiationID, opened.Side = d.ThreadP, identity.Provider
	w.then("negotiation-"+d.ThreadP, opened, negotiation.CounterReceived{NegotiationID: d.ThreadP, Prev: "p0", Proposal: negotiation.Proposal{ProposalID: "01" + d.Proposal[2:]}})
	w.then("negotiation-"+d.ThreadP, negotiation.CounterRequested{NegotiationID: d.ThreadP, Prev: "p1", Proposal: negotiation.Proposal{ProposalID: d.Proposal}})
	w.then("negotiation-"+d.ThreadR, negotiation.CounterReceived{NegotiationID: d.ThreadR, Prev: "p1", Proposal: negotiation.Proposal{ProposalID: d.Proposal}})
	w.rest("negotiation-"+d.ThreadR, negotiation.Promoted{AgreementID: d.Agreement, NegotiationID: d.ThreadR, ProposalID: d.Proposal})
	w.story = d.Agreement
	terms := agreement.Terms{
		Created: noon, DemandConstraints: "()", DemandID: Demand, DemandProperties: "{}", NegotiationID: d.ThreadR, OfferConstraints: "()",
		OfferID: Offer, OfferProperties: "{}", ProposalID: d.Proposal, Provider: Seller, Requestor: Buyer, ValidTo: noon.Add(time.Hour),
	}
	r, p := "agreement-R-"+d.Agreement, "agreement-P-"+d.Agreement
	w.rest(r, agreement.Created{AgreementID: d.Agreement, Side: identity.Requestor, Terms: terms})
	w.rest(r, agreement.ConfirmationRequested{AgreementID: d.Agreement, Side: identity.Requestor})
	terms.NegotiationID = d.ThreadP
	w.then(p, agreement.Received{AgreementID: d.Agreement, Side: identity.Provider, Terms: terms})
	w.then(p, agreement.ApprovalRequested{AgreementID: d.Agreement, Side: identity.Provider, ApprovedAt: noon, Deadline: noon})
	w.then(r, agreement.ApprovalReceived{AgreementID: d.Agreement, Side: identity.Requestor, ApprovedAt: noon})
	w.then(r, agreement.Approved{AgreementID: d.Agreement, Side: identity.Requestor})
	w.then(p, agreement.Approved{AgreementID: d.Agreement, Side: identity.Provider})
}

func (w *writer) work(d Deal) {
	w.story = d.Agreement
	id := func(category, side string) string { return category + "-" + side + "-" + d.Activity }
	w.rest(id("activity", "R"), life.CreationRequested{ActivityID: d.Activity, AgreementID: d.Agreement, Provider: Seller, Requestor: Buyer})
	w.then(id("activity", "P"), life.Created{ActivityID: d.Activity, AgreementID: d.Agreement, Provider: Seller, Requestor: Buyer, Side: identity.Provider})
	w.then(id("activity", "P"), life.SpawnRequested{ActivityID: d.Activity, AgreementID: d.Agreement, Runtime: "wasmtime"})
	w.then(id("activity", "P"), life.Spawned{ActivityID: d.Activity, PID: 4711})
	w.rest(id("batch", "R")+"-"+d.Batch, batch.ExecRequested{
		ActivityID: d.Activity, AgreementID: d.Agreement, BatchID: d.Batch, Commands: 1, Provider: Seller, Requestor: Buyer, Script: `[{"run":{"args":["` + Secret + `"]}}]`, TimeoutMS: 5000,
	})
	w.then(id("batch", "P")+"-"+d.Batch, batch.Accepted{
		ActivityID: d.Activity, AgreementID: d.Agreement, BatchID: d.Batch, Commands: 1, Provider: Seller, Requestor: Buyer, Side: identity.Provider,
	})
	w.then(id("batch", "P")+"-"+d.Batch, batch.CommandFinished{ActivityID: d.Activity, At: noon, BatchID: d.Batch, Code: 0})
	w.then(id("usage", "P"), usage.Finalised{ActivityID: d.Activity, At: noon, Vector: "[1,2]"})
	w.bill(d)
}

func (w *writer) bill(d Deal) {
	r, p := "bill-R-"+d.Agreement, "bill-P-"+d.Agreement
	opened := bill.Opened{
		AgreementID: d.Agreement, PayeeAddr: string(Seller), PayeeID: Seller, PayerAddr: string(Buyer), PayerID: Buyer, Platform: Platform, Side: identity.Provider,
	}
	one := money.MustParse("1")
	w.then(p, opened, bill.InvoiceIssued{ActivityIDs: []string{d.Activity}, AgreementID: d.Agreement, Amount: one, InvoiceID: d.Invoice, Side: identity.Provider, Timestamp: noon})
	opened.Side = identity.Requestor
	w.then(r, opened, bill.InvoiceReceived{ActivityIDs: []string{d.Activity}, AgreementID: d.Agreement, Amount: one, InvoiceID: d.Invoice, Side: identity.Requestor, Timestamp: noon})
	at := w.rest(r, bill.InvoiceAccepted{
		AgreementID: d.Agreement, AllocationID: Allocation, Amount: one, Delta: one, InvoiceID: d.Invoice, Side: identity.Requestor, To: one,
	})
	w.then("allocation-"+Allocation, allocation.Committed{AgreementID: d.Agreement, AllocationID: Allocation, Delta: one, DocumentID: d.Invoice, Kind: payment.Invoice})
	w.after(at, p, bill.InvoiceAcceptedByPeer{AgreementID: d.Agreement, Amount: one, InvoiceID: d.Invoice, Side: identity.Provider})
}

func (d Deal) ranges() []payment.Range {
	return []payment.Range{{AgreementID: d.Agreement, AllocationID: Allocation, PayeeID: Seller, To: money.MustParse("1")}}
}

func (w *writer) settle(purse string) {
	w.story = Order
	one := money.MustParse("1")
	w.put(es.Meta{Actor: es.ActorSaga}, "cycle-"+cycle.StreamID(Platform, string(Buyer)), cycle.RunRequested{Address: string(Buyer), At: noon, NextAt: noon, OwnerID: Buyer, Platform: Platform})
	o, t := "order-"+Order, "tx-"+tx.StreamID(chain, string(Buyer), 0)
	w.then(o, order.Opened{ChainID: chain, OrderID: Order, PayerAddr: string(Buyer), PayerID: Buyer, Platform: Platform, Total: money.MustParse("2")})
	opened := w.last
	for _, d := range []Deal{First, Second} {
		w.after(opened, o, order.IntentRecorded{Amount: one, IntentID: d.intent, OrderID: Order, PayeeAddr: string(Seller), PaymentID: d.Payment, Ranges: d.ranges()})
		w.then("bill-R-"+d.Agreement, bill.Scheduled{AgreementID: d.Agreement, IntentID: d.intent, OrderID: Order, PaymentID: d.Payment, Ranges: d.ranges(), Side: identity.Requestor})
	}
	sealed := w.after(opened, o, order.BatchSealed{BatchID: Order + "/0", Intents: []string{First.intent, Second.intent}, OrderID: Order, To: string(Seller)})
	w.after(sealed, "wallet-"+purse, wallet.NonceReserved{Address: string(Buyer), BatchID: Order + "/0", ChainID: chain, OrderID: Order})
	w.after(sealed, t, tx.Planned{Address: string(Buyer), BatchID: Order + "/0", ChainID: chain, OrderID: Order, OwnerID: Buyer, Platform: Platform})
	w.then(t, tx.Signed{Address: string(Buyer), ChainID: chain, Hash: TxHash})
	final := w.then(t, tx.Finalised{Address: string(Buyer), BatchID: Order + "/0", BlockNumber: 9, ChainID: chain, Hash: TxHash, OrderID: Order, Fee: money.MustParse("0.001")})
	for _, d := range []Deal{First, Second} {
		w.story = d.Agreement
		w.after(final, "bill-R-"+d.Agreement, bill.Paid{AgreementID: d.Agreement, IntentID: d.intent, PaymentID: d.Payment, Ranges: d.ranges(), Side: identity.Requestor, TxHash: TxHash})
		w.after(final, "allocation-"+Allocation, allocation.Spent{AllocationID: Allocation, Delta: one, IntentID: d.intent})
		shares := payment.Shares(d.ranges())
		w.after(final, "payment-R-"+d.Payment, pay.SigningRequested{
			PayeeAddr: string(Seller), PayeeID: Seller, PayerAddr: string(Buyer), PayerID: Buyer, PaymentID: d.Payment, Platform: Platform, Shares: shares,
			Side: identity.Requestor, Timestamp: noon, TxHash: TxHash,
		})
		shares[0].AgreementID, shares[0].ActivityID = "", d.Activity // as payers write a debit note's share
		w.then("payment-P-"+string(Seller)+"-"+d.Payment, pay.Claimed{
			Amount: one, Canonical: []byte("{}"), PayeeAddr: string(Seller), PayeeID: Seller, PayerAddr: string(Buyer), PayerID: Buyer, PaymentID: d.Payment,
			Platform: Platform, Shares: shares, Side: identity.Provider, Timestamp: noon, TxHash: TxHash,
		})
		w.then("payment-P-"+string(Seller)+"-"+d.Payment, pay.Verified{BlockNumber: 9, Logs: []pay.LogShare{{Amount: one}}, PayeeID: Seller, PaymentID: d.Payment, Side: identity.Provider, TxHash: TxHash})
		w.then("bill-P-"+d.Agreement, bill.Paid{AgreementID: d.Agreement, PaymentID: d.Payment, Ranges: d.ranges(), Side: identity.Provider, TxHash: TxHash},
			bill.Settled{AgreementID: d.Agreement, DocumentID: d.Invoice, Kind: payment.Invoice, Side: identity.Provider})
	}
}
