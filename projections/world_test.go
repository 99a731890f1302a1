package projections_test

import (
	"context"
	"fmt"
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

func hash(t testing.TB, db *projections.DB) string {
	t.Helper()
	h, err := db.TableHash(t.Context())
	must(t, err)
	return h
}

var (
	requestorCodes = []string{"RECEIVED", "CANCELLED"}
	providerCodes  = []string{"ACCEPTED", "REJECTED", "SETTLED", "CANCELLED"}
)
