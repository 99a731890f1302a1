package storytest

import (
	"context"
	"crypto/sha256"
	encoding "encoding/hex"
	"fmt"
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
	"github.com/emet-node/emet/domain/payment/order"
	pay "github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/payment/wallet"
)

// Stage is how far a deal got.
type Stage int

// The stages, in order.
const (
	Asked Stage = iota // the agreement waits for the provider
	Refused
	Approved
	Working
	Billed // the invoice waits for the requestor
	Owing  // it is accepted and not paid
	Paid
)

const (
	dealsOfDemand = 8
	samples       = 6
)

// World writes many deals between two identities, one after the other or in
// several goroutines.
type World struct {
	log *es.Log
}

// NewWorld writes the beginning of a log: two identities, the buyer's wallet
// and the seller's offer.
func NewWorld(ctx context.Context, log *es.Log) (*World, error) {
	w := &writer{ctx: ctx, log: log, prefix: "world/"}
	w.put(es.Meta{Actor: es.ActorOperator}, "identity-"+string(Buyer), account.Created{Alias: "buyer", Identity: Buyer, Origin: account.Generated})
	w.put(es.Meta{Actor: es.ActorOperator}, "identity-"+string(Seller), account.Created{Alias: "seller", Identity: Seller, Origin: account.Generated})
	purse := wallet.StreamID(chain, string(Buyer))
	w.rest("wallet-"+purse, wallet.Opened{Address: string(Buyer), ChainID: chain, OwnerID: Buyer, Platform: Platform},
		wallet.FundsObserved{Address: string(Buyer), Block: 7, ChainID: chain, Native: money.MustParse("1"), Token: money.MustParse("1000000")})
	w.seller("offer-"+Offer, offer.Published{
		OfferID: Offer, Properties: offerText, Constraints: "(golem.srv.comp.expiration>0)", Provider: Seller, Created: noon, Expires: noon.Add(time.Hour), Preset: "default",
	})
	return &World{log: log}, w.err
}

const (
	offerText = `{"golem.activity.caps.transfer.protocol":["gftp","http","https"],"golem.com.payment.debit-notes.accept-timeout?":240,` +
		`"golem.com.payment.platform.erc20-hoodi-tglm.address":"0x00000000000000000000000000000000000000c2","golem.com.pricing.model":"linear",` +
		`"golem.com.pricing.model.linear.coeffs":[0.0001,0.0002,0.0],"golem.com.scheme":"payu","golem.com.usage.vector":["golem.usage.duration_sec","golem.usage.cpu_sec"],` +
		`"golem.inf.cpu.architecture":"x86_64","golem.inf.cpu.cores":4,"golem.inf.cpu.threads":8,"golem.inf.mem.gib":16.0,"golem.inf.storage.gib":100.0,` +
		`"golem.node.id.name":"seller","golem.runtime.name":"wasmtime","golem.runtime.version":"1.0.0","golem.srv.caps.multi-activity":true}`
	demandText = `{"golem.com.payment.chosen-platform":"erc20-hoodi-tglm","golem.com.payment.platform.erc20-hoodi-tglm.address":"0x00000000000000000000000000000000000000b1",` +
		`"golem.node.id.name":"buyer","golem.srv.caps.multi-activity":true,"golem.srv.comp.expiration":1767272400000}`
	demandAsks = "(&(golem.runtime.name=wasmtime)(golem.inf.mem.gib>0.5))"
)

// seller writes in the seller's name.
func (w *writer) seller(stream string, facts ...any) es.Position {
	return w.put(es.Meta{Actor: es.ActorPeer, Identity: string(Seller), Grade: es.GradeSession, Peer: string(Buyer)}, stream, facts...)
}

// sold writes what followed on the seller's side.
func (w *writer) sold(stream string, facts ...any) es.Position {
	cause := w.last
	return w.put(es.Meta{Actor: es.ActorSaga, Cause: &cause, Identity: string(Seller), Grade: es.GradeSelf}, stream, facts...)
}

// bought writes what followed on the buyer's side.
func (w *writer) bought(stream string, facts ...any) es.Position {
	cause := w.last
	return w.put(es.Meta{Actor: es.ActorEffect, Cause: &cause, Identity: string(Buyer), Grade: es.GradeSession}, stream, facts...)
}

func id(what string, n, bytes int) string {
	h := sha256.Sum256(fmt.Appendf(nil, "%s/%d", what, n))
	return encoding.EncodeToString(h[:bytes])
}

// Numbered is the n-th deal of a [World].
func Numbered(n int) Deal {
	return Deal{
		Agreement: id("agreement", n, 32), Activity: id("activity", n, 16), Batch: id("batch", n, 16), Invoice: id("invoice", n, 16), Note: id("note", n, 16),
		Payment: id("payment", n, 16), Proposal: id("proposal", n, 32), ThreadR: id("threadR", n, 16), ThreadP: id("threadP", n, 16), intent: id("order", n, 16) + "/0",
	}
}

// Order is the id of the settlement run that paid a deal of a [World].
func (d Deal) Order() string { return d.intent[:32] }

// DemandOf is the demand and the budget of the n-th deal.
func DemandOf(n int) (demandID, budget string) {
	group := n / dealsOfDemand
	return id("demand", group, 16) + "-" + id("demand-hash", group, 32), id("budget", group, 16)
}

// NoteOf is the id of the k-th debit note of the n-th deal.
func NoteOf(n, k int) string { return id("note/"+Numbered(n).Note, k, 16) }

// AgreementOf is the id of the n-th deal's agreement.
func AgreementOf(n int) string { return Numbered(n).Agreement }

// Deals writes the deals from (inclusive) to (exclusive), each as far as stage
// says. Each group of eight shares a demand and a budget.
func (x *World) Deals(ctx context.Context, from, to int, stage func(n int) Stage) error {
	w := &writer{ctx: ctx, log: x.log, prefix: fmt.Sprintf("deals/%d/", from)}
	for n := from; n < to && w.err == nil; n++ {
		demandID, budget := DemandOf(n)
		if n == from || n%dealsOfDemand == 0 {
			w.story = ""
			w.rest("allocation-"+budget, allocation.Created{
				Address: string(Buyer), AllocationID: budget, ChainID: chain, OwnerID: Buyer, Platform: Platform, Timeout: noon.Add(time.Hour), Total: money.MustParse("10"),
			})
			w.then("wallet-"+wallet.StreamID(chain, string(Buyer)), wallet.FundsReserved{Address: string(Buyer), AllocationID: budget, Amount: money.MustParse("10"), ChainID: chain})
			w.rest("demand-"+demandID, demand.Published{
				DemandID: demandID, Properties: demandText, Constraints: demandAsks, Requestor: Buyer, Created: noon.Add(time.Duration(n)), Expires: noon.Add(time.Hour),
			})
		}
		w.oneDeal(Numbered(n), demandID, budget, stage(n))
	}
	return w.err
}

func (w *writer) oneDeal(d Deal, demandID, budget string, s Stage) {
	w.haggle(d, demandID)
	r, p := "agreement-R-"+d.Agreement, "agreement-P-"+d.Agreement
	switch s {
	case Asked:
		return
	case Refused:
		w.sold(p, agreement.Rejected{AgreementID: d.Agreement, Side: identity.Provider, Reason: `{"message":"No capacity"}`})
		w.bought(r, agreement.Rejected{AgreementID: d.Agreement, Side: identity.Requestor, Reason: `{"message":"No capacity"}`})
		return
	}
	w.sold(p, agreement.ApprovalRequested{AgreementID: d.Agreement, Side: identity.Provider, ApprovedAt: noon, Deadline: noon.Add(10 * time.Second)})
	w.bought(r, agreement.ApprovalReceived{AgreementID: d.Agreement, Side: identity.Requestor, ApprovedAt: noon}, agreement.Approved{AgreementID: d.Agreement, Side: identity.Requestor})
	w.sold(p, agreement.Approved{AgreementID: d.Agreement, Side: identity.Provider})
	if s >= Working {
		w.toil(d, budget)
	}
	if s >= Billed {
		w.charge(d, budget, s)
	}
	if s >= Paid {
		w.transfer(d, budget)
	}
}

func (w *writer) haggle(d Deal, demandID string) {
	w.story = d.ThreadR
	first := id("first/"+d.Proposal, 0, 32)
	initial := negotiation.Proposal{ProposalID: id("initial/"+d.Proposal, 0, 32), Properties: offerText, Constraints: "()", Created: noon, Expires: noon.Add(time.Hour)}
	opened := negotiation.Opened{
		DemandID: demandID, OfferID: Offer, NegotiationID: d.ThreadR, Provider: Seller, Requestor: Buyer, Side: identity.Requestor, Initial: initial,
		DemandProperties: demandText, DemandConstraints: demandAsks, DemandExpires: noon.Add(time.Hour),
	}
	w.rest("negotiation-"+d.ThreadR, opened)
	ask := negotiation.Proposal{ProposalID: first, Properties: demandText, Constraints: demandAsks, Created: noon, Expires: noon.Add(time.Hour)}
	bid := negotiation.Proposal{ProposalID: d.Proposal, Properties: offerText, Constraints: "()", Created: noon, Expires: noon.Add(time.Hour)}
	w.rest("negotiation-"+d.ThreadR, negotiation.CounterRequested{NegotiationID: d.ThreadR, Prev: initial.ProposalID, Proposal: ask})
	opened.NegotiationID, opened.Side, opened.DemandProperties, opened.DemandConstraints = d.ThreadP, identity.Provider, "", ""
	opened.Initial.ProposalID = id("ours/"+d.Proposal, 0, 32)
	w.seller("negotiation-"+d.ThreadP, opened, negotiation.CounterReceived{NegotiationID: d.ThreadP, Prev: opened.Initial.ProposalID, Proposal: ask})
	w.sold("negotiation-"+d.ThreadP, negotiation.Decided{NegotiationID: d.ThreadP, Outcome: "counter", ProposalID: first, Components: []negotiation.Verdict{{Component: "Price", Outcome: "ready"}}})
	w.sold("negotiation-"+d.ThreadP, negotiation.CounterRequested{NegotiationID: d.ThreadP, Prev: first, Proposal: bid})
	w.bought("negotiation-"+d.ThreadR, negotiation.CounterReceived{NegotiationID: d.ThreadR, Prev: first, Proposal: bid})
	w.rest("negotiation-"+d.ThreadR, negotiation.Promoted{AgreementID: d.Agreement, NegotiationID: d.ThreadR, ProposalID: d.Proposal})
	w.story = d.Agreement
	terms := agreement.Terms{
		Created: noon, DemandConstraints: demandAsks, DemandID: demandID, DemandProperties: demandText, NegotiationID: d.ThreadR, OfferConstraints: "()",
		OfferID: Offer, OfferProperties: offerText, ProposalID: d.Proposal, Provider: Seller, Requestor: Buyer, ValidTo: noon.Add(time.Hour),
	}
	w.rest("agreement-R-"+d.Agreement, agreement.Created{AgreementID: d.Agreement, Side: identity.Requestor, Terms: terms})
	w.rest("agreement-R-"+d.Agreement, agreement.ConfirmationRequested{AgreementID: d.Agreement, Side: identity.Requestor, Session: "many"})
	terms.NegotiationID = d.ThreadP
	w.seller("agreement-P-"+d.Agreement, agreement.Received{AgreementID: d.Agreement, Side: identity.Provider, Terms: terms})
}

func (w *writer) toil(d Deal, budget string) {
	r, p := "-R-"+d.Activity, "-P-"+d.Activity
	w.rest("activity"+r, life.CreationRequested{ActivityID: d.Activity, AgreementID: d.Agreement, Provider: Seller, Requestor: Buyer})
	w.seller("activity"+p, life.Created{ActivityID: d.Activity, AgreementID: d.Agreement, Provider: Seller, Requestor: Buyer, Side: identity.Provider},
		life.SpawnRequested{ActivityID: d.Activity, AgreementID: d.Agreement, Runtime: "wasmtime"})
	w.bought("activity"+r, life.Created{ActivityID: d.Activity, AgreementID: d.Agreement, Provider: Seller, Requestor: Buyer, Side: identity.Requestor})
	w.sold("activity"+p, life.Spawned{ActivityID: d.Activity, PID: 4711})
	w.rest("batch"+r+"-"+d.Batch, batch.ExecRequested{
		ActivityID: d.Activity, AgreementID: d.Agreement, BatchID: d.Batch, Commands: 3, Provider: Seller, Requestor: Buyer, Script: `[{"deploy":{}},{"start":{}},{"run":{}}]`, TimeoutMS: 5000,
	})
	w.seller("batch"+p+"-"+d.Batch, batch.Accepted{
		ActivityID: d.Activity, AgreementID: d.Agreement, BatchID: d.Batch, Commands: 3, Provider: Seller, Requestor: Buyer, Side: identity.Provider,
	})
	for i := range int64(3) {
		w.sold("batch"+p+"-"+d.Batch, batch.CommandFinished{ActivityID: d.Activity, At: noon, BatchID: d.Batch, Index: i})
	}
	w.sold("batch"+p+"-"+d.Batch, batch.Closed{ActivityID: d.Activity, BatchID: d.Batch, Outcome: batch.Done})
	names := []string{"golem.usage.duration_sec", "golem.usage.cpu_sec"}
	for i := range samples {
		w.sold("usage"+p, usage.Sampled{ActivityID: d.Activity, At: noon, Names: names, Source: usage.FromRuntime, Vector: fmt.Sprintf("[%d.5,%d.25]", 15*i, 10*i)})
		if i%3 == 2 {
			w.note(d, budget, i/3)
		}
	}
}

// note writes a debit note of both sides, accepted.
func (w *writer) note(d Deal, budget string, n int) {
	r, p := "bill-R-"+d.Agreement, "bill-P-"+d.Agreement
	opened := bill.Opened{
		AgreementID: d.Agreement, PayeeAddr: string(Seller), PayeeID: Seller, PayerAddr: string(Buyer), PayerID: Buyer, Platform: Platform, Side: identity.Provider,
	}
	note, amount, from := id("note/"+d.Note, n, 16), money.MustParse(fmt.Sprintf("0.%d", n+1)), money.MustParse(fmt.Sprintf("0.%d", n))
	issued := bill.NoteIssued{ActivityID: d.Activity, AgreementID: d.Agreement, Amount: amount, DebitNoteID: note, Nonce: n, Side: identity.Provider, Timestamp: noon, UsageVector: "[1.5,1.25]"}
	received := bill.NoteReceived{ActivityID: d.Activity, AgreementID: d.Agreement, Amount: amount, DebitNoteID: note, Nonce: n, Side: identity.Requestor, Timestamp: noon, UsageVector: "[1.5,1.25]"}
	if n == 0 {
		w.sold(p, opened, issued)
		opened.Side = identity.Requestor
		w.bought(r, opened, received)
	} else {
		w.sold(p, issued)
		w.bought(r, received)
	}
	at := w.rest(r, bill.NoteAccepted{
		ActivityID: d.Activity, AgreementID: d.Agreement, AllocationID: budget, Amount: amount, DebitNoteID: note, Delta: amount.Sub(from), From: from, To: amount, Side: identity.Requestor,
	})
	w.then("allocation-"+budget, allocation.Committed{
		ActivityID: d.Activity, AgreementID: d.Agreement, AllocationID: budget, Delta: amount.Sub(from), DocumentID: note, Kind: payment.DebitNote,
	})
	w.after(at, p, bill.NoteAcceptedByPeer{ActivityID: d.Activity, AgreementID: d.Agreement, Amount: amount, DebitNoteID: note, Side: identity.Provider})
}

// charge writes the end of the work and the invoice.
func (w *writer) charge(d Deal, budget string, s Stage) {
	r, p := "bill-R-"+d.Agreement, "bill-P-"+d.Agreement
	total, rest := money.MustParse("0.25"), money.MustParse("0.05")
	w.rest("activity-R-"+d.Activity, life.DestructionRequested{ActivityID: d.Activity})
	w.sold("usage-P-"+d.Activity, usage.Finalised{ActivityID: d.Activity, At: noon, Source: usage.FromRuntime, Vector: "[90.5,60.25]"})
	w.sold("activity-P-"+d.Activity, life.Terminated{ActivityID: d.Activity, Reason: "destroyed"})
	w.bought("activity-R-"+d.Activity, life.Terminated{ActivityID: d.Activity, Reason: "destroyed"})
	w.rest("agreement-R-"+d.Agreement, agreement.Terminated{AgreementID: d.Agreement, Side: identity.Requestor, By: identity.Requestor, Reason: `{"message":"done"}`})
	w.seller("agreement-P-"+d.Agreement, agreement.Terminated{AgreementID: d.Agreement, Side: identity.Provider, By: identity.Requestor, Reason: `{"message":"done"}`})
	w.sold(p, bill.InvoiceIssued{ActivityIDs: []string{d.Activity}, AgreementID: d.Agreement, Amount: total, InvoiceID: d.Invoice, Side: identity.Provider, Timestamp: noon})
	w.bought(r, bill.InvoiceReceived{ActivityIDs: []string{d.Activity}, AgreementID: d.Agreement, Amount: total, InvoiceID: d.Invoice, Side: identity.Requestor, Timestamp: noon, DueDate: noon.Add(time.Hour)})
	if s < Owing {
		return
	}
	at := w.rest(r, bill.InvoiceAccepted{AgreementID: d.Agreement, AllocationID: budget, Amount: total, Delta: rest, InvoiceID: d.Invoice, Side: identity.Requestor, To: rest})
	w.then("allocation-"+budget, allocation.Committed{AgreementID: d.Agreement, AllocationID: budget, Delta: rest, DocumentID: d.Invoice, Kind: payment.Invoice})
	w.after(at, p, bill.InvoiceAcceptedByPeer{AgreementID: d.Agreement, Amount: total, InvoiceID: d.Invoice, Side: identity.Provider})
}

// transfer writes the settlement and both sides' payments.
func (w *writer) transfer(d Deal, budget string) {
	total := money.MustParse("0.25")
	ranges := []payment.Range{
		{AgreementID: d.Agreement, ActivityID: d.Activity, AllocationID: budget, PayeeID: Seller, To: money.MustParse("0.2")},
		{AgreementID: d.Agreement, AllocationID: budget, PayeeID: Seller, To: money.MustParse("0.05")},
	}
	orderID, hash := d.intent[:32], "0x"+id("tx/"+d.intent, 0, 32)
	o, t := "order-"+orderID, "tx-"+tx.StreamID(chain, string(Buyer), 0)+d.intent[:8]
	w.sold(o, order.Opened{ChainID: chain, OrderID: orderID, PayerAddr: string(Buyer), PayerID: Buyer, Platform: Platform, Total: total})
	w.then(o, order.IntentRecorded{Amount: total, IntentID: d.intent, OrderID: orderID, PayeeAddr: string(Seller), PaymentID: d.Payment, Ranges: ranges})
	w.then("bill-R-"+d.Agreement, bill.Scheduled{AgreementID: d.Agreement, IntentID: d.intent, OrderID: orderID, PaymentID: d.Payment, Ranges: ranges, Side: identity.Requestor})
	w.then(o, order.BatchSealed{BatchID: d.intent, Intents: []string{d.intent}, OrderID: orderID, To: string(Seller)})
	w.then(t, tx.Planned{Address: string(Buyer), BatchID: d.intent, ChainID: chain, OrderID: orderID, OwnerID: Buyer, Platform: Platform})
	w.then(t, tx.Signed{Address: string(Buyer), ChainID: chain, Hash: hash})
	final := w.then(t, tx.Finalised{Address: string(Buyer), BatchID: d.intent, BlockNumber: 9, ChainID: chain, Hash: hash, OrderID: orderID, Fee: money.MustParse("0.000001")})
	w.after(final, "bill-R-"+d.Agreement, bill.Paid{AgreementID: d.Agreement, IntentID: d.intent, PaymentID: d.Payment, Ranges: ranges, Side: identity.Requestor, TxHash: hash},
		bill.Settled{AgreementID: d.Agreement, DocumentID: d.Invoice, Kind: payment.Invoice, Side: identity.Requestor})
	w.after(final, "allocation-"+budget, allocation.Spent{AllocationID: budget, Delta: total, IntentID: d.intent})
	w.after(final, "payment-R-"+d.Payment, pay.SigningRequested{
		PayeeAddr: string(Seller), PayeeID: Seller, PayerAddr: string(Buyer), PayerID: Buyer, PaymentID: d.Payment, Platform: Platform, Shares: payment.Shares(ranges),
		Side: identity.Requestor, Timestamp: noon, TxHash: hash,
	}, pay.Signed{PaymentID: d.Payment, Side: identity.Requestor, PayeeID: Seller, Canonical: []byte("{}"), Signature: []byte{1}})
	theirs := "payment-P-" + string(Seller) + "-" + d.Payment
	w.then(theirs, pay.Claimed{
		Amount: total, Canonical: []byte("{}"), PayeeAddr: string(Seller), PayeeID: Seller, PayerAddr: string(Buyer), PayerID: Buyer, PaymentID: d.Payment,
		Platform: Platform, Shares: payment.Shares(ranges), Side: identity.Provider, Timestamp: noon, TxHash: hash,
	})
	w.then(theirs, pay.Verified{BlockNumber: 9, Logs: []pay.LogShare{{Amount: total}}, PayeeID: Seller, PaymentID: d.Payment, Side: identity.Provider, TxHash: hash})
	w.then("bill-P-"+d.Agreement, bill.Paid{AgreementID: d.Agreement, PaymentID: d.Payment, Ranges: ranges, Side: identity.Provider, TxHash: hash},
		bill.Settled{AgreementID: d.Agreement, DocumentID: d.Invoice, Kind: payment.Invoice, Side: identity.Provider})
}
