package projections_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/store/memory"
	life "github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/activity/usage"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/account"
	"github.com/emet-node/emet/domain/identity/appkey"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/demand"
	"github.com/emet-node/emet/domain/market/negotiation"
	"github.com/emet-node/emet/domain/market/offer"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/allocation"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/payment/wallet"
	"github.com/emet-node/emet/eventschemas"
	"github.com/emet-node/emet/projections"
)

const (
	alice = identity.NodeID("0xa11ce00000000000000000000000000000000000") // requestor
	bob   = identity.NodeID("0xb0b0000000000000000000000000000000000000") // provider
	deal  = "d0d0"
	act   = "0123456789abcdef0123456789abcdef"
	r, p  = identity.Requestor, identity.Provider
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// world is a log and the means to write facts into it.
type world struct {
	t   testing.TB
	log *es.Log
	n   int
}

func newWorld(t testing.TB) *world {
	t.Helper()
	store := memory.New()
	t.Cleanup(func() { store.Close() })
	return &world{t: t, log: &es.Log{Store: store, Codec: eventschemas.New()}}
}

// say appends facts of one stream.
func (w *world) say(stream string, facts ...any) { w.sayAs(es.Meta{}, stream, facts...) }

func (w *world) sayAs(m es.Meta, stream string, facts ...any) {
	w.t.Helper()
	w.n++
	if m.Key == "" {
		m.Key = fmt.Sprint("key-", w.n)
	}
	if m.Correlation == "" {
		m.Correlation = deal
	}
	if _, err := w.log.Append(w.t.Context(), m, nil, es.Facts{Stream: es.Stream(stream), Expected: es.Any, Facts: facts}); err != nil {
		w.t.Fatal(err)
	}
}

// follow runs a group until the test ends.
func follow(t testing.TB, run func(context.Context) error, closer func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the follower stopped: %v", err)
		}
		if err := closer(); err != nil {
			t.Error(err)
		}
	})
}

func openMarket(t testing.TB, w *world, dir string) *projections.Market {
	t.Helper()
	m, err := projections.OpenMarket(t.Context(), dir, w.log)
	must(t, err)
	follow(t, m.Run, m.Close)
	return m
}

func openActivity(t testing.TB, w *world, dir string) *projections.Activity {
	t.Helper()
	a, err := projections.OpenActivity(t.Context(), dir, w.log)
	must(t, err)
	follow(t, a.Run, a.Close)
	return a
}

func openPayment(t testing.TB, w *world, dir string) *projections.Payment {
	t.Helper()
	p, err := projections.OpenPayment(t.Context(), dir, w.log)
	must(t, err)
	follow(t, p.Run, p.Close)
	return p
}

func openNode(t testing.TB, w *world, dir string) *projections.Node {
	t.Helper()
	n, err := projections.OpenNode(t.Context(), dir, w.log)
	must(t, err)
	follow(t, n.Run, n.Close)
	return n
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func amount(t testing.TB, s string) money.Amount {
	t.Helper()
	a, err := money.Parse(s)
	must(t, err)
	return a
}

func terms() agreement.Terms {
	return agreement.Terms{Created: noon.Add(1), DemandID: "demand-1", OfferID: "offer-1", Provider: bob, Requestor: alice, ValidTo: noon.Add(time.Hour)}
}

// wholeDeal writes what both sides of one deal in one daemon write.
func wholeDeal(t testing.TB, w *world) {
	t.Helper()
	hourlater := noon.Add(time.Hour)
	w.say("identity-"+string(alice), account.Created{Identity: alice, Alias: "alice", Origin: account.Generated}, account.MadeDefault{Identity: alice})
	w.say("identity-"+string(bob), account.Created{Identity: bob, Origin: account.Generated})
	w.say("demand-demand-1", demand.Published{DemandID: "demand-1", Requestor: alice, Properties: `{"x":0.0}`, Constraints: "(&)", Created: noon.Add(1), Expires: hourlater})
	w.say("offer-offer-1", offer.Published{OfferID: "offer-1", Provider: bob, Properties: `{}`, Constraints: "(&)", Created: noon, Expires: hourlater})
	w.say("negotiation-n1", negotiation.Opened{
		NegotiationID: "n1", Side: r, Requestor: alice, Provider: bob, DemandID: "demand-1", OfferID: "offer-1",
		Initial: negotiation.Proposal{ProposalID: "aa"}, DemandExpires: hourlater,
	})
	w.say("negotiation-n2", negotiation.Opened{
		NegotiationID: "n2", Side: p, Requestor: alice, Provider: bob, DemandID: "demand-1", OfferID: "offer-1",
		Initial: negotiation.Proposal{ProposalID: "bb"}, DemandExpires: hourlater,
	})
	w.say("negotiation-n1", negotiation.CounterRequested{NegotiationID: "n1", Prev: "aa", Proposal: negotiation.Proposal{ProposalID: "cc"}})
	w.say("negotiation-n2", negotiation.CounterReceived{NegotiationID: "n2", Prev: "bb", Proposal: negotiation.Proposal{ProposalID: "cc"}})
	w.say("agreement-R-"+deal, agreement.Created{AgreementID: deal, Side: r, Terms: terms()},
		agreement.ConfirmationRequested{AgreementID: deal, Side: r, Session: "s1"}, agreement.Confirmed{AgreementID: deal, Side: r})
	w.say("agreement-P-"+deal, agreement.Received{AgreementID: deal, Side: p, Terms: terms()},
		agreement.ApprovalRequested{AgreementID: deal, Side: p, Session: "s2", ApprovedAt: noon, Deadline: hourlater})
	w.say("agreement-R-"+deal, agreement.ApprovalReceived{AgreementID: deal, Side: r, ApprovedAt: noon}, agreement.Approved{AgreementID: deal, Side: r})
	w.say("agreement-P-"+deal, agreement.Approved{AgreementID: deal, Side: p})
	w.say("activity-P-"+act, life.Created{ActivityID: act, AgreementID: deal, Provider: bob, Requestor: alice, Side: p, RequestorPubKey: "02"},
		life.SpawnRequested{ActivityID: act, AgreementID: deal, Runtime: "wasmtime"}, life.StateChanged{ActivityID: act, State: life.Initialized})
	w.say("activity-R-"+act, life.CreationRequested{ActivityID: act, AgreementID: deal, Provider: bob, Requestor: alice},
		life.Created{ActivityID: act, AgreementID: deal, Provider: bob, Requestor: alice, Side: r})
	w.say("batch-R-"+act+"-b1", batch.ExecRequested{ActivityID: act, AgreementID: deal, BatchID: "b1", Commands: 1, Provider: bob, Requestor: alice, Script: "[]"},
		batch.Accepted{ActivityID: act, AgreementID: deal, BatchID: "b1", Commands: 1, Provider: bob, Requestor: alice, Side: r})
	w.say("usage-P-"+act, usage.Sampled{ActivityID: act, At: noon, Vector: "[1.0,0.0]", Names: []string{"a", "b"}})
	w.say("wallet-1-0xa", wallet.Opened{Address: string(alice), ChainID: 1, OwnerID: alice, Platform: "erc20-hoodi-tglm"})
	w.say("allocation-al", allocation.Created{AllocationID: "al", OwnerID: alice, Address: string(alice), ChainID: 1, Platform: "erc20-hoodi-tglm", Timeout: hourlater, Total: amount(t, "5")})
	w.say("wallet-1-0xa", wallet.FundsReserved{Address: string(alice), ChainID: 1, AllocationID: "al", Amount: amount(t, "5")})
	for _, side := range []identity.Side{r, p} {
		w.say("bill-"+string(side)+"-"+deal, bill.Opened{
			AgreementID: deal, Side: side, PayeeID: bob, PayerID: alice, PayeeAddr: string(bob), PayerAddr: string(alice), Platform: "erc20-hoodi-tglm", AppSessionID: "s1",
		})
	}
	w.say("bill-P-"+deal, bill.NoteIssued{AgreementID: deal, Side: p, DebitNoteID: "note", ActivityID: act, Amount: amount(t, "1"), Timestamp: noon})
	w.say("bill-R-"+deal, bill.NoteReceived{AgreementID: deal, Side: r, DebitNoteID: "note", ActivityID: act, Amount: amount(t, "1"), Timestamp: noon})
	w.say("bill-R-"+deal, bill.NoteAccepted{AgreementID: deal, Side: r, DebitNoteID: "note", ActivityID: act, Amount: amount(t, "1"), Delta: amount(t, "1"), To: amount(t, "1"), AllocationID: "al"})
	w.say("allocation-al", allocation.Committed{AllocationID: "al", AgreementID: deal, ActivityID: act, Delta: amount(t, "1"), DocumentID: "note", Kind: pay.DebitNote})
	w.say("bill-R-"+deal, bill.InvoiceReceived{AgreementID: deal, Side: r, InvoiceID: "inv", ActivityIDs: []string{act}, Amount: amount(t, "1.5"), Timestamp: noon, DueDate: hourlater})
	w.say("bill-R-"+deal, bill.InvoiceAccepted{AgreementID: deal, Side: r, InvoiceID: "inv", Amount: amount(t, "1.5"), Delta: amount(t, "0.5"), To: amount(t, "0.5"), AllocationID: "al"})
	w.say("payment-R-pp", payment.SigningRequested{PaymentID: "pp", Side: r, PayeeID: bob, PayerID: alice, Platform: "erc20-hoodi-tglm", TxHash: "0x1", Timestamp: noon, Shares: []pay.Share{{AgreementID: deal, ActivityID: act, Amount: amount(t, "1")}}})
	w.say("payment-R-pp", payment.Signed{PaymentID: "pp", Side: r, PayeeID: bob, Canonical: []byte("{}"), Signature: []byte{1}})
	w.say("appkey-k", appkey.Created{Hash: "h1", Identity: alice, Name: "golem", Role: identity.RoleManager, Origins: []string{"http://x"}})
}

func TestRebuildEqualsLiving(t *testing.T) {
	t.Parallel()
	for _, where := range []string{projections.Memory, "file"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			dir := where
			if dir != projections.Memory {
				dir = t.TempDir()
			}
			w := newWorld(t)
			groups := []interface {
				TableHash(context.Context) (string, error)
				Rebuild(context.Context) error
				Name() string
			}{openMarket(t, w, dir), openActivity(t, w, dir), openPayment(t, w, dir), openNode(t, w, dir)}
			wholeDeal(t, w)
			for _, g := range groups {
				live, err := g.TableHash(t.Context())
				must(t, err)
				must(t, g.Rebuild(t.Context()))
				again, err := g.TableHash(t.Context())
				must(t, err)
				if live != again {
					t.Errorf("%s: rebuilt tables differ from those that grew", g.Name())
				}
			}
			w.say("demand-demand-2", demand.Published{DemandID: "demand-2", Requestor: alice, Created: noon, Expires: noon})
			m := groups[0].(*projections.Market)
			if subs, err := m.Subscriptions(t.Context(), projections.Demands, alice); err != nil || len(subs) != 2 {
				t.Errorf("after a rebuild the view does not go on: %v, %v", subs, err)
			}
		})
	}
}

func TestAViewGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), t.TempDir()
	wholeDeal(t, w)
	m, err := projections.OpenMarket(t.Context(), dir, w.log)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	must(t, m.Fresh(t.Context()))
	want, at := hash(t, m.DB), m.Position()
	cancel()
	must(t, <-done)
	must(t, m.Close())

	m, err = projections.OpenMarket(t.Context(), dir, w.log)
	must(t, err)
	if m.Position() != at || at == 0 {
		t.Errorf("it is at %d after opening again, was at %d", m.Position(), at)
	}
	if place, ok, err := m.Proposal(t.Context(), p, "cc"); err != nil || !ok || place.Negotiation != "n2" {
		t.Errorf("the memory of proposals was not loaded: %+v, %v", place, err)
	}
	if got := hash(t, m.DB); got != want {
		t.Error("the tables changed")
	}
	must(t, m.Close())

	// another log: the tables are void
	other := newWorld(t)
	other.say("demand-demand-9", demand.Published{DemandID: "demand-9", Requestor: alice, Created: noon, Expires: noon})
	m, err = projections.OpenMarket(t.Context(), dir, other.log)
	must(t, err)
	follow(t, m.Run, m.Close)
	subs, err := m.Subscriptions(t.Context(), projections.Demands, "")
	if err != nil || len(subs) != 1 || subs[0].ID != "demand-9" {
		t.Errorf("tables of another log were kept: %+v, %v", subs, err)
	}
}

func hash(t testing.TB, db *projections.DB) string {
	t.Helper()
	h, err := db.TableHash(t.Context())
	must(t, err)
	return h
}

func TestOneReadsOnesOwnWrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := openMarket(t, w, t.TempDir())
	for i := range 100 {
		id := fmt.Sprint("d", i)
		w.say("demand-"+id, demand.Published{DemandID: id, Requestor: alice, Created: noon, Expires: noon})
		if subs, err := m.Subscriptions(t.Context(), projections.Demands, alice); err != nil || len(subs) != i+1 {
			t.Fatalf("after %d writes a read finds %d, %v", i+1, len(subs), err)
		}
	}
}

func TestTheMarketOfADeal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := openMarket(t, w, projections.Memory)
	wholeDeal(t, w)
	ctx := t.Context()

	subs, err := m.Subscriptions(ctx, projections.Demands, alice)
	must(t, err)
	if len(subs) != 1 || subs[0].Properties != `{"x":0.0}` || !subs[0].Created.Equal(noon.Add(1)) {
		t.Errorf("texts and nanoseconds must survive: %+v", subs)
	}
	if _, found, _ := m.Subscription(ctx, bob, "demand-1"); found {
		t.Error("one identity sees the demand of another")
	}
	for _, c := range []struct {
		side   identity.Side
		id     string
		thread string
		owner  identity.NodeID
	}{{r, "aa", "n1", alice}, {p, "bb", "n2", bob}, {r, "cc", "n1", alice}, {p, "cc", "n2", bob}} {
		place, ok, err := m.Proposal(ctx, c.side, c.id)
		if err != nil || !ok || place.Negotiation != c.thread || place.Owner != c.owner {
			t.Errorf("%s-%s: %+v, %v", c.side, c.id, place, err)
		}
	}
	if _, ok, _ := m.Proposal(ctx, p, "aa"); ok {
		t.Error("the requestor's match has no place at the provider")
	}

	list, err := m.Agreements(ctx, projections.AgreementFilter{Owner: alice, State: "Approved"})
	must(t, err)
	if len(list) != 1 || list[0].Side != r || list[0].Session != "s1" || !list[0].Approved.Equal(noon) || list[0].Peer != bob {
		t.Errorf("alice's agreements: %+v", list)
	}
	if list, _ := m.Agreements(ctx, projections.AgreementFilter{Owner: alice, After: noon.Add(1)}); len(list) != 0 {
		t.Errorf("afterDate is exclusive: %+v", list)
	}
	if list, _ := m.Agreements(ctx, projections.AgreementFilter{Owner: alice, After: noon, Before: noon.Add(2)}); len(list) != 1 {
		t.Errorf("between dates: %+v", list)
	}

	w.say("agreement-R-"+deal, agreement.Terminated{AgreementID: deal, Side: r, By: p, Reason: `{"message":"bye","x":1}`, Signature: "sig"})
	events, err := m.AgreementEvents(ctx, projections.AgreementEventFilter{Owner: alice, Session: "s1"})
	must(t, err)
	if len(events) != 2 || events[0].Type != "AgreementApprovedEvent" || events[1].Reason != `{"message":"bye","x":1}` || events[1].Terminator != p {
		t.Errorf("events: %+v", events)
	}
	after, err := m.AgreementEvents(ctx, projections.AgreementEventFilter{Owner: alice, After: events[0].Time})
	must(t, err)
	if len(after) != 1 || after[0].Type != "AgreementTerminatedEvent" {
		t.Errorf("the cursor is exclusive: %+v", after)
	}
	if none, _ := m.AgreementEvents(ctx, projections.AgreementEventFilter{Owner: alice, Session: "s2"}); len(none) != 0 {
		t.Errorf("another session's events: %+v", none)
	}
}

func TestCursorsLoseNothingInABurst(t *testing.T) {
	t.Parallel()
	const n = 2000
	w := newWorld(t)
	m := openMarket(t, w, t.TempDir())
	for i := range n {
		id := fmt.Sprint(i)
		w.say("agreement-R-"+id, agreement.Created{AgreementID: id, Side: r, Terms: terms()}, agreement.Approved{AgreementID: id, Side: r})
	}
	seen := make(map[string]bool)
	f := projections.AgreementEventFilter{Owner: alice, Limit: 7}
	for {
		events, err := m.AgreementEvents(t.Context(), f)
		must(t, err)
		if len(events) == 0 {
			break
		}
		for _, e := range events {
			if seen[e.AgreementID] {
				t.Fatalf("event of %s came twice", e.AgreementID)
			}
			seen[e.AgreementID] = true
		}
		f.After = events[len(events)-1].Time
	}
	if len(seen) != n {
		t.Fatalf("%d of %d events came", len(seen), n)
	}
}

func TestTheActivityOfADeal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := openActivity(t, w, projections.Memory)
	wholeDeal(t, w)
	ctx := t.Context()
	mine, err := a.Activities(ctx, projections.ActivityFilter{AgreementID: deal, Owner: bob})
	must(t, err)
	if len(mine) != 1 || mine[0].Runtime != "wasmtime" || mine[0].State != life.Initialized || mine[0].Usage != "[1.0,0.0]" {
		t.Errorf("bob's: %+v", mine)
	}
	events, err := a.ActivityEvents(ctx, bob, "s2", noon, 0)
	must(t, err)
	if len(events) != 1 || events[0].Type != "CreateActivity" || events[0].RequestorPubKey != "02" {
		t.Errorf("events: %+v", events)
	}
	if none, _ := a.ActivityEvents(ctx, alice, "", noon, 0); len(none) != 0 {
		t.Errorf("the requestor gets events of an agent: %+v", none)
	}
	w.say("activity-P-"+act, life.Unresponsive{ActivityID: act}, life.Recovered{ActivityID: act}, life.DestructionRequested{ActivityID: act}, life.Terminated{ActivityID: act, Reason: "x"})
	if events, _ = a.ActivityEvents(ctx, bob, "", events[0].Time, 0); len(events) != 1 || events[0].Type != "DestroyActivity" || events[0].AgreementID != deal {
		t.Errorf("events: %+v", events)
	}
	if alive, _ := a.Activities(ctx, projections.ActivityFilter{Alive: true}); len(alive) != 1 || alive[0].Side != r {
		t.Errorf("alive: %+v", alive)
	}
	if open, _ := a.Batches(ctx, projections.BatchFilter{Open: true}); len(open) != 1 || open[0].State != "running" || open[0].Owner != alice {
		t.Errorf("open: %+v", open)
	}
	w.say("batch-R-"+act+"-b1", batch.CommandFinished{ActivityID: act, BatchID: "b1"}, batch.Closed{ActivityID: act, BatchID: "b1", Outcome: batch.Done})
	if all, _ := a.Batches(ctx, projections.BatchFilter{ActivityID: act}); len(all) != 1 || all[0].State != "done" || all[0].Finished != 1 {
		t.Errorf("batches: %+v", all)
	}
}

var (
	requestorCodes = []string{"RECEIVED", "CANCELLED"}
	providerCodes  = []string{"ACCEPTED", "REJECTED", "SETTLED", "CANCELLED"}
)

func TestTheMoneyOfADeal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := openPayment(t, w, projections.Memory)
	wholeDeal(t, w)
	ctx := t.Context()

	inv, found, err := v.Document(ctx, alice, pay.Invoice, "inv")
	must(t, err)
	if !found || inv.Status != pay.Accepted || inv.Amount.String() != "1.5" || inv.Issuer != bob || inv.ActivityIDs[0] != act || inv.PayerAddr != string(alice) {
		t.Errorf("invoice: %+v", inv)
	}
	if _, found, _ := v.Document(ctx, bob, pay.Invoice, "inv"); found {
		t.Error("the provider sees the requestor's copy")
	}
	note, _, _ := v.Document(ctx, bob, pay.DebitNote, "note")
	if note.Status != pay.Issued || note.Side != p {
		t.Errorf("bob's note: %+v", note)
	}
	if list, _ := v.Documents(ctx, projections.DocumentFilter{Owner: alice, ActivityID: act}); len(list) != 2 {
		t.Errorf("documents about the activity: %+v", list)
	}

	events := func(owner identity.NodeID, kind pay.Kind) []projections.BillEventRow {
		rows, err := v.BillEvents(ctx, projections.BillEventFilter{Owner: owner, Kind: kind, RequestorCodes: requestorCodes, ProviderCodes: providerCodes})
		must(t, err)
		return rows
	}
	if e := events(alice, pay.Invoice); len(e) != 1 || e[0].Code != "RECEIVED" {
		t.Errorf("a requestor hears of received invoices only: %+v", e)
	}
	if e := events(bob, pay.DebitNote); len(e) != 0 {
		t.Errorf("a provider does not hear of its own notes: %+v", e)
	}
	w.say("bill-P-"+deal, bill.NoteAcceptedByPeer{AgreementID: deal, Side: p, ActivityID: act, DebitNoteID: "note", Amount: amount(t, "1")})
	if e := events(bob, pay.DebitNote); len(e) != 1 || e[0].Code != "ACCEPTED" {
		t.Errorf("a provider hears of acceptances: %+v", e)
	}

	al, err := v.Allocations(ctx, projections.AllocationFilter{Owner: alice, Active: true})
	must(t, err)
	if len(al) != 1 || al[0].Committed.String() != "1" || al[0].Remaining().String() != "4" {
		t.Errorf("allocations: %+v", al)
	}
	ex, err := v.Expenditures(ctx, alice, "al")
	must(t, err)
	if len(ex) != 1 || ex[0].Accepted.String() != "1" || ex[0].ActivityID != act {
		t.Errorf("expenditures: %+v", ex)
	}
	w.say("allocation-al", allocation.Released{AllocationID: "al", Returned: amount(t, "4")})
	if al, _ := v.Allocations(ctx, projections.AllocationFilter{Owner: alice, Active: true}); len(al) != 0 {
		t.Errorf("released ones are not active: %+v", al)
	}

	tot, err := v.PayAgreements(ctx, projections.TotalsFilter{Owner: alice})
	must(t, err)
	if len(tot) != 1 || tot[0].Due.String() != "1.5" || tot[0].Accepted.String() != "1.5" || tot[0].Peer != bob {
		t.Errorf("totals: %+v", tot)
	}
	acts, err := v.PayActivities(ctx, projections.TotalsFilter{Owner: alice})
	must(t, err)
	if len(acts) != 1 || acts[0].Due.String() != "1" {
		t.Errorf("per activity: %+v", acts)
	}

	sent, err := v.Payments(ctx, projections.PaymentFilter{Owner: alice, Network: "hoodi", Session: "s1", AgreementID: deal})
	must(t, err)
	if len(sent) != 1 || sent[0].Amount.String() != "1" || len(sent[0].Signature) != 1 || sent[0].Listed.IsZero() {
		t.Errorf("payments: %+v", sent)
	}
	for _, f := range []projections.PaymentFilter{
		{Owner: bob}, {Owner: alice, Network: "mainnet"}, {Owner: alice, Session: "s2"}, {Owner: alice, After: sent[0].Listed}, {Owner: alice, ActivityIDs: []string{"z"}},
	} {
		if rows, err := v.Payments(ctx, f); err != nil || len(rows) != 0 {
			t.Errorf("%+v finds %+v, %v", f, rows, err)
		}
	}
	if acc, _ := v.Accounts(ctx, alice); len(acc) != 1 || acc[0].Reserved.String() != "5" {
		t.Errorf("accounts: %+v", acc)
	}
}

func TestAStrangersChoiceOfIdsHurtsNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := openPayment(t, w, projections.Memory)
	wholeDeal(t, w)
	w.say("bill-R-evil", bill.Opened{AgreementID: "evil", Side: r, PayeeID: "0xe", PayerID: alice, Platform: "erc20-hoodi-tglm"},
		bill.InvoiceReceived{AgreementID: "evil", Side: r, InvoiceID: "inv", Amount: amount(t, "99")})
	inv, _, err := v.Document(t.Context(), alice, pay.Invoice, "inv")
	must(t, err)
	if inv.AgreementID != deal {
		t.Errorf("an invoice with the id of an older one took its place: %+v", inv)
	}
}

func TestCodesAreFilteredBeforeTheLimitCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := openPayment(t, w, projections.Memory)
	wholeDeal(t, w)
	f := projections.BillEventFilter{Owner: alice, Kind: pay.DebitNote, RequestorCodes: requestorCodes, ProviderCodes: providerCodes, Limit: 100}
	rows, err := v.BillEvents(t.Context(), f)
	must(t, err)
	f.After = rows[len(rows)-1].Time
	for i := range 200 { // hidden ones
		w.say("bill-R-"+deal, bill.Settled{AgreementID: deal, Side: r, DocumentID: fmt.Sprint("n", i), Kind: pay.DebitNote})
	}
	w.say("bill-R-"+deal, bill.NoteReceived{AgreementID: deal, Side: r, DebitNoteID: "visible", ActivityID: act, Amount: amount(t, "2")})
	rows, err = v.BillEvents(t.Context(), f)
	must(t, err)
	if len(rows) != 1 || rows[0].DocumentID != "visible" {
		t.Fatalf("behind 200 hidden events: %+v", rows)
	}
}

func TestEventsOfOneTimeAreNeverParted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := openPayment(t, w, projections.Memory)
	wholeDeal(t, w) // a note and an invoice are accepted
	for _, id := range []string{"x", "y", "z"} {
		w.say("bill-R-"+deal, bill.InvoiceReceived{AgreementID: deal, Side: r, InvoiceID: id, Amount: amount(t, "2")}, bill.InvoiceAccepted{AgreementID: deal, Side: r, InvoiceID: id})
	}
	w.say("wallet-1-0xa", wallet.HealthChanged{Address: string(alice), ChainID: 1, Properties: `[{"kind":"InsufficientGas"}]`})
	rows, err := v.BillEvents(t.Context(), projections.BillEventFilter{Owner: alice, Kind: pay.Invoice, RequestorCodes: []string{"PAYMENT_EVENT"}, Limit: 2})
	must(t, err)
	if len(rows) != 4 || rows[0].Property != `{"kind":"InsufficientGas"}` || !rows[0].Time.Equal(rows[3].Time) {
		t.Errorf("a limit of 2 parted events that share a cursor: %+v", rows)
	}
	if h, _ := v.Health(t.Context(), alice); h["erc20-hoodi-tglm"] == "[]" {
		t.Errorf("health: %v", h)
	}
}

func TestIntentsWithoutOutcome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := openNode(t, w, projections.Memory)
	w.say("agreement-R-x", agreement.ConfirmationRequested{AgreementID: "x", Side: r})
	w.say("agreement-R-y", agreement.Terminated{AgreementID: "y", Side: r, Reason: "{}"}) // not ours: nobody to tell
	w.say("agreement-R-z", agreement.Terminated{AgreementID: "z", Side: r, Reason: "{}", Notify: true})
	open, err := n.Pending(t.Context())
	must(t, err)
	if len(open) != 2 || open[0].Stream != "agreement-R-x" || open[1].Stream != "agreement-R-z" {
		t.Fatalf("open: %+v", open)
	}
	id, err := es.ParseID(open[0].ID)
	must(t, err)
	w.sayAs(es.Meta{Key: id.String() + "/2"}, "agreement-R-x", agreement.CommitFailed{AgreementID: "x"}) // an attempt is no answer
	w.sayAs(es.Meta{Key: es.FinalKey(id)}, "agreement-R-x", agreement.Confirmed{AgreementID: "x", Side: r})
	left, err := n.OpenIntents(t.Context())
	must(t, err)
	if len(left) != 1 || left[0] != open[1].Position {
		t.Fatalf("left: %v", left)
	}
}

func TestKeysActAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := openNode(t, w, t.TempDir())
	ctx := t.Context()
	w.say("appkey-k", appkey.Created{Hash: "h1", Identity: alice, Name: "golem", Role: identity.RoleManager, Origins: []string{"http://x"}})
	k, ok, err := n.AppKey(ctx, "h1", noon)
	if err != nil || !ok || k.Identity != alice || k.ID != appkey.StreamID("golem") {
		t.Fatalf("%+v %v %v", k, ok, err)
	}
	w.say("appkey-l", appkey.Created{Hash: "h2", Identity: alice, Name: "short", Role: identity.RoleManager, Limit: appkey.Limit{Expires: noon}})
	if _, ok, _ := n.AppKey(ctx, "h2", noon); ok {
		t.Error("an expired key counts")
	}
	if o := n.Origins(); len(o) != 1 || o[0] != "http://x" {
		t.Errorf("origins %v", o)
	}
	w.say("appkey-k", appkey.Dropped{Hash: "h1", Identity: alice, Name: "golem"})
	if _, ok, _ := n.AppKey(ctx, "h1", noon); ok {
		t.Error("a dropped key counts")
	}
	if all, _ := n.AppKeys(ctx); len(all) != 1 {
		t.Errorf("keys: %+v", all)
	}
}

func TestIdentitiesDeadlinesTimeline(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := openNode(t, w, projections.Memory)
	wholeDeal(t, w)
	ctx := t.Context()
	if id, ok, err := n.DefaultIdentity(ctx); err != nil || !ok || id.ID != alice {
		t.Errorf("default: %+v %v", id, err)
	}
	w.say("identity-"+string(alice), account.Dropped{Identity: alice})
	if ids, _ := n.Identities(ctx); len(ids) != 1 || ids[0].ID != bob {
		t.Errorf("identities: %+v", ids)
	}
	due, err := n.Deadlines(ctx, time.Time{}, 0)
	must(t, err)
	got := map[string]bool{}
	for _, d := range due {
		got[string(d.Stream)+" "+d.What] = true
	}
	if len(got) != 3 || !got["allocation-al release"] || !got["demand-demand-1 expiry"] || !got["offer-offer-1 expiry"] {
		t.Errorf("deadlines: %v (an approved agreement has none)", got)
	}
	line, err := n.Timeline(ctx, deal, 0, 3)
	must(t, err)
	if len(line) != 3 || line[0].Type != "identity.created.v1" || line[2].Position != 2 {
		t.Errorf("timeline: %+v", line)
	}
	if at, err := n.Positions(ctx, deal); err != nil || len(at) < 10 || at[1] != 1 {
		t.Errorf("positions: %v, %v", at, err)
	}
}

func TestThePastStaysAsItWas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := openMarket(t, w, t.TempDir())
	wholeDeal(t, w)
	must(t, m.Fresh(t.Context()))
	before, want := m.Position(), hash(t, m.DB)
	w.say("agreement-R-"+deal, agreement.Terminated{AgreementID: deal, Side: r, Reason: "{}"})
	past, err := m.AsOf(t.Context(), before)
	must(t, err)
	defer past.Close()
	if got := hash(t, past.DB); got != want {
		t.Error("the past differs from what was seen then")
	}
	list, err := past.Agreements(t.Context(), projections.AgreementFilter{Owner: alice})
	if err != nil || list[0].State != "Approved" {
		t.Errorf("%+v %v", list, err)
	}
	if _, ok, err := past.Proposal(t.Context(), r, "aa"); !ok || err != nil {
		t.Errorf("no proposals in the past: %v", err)
	}
}

func TestAWaiterIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := openMarket(t, w, projections.Memory)
	must(t, m.Fresh(t.Context()))
	told := make(chan error, 1)
	at := m.Position()
	go func() { told <- m.Await(t.Context(), at+1) }()
	w.say("demand-d", demand.Published{DemandID: "d", Requestor: alice})
	if err := <-told; err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Await(ctx, at+100); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}

func TestADamagedFileIsMadeAnew(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), t.TempDir()
	wholeDeal(t, w)
	scribble(t, filepath.Join(dir, "market.db"))
	m := openMarket(t, w, dir)
	if subs, err := m.Subscriptions(t.Context(), projections.Demands, alice); err != nil || len(subs) != 1 {
		t.Fatalf("%v, %v", subs, err)
	}
}
