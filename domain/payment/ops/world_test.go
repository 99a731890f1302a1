package ops_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/allocation"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/cycle"
	"github.com/emet-node/emet/domain/payment/internal/testlog"
	"github.com/emet-node/emet/domain/payment/ledger"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/ops"
	"github.com/emet-node/emet/domain/payment/order"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/payment/wallet"
	"github.com/emet-node/emet/domain/saga/remittance"
	"github.com/emet-node/emet/domain/saga/settlement"
	"github.com/emet-node/emet/domain/saga/transaction"
	"github.com/emet-node/emet/domain/saga/verification"
)

const (
	provider  = identity.NodeID("0x00000000000000000000000000000000000000aa")
	requestor = identity.NodeID("0x00000000000000000000000000000000000000bb")
	platform  = pay.Platform("erc20-hoodi-tglm")
	chainID   = uint64(560048)
	agr       = "agr"
	act       = "act"
	budget    = "alloc"
)

var (
	noon        = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	asProvider  = identity.Caller{Actor: es.ActorREST, Node: provider, Role: identity.RoleManager}
	asRequestor = identity.Caller{Actor: es.ActorREST, Node: requestor, Role: identity.RoleManager}
	own         = identity.Caller{Actor: es.ActorSaga}
	walletID    = wallet.StreamID(chainID, string(requestor))
	terms       = pay.Terms{PayeeAddr: string(provider), PayeeID: provider, PayerAddr: string(requestor), PayerID: requestor, Platform: platform}
)

type handler interface {
	Handle(ctx context.Context, id string, cmd any, m es.Meta) error
}

// world is a node that is both sides of a deal, with a chain and a network that
// do what they are told. Its books are looked at after every fact.
type world struct {
	t         testing.TB
	log       *es.Log
	ops       *ops.Ops
	payments  *es.Aggregate[payment.Command, payment.Event, payment.State]
	cycles    *es.Aggregate[cycle.Command, cycle.Event, cycle.State]
	router    map[string]handler
	processes []es.Process
	heard     es.Position
	keys      int
	books     ledger.Books
	balances  balances
	transfers int // that were mined with success

	locked  bool
	chain   string // "final" mines and finalises, "revert" does so without success, "" lets transactions wait
	balance money.Amount
	native  money.Amount
	block   uint64
}

func newWorld(t testing.TB) *world {
	l := testlog.New(noon)
	o := ops.New(l)
	w := &world{
		t: t, log: l, ops: o, chain: "final", balance: money.MustParse("100"), native: money.MustParse("1"), block: 10, balances: balances{},
		payments: es.NewAggregate(l, payment.Category, payment.Rules), cycles: es.NewAggregate(l, cycle.Category, cycle.Rules),
	}
	w.router = map[string]handler{
		ops.Category: o, bill.Category: o.Bills, allocation.Category: o.Allocations, wallet.Category: o.Wallets,
		order.Category: o.Orders, tx.Category: o.Txs, payment.Category: w.payments, cycle.Category: w.cycles,
	}
	config := settlement.Config{Profile: profile}
	w.processes = []es.Process{
		settlement.New(config).Start(), transaction.Saga.Start(), remittance.Saga.Start(), verification.Saga.Start(),
	}
	w.must(wallet.Category, walletID, wallet.Open{Address: string(requestor), By: asRequestor, ChainID: chainID, OwnerID: requestor, Platform: platform})
	w.look()
	return w
}

// look observes the wallet on the chain.
func (w *world) look() {
	w.must(wallet.Category, walletID, wallet.Observe{Block: w.block, Native: w.native, Token: w.balance})
}

func (w *world) do(category, id string, cmd any) error {
	w.keys++
	err := w.router[category].Handle(context.Background(), id, cmd, es.Meta{Key: fmt.Sprint("k", w.keys), Actor: es.ActorREST})
	if err == nil {
		w.pump()
	}
	return err
}

func (w *world) must(category, id string, cmd any) {
	w.t.Helper()
	if err := w.do(category, id, cmd); err != nil {
		w.t.Fatalf("%T: %v", cmd, err)
	}
}

// pump lets sagas and effects follow the log until nothing happens any more.
func (w *world) pump() {
	w.t.Helper()
	for {
		facts, err := testlog.Facts(w.log, w.heard)
		if err != nil {
			w.t.Fatal(err)
		}
		if len(facts) == 0 {
			return
		}
		r := facts[0]
		w.heard++
		w.post(r)
		for _, p := range w.processes {
			if !slices.Contains(p.Hears(), r.Type) {
				continue
			}
			for _, c := range p.Hear(r) {
				if err := w.router[c.Category].Handle(context.Background(), c.ID, c.Command, c.Meta); err != nil {
					w.t.Fatalf("%s: %T: %v", p.Name(), c.Command, err)
				}
			}
		}
		w.effect(r)
	}
}

// post enters a fact into the books and looks at them.
func (w *world) post(r es.Recorded) {
	w.t.Helper()
	postings := w.books.Post(r.Data)
	debit, credit := map[ledger.Asset]money.Amount{}, map[ledger.Asset]money.Amount{}
	for _, p := range postings {
		debit[p.Asset], credit[p.Asset] = debit[p.Asset].Add(p.Debit), credit[p.Asset].Add(p.Credit)
	}
	for asset := range debit {
		if !debit[asset].Equal(credit[asset]) {
			w.t.Fatalf("%s is unbalanced: %v", r.Type, postings)
		}
	}
	w.balances.Add(postings...)
	for asset, accounts := range w.balances {
		for a, b := range accounts {
			if a.Name != ledger.External && b.Sign() < 0 {
				w.t.Fatalf("after %s at %d, %s %v is %s", r.Type, r.Position, asset, a, b)
			}
		}
	}
}

// answer gives the outcome of an intent and checks that it is exactly one fact.
func (w *world) answer(r es.Recorded, category, id string, cmd any) {
	w.t.Helper()
	before, _ := w.log.Store.Info(context.Background(), es.StreamOf(category, id))
	err := w.router[category].Handle(context.Background(), id, cmd, es.Caused(r, es.ActorEffect, es.FinalKey(r.ID)))
	after, _ := w.log.Store.Info(context.Background(), es.StreamOf(category, id))
	if err != nil || after.Head < before.Head+1 {
		w.t.Fatalf("%T to %s: %d facts, %v", cmd, r.Type, after.Head-before.Head, err)
	}
}

func (w *world) effect(r es.Recorded) {
	w.t.Helper()
	fromP, fromR := identity.Caller{Actor: es.ActorPeer, Node: provider}, identity.Caller{Actor: es.ActorPeer, Node: requestor}
	id := r.Stream.Key()
	tell := func(side identity.Side, c bill.Command) {
		if err := w.router[bill.Category].Handle(context.Background(), bill.StreamID(side, agr), c, es.Caused(r, es.ActorPeer, "msg/"+r.ID.String())); err != nil {
			w.t.Fatalf("%T: %v", c, err)
		}
	}
	switch e := r.Data.(type) {
	case bill.NoteIssued:
		tell("R", bill.ReceiveNote{ActivityID: e.ActivityID, AgreementID: agr, Amount: e.Amount.String(), By: fromP, DebitNoteID: e.DebitNoteID, Terms: terms, Timestamp: e.Timestamp})
		w.answer(r, bill.Category, id, bill.AnswerDelivery{DocumentID: e.DebitNoteID})
	case bill.InvoiceIssued:
		tell("R", bill.ReceiveInvoice{Activities: e.ActivityIDs, ActivityIDs: e.ActivityIDs, AgreementID: agr, Amount: e.Amount.String(), By: fromP, InvoiceID: e.InvoiceID, Terms: terms, Timestamp: e.Timestamp})
		w.answer(r, bill.Category, id, bill.AnswerDelivery{DocumentID: e.InvoiceID})
	case bill.NoteAccepted:
		tell("P", bill.HearAcceptance{Amount: e.Amount.Decimal(), By: fromR, DocumentID: e.DebitNoteID, Kind: pay.DebitNote})
		w.answer(r, bill.Category, id, bill.AnswerAcceptance{DocumentID: e.DebitNoteID})
	case bill.InvoiceAccepted:
		tell("P", bill.HearAcceptance{Amount: e.Amount.Decimal(), By: fromR, DocumentID: e.InvoiceID, Kind: pay.Invoice})
		w.answer(r, bill.Category, id, bill.AnswerAcceptance{DocumentID: e.InvoiceID})
	case tx.SigningRequested:
		if w.locked {
			w.answer(r, tx.Category, id, tx.AnswerSigning{Code: tx.Locked, Why: "locked"})
			return
		}
		w.answer(r, tx.Category, id, tx.AnswerSigning{Hash: txHash(id), Raw: []byte(id)})
	case tx.BroadcastRequested:
		w.answer(r, tx.Category, id, tx.AnswerBroadcast{Hash: e.Hash, Result: tx.Accepted, RPC: "test"})
		w.mine(id)
	case payment.SigningRequested:
		w.answer(r, payment.Category, id, payment.AnswerSigning{PayeeID: e.PayeeID, Signature: make([]byte, 65)})
	case payment.DeliveryRequested:
		s, _, _ := w.payments.Load(context.Background(), id)
		claim := payment.Claim{By: fromR, Canonical: s.Sent[e.PayeeID].Canonical, PayeeID: e.PayeeID, Signature: s.Sent[e.PayeeID].Signature, Signer: requestor}
		if err := w.payments.Handle(context.Background(), payment.ReceivedID(e.PayeeID, e.PaymentID), claim, es.Caused(r, es.ActorPeer, "msg/"+r.ID.String())); err != nil {
			w.t.Fatal(err)
		}
		w.answer(r, payment.Category, id, payment.AnswerDelivery{PayeeID: e.PayeeID, TxHash: s.Sent[e.PayeeID].Request.TxHash})
	case payment.Claimed:
		w.answer(r, payment.Category, id, payment.AnswerClaim{BlockNumber: w.block, Depth: 1, Logs: []payment.LogShare{{Amount: e.Amount}}})
	}
}

// txHash is the hash of the transaction of a nonce here.
func txHash(id string) string {
	h := onchain.Keccak256([]byte(id))
	return "0x" + hex.EncodeToString(h[:])
}

// mine lets the chain act on a transaction.
func (w *world) mine(id string) {
	w.t.Helper()
	if w.chain == "" {
		return
	}
	w.block++
	block := fmt.Sprint("0xb", w.block)
	include := tx.Include{BlockHash: block, BlockNumber: w.block, Fee: money.MustParse("0.001"), Hash: txHash(id), Status: 1}
	if w.chain == "revert" {
		include.Status = 0
	} else {
		s, _, _ := w.ops.Txs.Load(context.Background(), id)
		o, _, _ := w.ops.Orders.Load(context.Background(), s.Plan.OrderID)
		b, _ := o.Batch(s.Plan.BatchID)
		for _, i := range b.Intents {
			x, _ := o.Intent(i)
			w.balance = w.balance.Sub(x.Amount)
		}
		w.transfers++
	}
	w.keys++
	m := es.Meta{Key: fmt.Sprint("chain", w.keys), Actor: es.ActorChain}
	if _, err := w.ops.Txs.Do(context.Background(), id, include, m); err != nil {
		w.t.Fatal(err)
	}
	m.Key += "/final"
	if _, err := w.ops.Txs.Do(context.Background(), id, tx.Finalise{BlockHash: block}, m); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) allocate(total string) error {
	return w.do(ops.Category, budget, ops.CreateAllocation{Create: allocation.Create{
		Address: string(requestor), AllocationID: budget, At: noon, By: asRequestor, ChainID: chainID, OwnerID: requestor,
		Platform: platform, Timeout: noon.Add(time.Hour), Total: money.MustParse(total),
	}})
}

func (w *world) note(id, due string) {
	w.t.Helper()
	w.must(bill.Category, bill.StreamID("P", agr), bill.IssueNote{ActivityID: act, AgreementID: agr, Amount: money.MustParse(due), At: noon, By: asProvider, DebitNoteID: id, Terms: terms})
}

func (w *world) invoice(id, due string) {
	w.t.Helper()
	w.must(bill.Category, bill.StreamID("P", agr), bill.IssueInvoice{ActivityIDs: []string{act}, AgreementID: agr, Amount: money.MustParse(due), At: noon, By: asProvider, DueDate: noon, InvoiceID: id, Terms: terms})
}

func (w *world) acceptNote(id, due string) error {
	return w.do(ops.Category, agr, ops.AcceptNote{AgreementID: agr, AllocationID: budget, Amount: money.MustDecimal(due), By: asRequestor, DebitNoteID: id})
}

func (w *world) acceptInvoice(id, due string) error {
	return w.do(ops.Category, agr, ops.AcceptInvoice{AgreementID: agr, AllocationID: budget, Amount: money.MustDecimal(due), By: asRequestor, InvoiceID: id})
}

// run lets the cycle settle now.
func (w *world) run() {
	w.t.Helper()
	w.must(cycle.Category, cycle.StreamID(platform, string(requestor)), cycle.RequestRun{At: noon, By: own, Why: cycle.ByRequest})
}

func (w *world) bill(side identity.Side) bill.State {
	s, _, err := w.ops.Bills.Load(context.Background(), bill.StreamID(side, agr))
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) budget() allocation.State {
	s, _, err := w.ops.Allocations.Load(context.Background(), budget)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) wallet() wallet.State {
	s, _, err := w.ops.Wallets.Load(context.Background(), walletID)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

// facts counts the facts of a type.
func (w *world) facts(name string) int {
	all, err := testlog.Facts(w.log, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	n := 0
	for _, r := range all {
		if r.Type == name {
			n++
		}
	}
	return n
}

func (w *world) status(side identity.Side, id string) pay.Status {
	d, _ := w.bill(side).Document(id)
	return d.Status
}

func profile(p pay.Platform) (onchain.Profile, bool) { return onchain.Network(p.Network()) }

// balances adds up postings.
type balances map[ledger.Asset]map[ledger.Account]money.Amount

// Add enters postings. They grow by debit or credit as the account does.
func (b balances) Add(postings ...ledger.Posting) {
	for _, p := range postings {
		if b[p.Asset] == nil {
			b[p.Asset] = make(map[ledger.Account]money.Amount)
		}
		change := p.Debit.Sub(p.Credit)
		if !p.Account.Name.DebitNormal() {
			change = change.Neg()
		}
		b[p.Asset][p.Account] = b[p.Asset][p.Account].Add(change)
	}
}
