package ops_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/account"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/allocation"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/internal/testlog"
	"github.com/emet-node/emet/domain/payment/ledger"
	"github.com/emet-node/emet/domain/payment/ops"
	"github.com/emet-node/emet/domain/payment/order"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/payment/wallet"
	"github.com/emet-node/emet/domain/saga/settlement"
)

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal(t testing.TB, what string, got money.Amount, want string) {
	t.Helper()
	if !got.Equal(money.MustParse(want)) {
		t.Fatalf("%s is %s, want %s", what, got, want)
	}
}

// Notes 1, 3 and 6, an invoice of 7, a run in the middle and one at the end.
func TestNotesAndInvoiceArePaidOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ok(t, w.allocate("10"))
	for i, due := range []string{"1", "3", "6"} {
		id := fmt.Sprint("n", i)
		w.note(id, due)
		ok(t, w.acceptNote(id, due))
		equal(t, "spent", w.budget().Committed, due)
		if i == 1 {
			w.run()
			equal(t, "paid at the provider", w.bill("P").Totals().Paid, "3")
		}
	}
	w.invoice("i", "7")
	ok(t, w.acceptInvoice("i", "7"))
	equal(t, "spent", w.budget().Committed, "7")
	equal(t, "remaining", w.budget().Remaining(), "3")
	want := map[string]string{act: "6", "": "1"}
	for _, e := range w.budget().Expenditures() {
		equal(t, "expenditure of "+e.ActivityID, e.Accepted, want[e.ActivityID])
	}
	w.run()
	if w.transfers != 2 || w.facts("payment.signed.v1") != 2 || w.facts("order.completed.v1") != 2 {
		t.Fatalf("%d transfers, %d proofs", w.transfers, w.facts("payment.signed.v1"))
	}
	for _, side := range []identity.Side{"R", "P"} {
		equal(t, "paid", w.bill(side).Totals().Paid, "7")
		for _, id := range []string{"n0", "n1", "n2", "i"} {
			if got := w.status(side, id); got != pay.Settled {
				t.Errorf("%s is %s at %s", id, got, side)
			}
		}
	}
	w.run() // nothing is left
	if w.transfers != 2 {
		t.Fatal("paid again")
	}
	w.look()
	equal(t, "available", w.wallet().Available(), "90") // 100 - 7 paid - 3 held
	equal(t, "held", w.wallet().Held, "3")
	equal(t, "committed in the books", w.balances[ledger.Token][ledger.Account{Name: ledger.Committed, Key: budget}], "0")
	equal(t, "expense in the books", w.balances[ledger.Token][ledger.Account{Name: ledger.Expense, Key: agr}], "7")
	equal(t, "income in the books", w.balances[ledger.Token][ledger.Account{Name: ledger.Income, Key: agr}], "7")
	w.must(ops.Category, "", ops.ReleaseAllocation{AllocationID: budget, By: asRequestor})
	equal(t, "held after the release", w.wallet().Held, "0")
}

func TestOneTransferPaysActivityAndInvoice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ok(t, w.allocate("10"))
	w.note("n", "3")
	ok(t, w.acceptNote("n", "3"))
	w.invoice("i", "4")
	ok(t, w.acceptInvoice("i", "4"))
	w.run()
	if w.transfers != 1 {
		t.Fatalf("%d transfers", w.transfers)
	}
	all, err := testlog.Facts(w.log, 0)
	ok(t, err)
	for _, r := range all {
		if e, is := r.Data.(payment.Claimed); is {
			equal(t, "amount", e.Amount, "4")
			if len(e.Shares) != 2 || e.Shares[0].ActivityID != act || e.Shares[1].AgreementID != agr {
				t.Fatalf("%+v", e.Shares)
			}
			return
		}
	}
	t.Fatal("nothing was claimed")
}

// Whatever a run finds, each fact fits into the log: what does not would never
// be paid.
func TestARunPaysHoweverManyDebtsThereAre(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ok(t, w.allocate("40"))
	for i := range 300 { // the names of activities are their provider's choice
		id, activity := fmt.Sprint("n", i), fmt.Sprintf("%02000d", i)
		w.must(bill.Category, bill.StreamID("P", agr), bill.IssueNote{
			ActivityID: activity, AgreementID: agr, Amount: money.MustParse("0.01"), At: noon, By: asProvider, DebitNoteID: id, Terms: terms,
		})
		ok(t, w.acceptNote(id, "0.01"))
	}
	w.run()
	for _, side := range []identity.Side{"R", "P"} {
		equal(t, "paid", w.bill(side).Totals().Paid, "3")
	}
	equal(t, "left on the chain", w.balance, "97")
	equal(t, "final", w.budget().Paid, "3")
	if n := w.facts("order.completed.v1"); n < 2 || n != w.facts("order.opened.v1") {
		t.Errorf("%d orders are completed", n)
	}
}

// No chain has a number for it; it waits, and the node goes on.
func TestMoreThanAChainCanCountIsNotPaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(ops.Category, budget, ops.CreateAllocation{Unchecked: true, Create: allocation.Create{
		Address: string(requestor), AllocationID: budget, At: noon, By: asRequestor, ChainID: chainID, OwnerID: requestor,
		Platform: platform, Timeout: noon.Add(time.Hour), Total: money.MustParse("1e61"),
	}})
	w.invoice("i", "1e60")
	ok(t, w.acceptInvoice("i", "1e60"))
	w.run()
	if n := w.facts("order.opened.v1"); n != 0 || w.status("R", "i") != pay.Accepted {
		t.Fatalf("%d orders, the invoice is %s", n, w.status("R", "i"))
	}
}

// The notes of a day are one debt.
func TestNotesOfOneActivityAreOnePieceOfAPayment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ok(t, w.allocate("40"))
	for i := range 20 {
		w.note(fmt.Sprint("n", i), fmt.Sprint(i+1))
		ok(t, w.acceptNote(fmt.Sprint("n", i), fmt.Sprint(i+1)))
	}
	w.run()
	all, err := testlog.Facts(w.log, 0)
	ok(t, err)
	for _, r := range all {
		if e, is := r.Data.(order.IntentRecorded); is && (len(e.Ranges) != 1 || e.Ranges[0].To.String() != "20") {
			t.Errorf("%+v", e.Ranges)
		}
	}
	equal(t, "paid", w.bill("P").Totals().Paid, "20")
}

func TestPaidThroughNotesSettlesOnAcceptance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ok(t, w.allocate("10"))
	w.note("n", "6")
	ok(t, w.acceptNote("n", "6"))
	w.run()
	w.invoice("i", "6")
	ok(t, w.acceptInvoice("i", "6"))
	if r, p := w.status("R", "i"), w.status("P", "i"); r != pay.Settled || p != pay.Settled {
		t.Fatalf("requestor %s, provider %s", r, p)
	}
	w.run()
	if w.transfers != 1 {
		t.Fatalf("%d transfers", w.transfers)
	}
}

func TestAZeroInvoiceNeedsNoOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ok(t, w.allocate("1"))
	w.invoice("i", "0")
	ok(t, w.acceptInvoice("i", "0.000"))
	w.run()
	if w.status("R", "i") != pay.Settled || w.status("P", "i") != pay.Settled || w.facts("order.opened.v1") != 0 {
		t.Fatalf("%s, %s, %d orders", w.status("R", "i"), w.status("P", "i"), w.facts("order.opened.v1"))
	}
}

func TestManyAcceptsAtOnceSpendOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ok(t, w.allocate("8"))
	w.invoice("i", "5")
	var group sync.WaitGroup
	failed := make(chan error, 32)
	for n := range 32 {
		group.Go(func() {
			c := ops.AcceptInvoice{AgreementID: agr, AllocationID: budget, Amount: money.MustDecimal("5"), By: asRequestor, InvoiceID: "i"}
			if err := w.ops.Handle(context.Background(), agr, c, es.Meta{Key: fmt.Sprint("race", n)}); err != nil {
				failed <- err
			}
		})
	}
	group.Wait()
	close(failed)
	for err := range failed {
		t.Error(err)
	}
	w.pump()
	equal(t, "spent", w.budget().Committed, "5")
	if n := w.facts("allocation.committed.v1"); n != 1 {
		t.Fatalf("committed %d times", n)
	}
}

func TestAcceptanceIsAllOrNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ok(t, w.allocate("4"))
	w.invoice("i", "5")
	var short *allocation.NotEnough
	if err := w.acceptInvoice("i", "5"); !errors.As(err, &short) || !short.Remaining.Equal(money.MustParse("4")) {
		t.Fatalf("%v", err)
	}
	if w.status("R", "i") != pay.Received {
		t.Fatal("the invoice is accepted without a budget")
	}
	more := money.MustParse("5")
	w.must(ops.Category, "", ops.AmendAllocation{AllocationID: budget, Amend: allocation.Amend{At: noon, By: asRequestor, Total: &more}})
	ok(t, w.acceptInvoice("i", "5"))
	ok(t, w.acceptInvoice("i", "5")) // said twice
	equal(t, "spent", w.budget().Committed, "5")
}

func TestAnAllocationMustFitTheAgreement(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.invoice("i", "5")
	if err := w.acceptInvoice("i", "5"); !errors.Is(err, allocation.ErrUnknown) {
		t.Fatalf("unknown: %v", err)
	}
	other := "other"
	w.must(ops.Category, other, ops.CreateAllocation{Unchecked: true, Create: allocation.Create{
		Address: string(requestor), AllocationID: other, At: noon, By: asRequestor, ChainID: 137, OwnerID: requestor,
		Platform: "erc20-polygon-glm", Timeout: noon.Add(time.Hour), Total: money.MustParse("9"),
	}})
	accept := ops.AcceptInvoice{AgreementID: agr, AllocationID: other, Amount: money.MustDecimal("5"), By: asRequestor, InvoiceID: "i"}
	if err := w.do(ops.Category, agr, accept); !errors.Is(err, ops.ErrWrongAllocation) {
		t.Fatalf("other platform: %v", err)
	}
	ok(t, w.allocate("9"))
	w.must(ops.Category, "", ops.ReleaseAllocation{AllocationID: budget, By: asRequestor})
	if err := w.acceptInvoice("i", "5"); !errors.Is(err, allocation.ErrReleased) {
		t.Fatalf("released: %v", err)
	}
}

func TestBudgetsCannotExceedTheWallet(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ok(t, w.allocate("60"))
	second := ops.CreateAllocation{Create: allocation.Create{
		Address: string(requestor), AllocationID: "second", At: noon, By: asRequestor, ChainID: chainID, OwnerID: requestor,
		Platform: platform, Timeout: noon.Add(time.Hour), Total: money.MustParse("41"),
	}}
	var short *wallet.InsufficientFunds
	if err := w.do(ops.Category, "", second); !errors.As(err, &short) {
		t.Fatalf("%v", err)
	}
	equal(t, "requested", short.Requested, "41")
	equal(t, "available", short.Available, "40")
	equal(t, "reserved", short.Reserved, "60")
	if s, _, _ := w.ops.Allocations.Load(context.Background(), "second"); s.ID != "" {
		t.Fatal("half of it was written")
	}
	// What is accepted stays promised when the rest is given back.
	w.invoice("i", "5")
	ok(t, w.acceptInvoice("i", "5"))
	w.must(ops.Category, "", ops.ReleaseAllocation{AllocationID: budget, By: asRequestor})
	equal(t, "available", w.wallet().Available(), "95")
	if err := w.do(ops.Category, "", ops.ReleaseAllocation{AllocationID: budget, By: asRequestor}); !errors.Is(err, allocation.ErrReleased) {
		t.Fatalf("released twice: %v", err)
	}
	w.run() // and is still paid
	if w.status("P", "i") != pay.Settled {
		t.Fatalf("the invoice is %s", w.status("P", "i"))
	}
	equal(t, "held", w.wallet().Held, "0")
}

func TestExpiryGivesBackOnTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ok(t, w.allocate("60"))
	if err := w.do(ops.Category, "", ops.ExpireAllocation{AllocationID: budget, At: noon}); !errors.Is(err, allocation.ErrTooEarly) {
		t.Fatalf("too early: %v", err)
	}
	w.must(ops.Category, "", ops.ExpireAllocation{AllocationID: budget, At: noon.Add(time.Hour)})
	w.must(ops.Category, "", ops.ExpireAllocation{AllocationID: budget, At: noon.Add(2 * time.Hour)})
	equal(t, "held", w.wallet().Held, "0")
	if n := w.facts("wallet.funds_returned.v1"); n != 1 {
		t.Fatalf("returned %d times", n)
	}
}

func TestARevertedTransactionPaysNothingAndIsTriedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ok(t, w.allocate("10"))
	w.invoice("i", "5")
	ok(t, w.acceptInvoice("i", "5"))
	w.chain = "revert"
	w.run()
	if w.status("R", "i") != pay.Accepted || w.status("P", "i") != pay.Accepted || w.facts("payment.signed.v1") != 0 {
		t.Fatalf("requestor %s, provider %s", w.status("R", "i"), w.status("P", "i"))
	}
	if n := w.facts("order.batch_returned.v1"); n != 1 {
		t.Fatalf("%d batches returned", n)
	}
	w.chain = "final"
	w.run()
	if w.status("P", "i") != pay.Settled || w.transfers != 1 || w.facts("order.opened.v1") != 1 || w.facts("wallet.nonce_reserved.v1") != 2 {
		t.Fatalf("%s, %d transfers", w.status("P", "i"), w.transfers)
	}
}

func TestALostBlockTakesThePaymentBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ok(t, w.allocate("10"))
	w.invoice("i", "5")
	ok(t, w.acceptInvoice("i", "5"))
	w.chain = ""
	w.run()
	id := tx.StreamID(chainID, string(requestor), 0)
	w.must(tx.Category, id, tx.Include{BlockHash: "0xb1", BlockNumber: 11, Hash: txHash(id), Status: 1})
	if w.status("R", "i") != pay.Settled {
		t.Fatalf("included, it is %s", w.status("R", "i"))
	}
	w.must(tx.Category, id, tx.Orphan{BlockHash: "0xb1"})
	if w.status("R", "i") != pay.Accepted || w.facts("tx.broadcast_requested.v1") != 2 {
		t.Fatalf("orphaned, it is %s", w.status("R", "i"))
	}
	w.must(tx.Category, id, tx.Include{BlockHash: "0xb2", BlockNumber: 12, Hash: txHash(id), Status: 1})
	w.must(tx.Category, id, tx.Finalise{BlockHash: "0xb2"})
	if w.status("R", "i") != pay.Settled || w.facts("payment.signed.v1") != 1 || w.facts("allocation.spent.v1") != 1 {
		t.Fatalf("in the end it is %s, %d proofs", w.status("R", "i"), w.facts("payment.signed.v1"))
	}
	claim := w.bill("P")
	equal(t, "paid at the provider", claim.Totals().Paid, "5")
}

// The chain is looked at while a transfer is in a block that is not final: what
// it took is not taken once more when the block is.
func TestTheBooksAgreeWithAWalletThatWasSeenBeforeATransferWasFinal(t *testing.T) {
	t.Parallel()
	for _, seen := range []bool{true, false} {
		w := newWorld(t)
		ok(t, w.allocate("10"))
		w.invoice("i", "5")
		ok(t, w.acceptInvoice("i", "5"))
		w.chain = ""
		w.run()
		id := tx.StreamID(chainID, string(requestor), 0)
		w.must(tx.Category, id, tx.Include{BlockHash: "0xb1", BlockNumber: 11, Fee: money.MustParse("0.25"), Hash: txHash(id), Status: 1})
		w.block, w.balance, w.native = 12, money.MustParse("95"), money.MustParse("0.75")
		if seen {
			w.look()
		}
		w.must(tx.Category, id, tx.Finalise{BlockHash: "0xb1"})
		w.look()
		books := w.balances[ledger.Token]
		equal(t, "available", w.wallet().Available(), "90")
		equal(t, "available in the books", books[ledger.Account{Name: ledger.Available, Key: walletID}], "90")
		equal(t, "reserved in the books", books[ledger.Account{Name: ledger.Reserved, Key: budget}], "5")
		equal(t, "the rest of the world", books[ledger.Account{Name: ledger.External, Key: walletID}], "100")
		gas := w.balances[ledger.Native]
		equal(t, "gas coin in the books", gas[ledger.Account{Name: ledger.Available, Key: walletID}], "0.75")
		equal(t, "fees in the books", gas[ledger.Account{Name: ledger.GasFee, Key: walletID}], "0.25")
	}
}

func TestALockedIdentityPaysWhenItIsUnlocked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ok(t, w.allocate("10"))
	w.invoice("i", "5")
	ok(t, w.acceptInvoice("i", "5"))
	w.locked = true
	w.run()
	if w.facts("tx.signing_failed.v1") != 1 || w.transfers != 0 {
		t.Fatal("signed with a locked key")
	}
	w.locked = false
	m := es.Meta{Key: "unlock"}
	_, err := w.log.Append(context.Background(), m, nil, es.Facts{
		Stream: es.StreamOf(account.Category, string(requestor)), Expected: es.NoStream, Facts: []any{account.Unlocked{Identity: requestor}},
	})
	ok(t, err)
	w.pump()
	if w.status("P", "i") != pay.Settled {
		t.Fatalf("it is %s", w.status("P", "i"))
	}
}

func TestASuspendedWalletGivesNoNonce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ok(t, w.allocate("10"))
	w.invoice("i", "5")
	ok(t, w.acceptInvoice("i", "5"))
	w.run()
	w.must(wallet.Category, walletID, wallet.Observe{Block: 99, Native: money.MustParse("1"), Nonce: 7, Token: w.balance})
	if w.facts("wallet.foreign_nonce_seen.v1") != 1 || w.wallet().Suspended == "" {
		t.Fatal("a foreign nonce was overlooked")
	}
	reserve := ops.ReserveNonce{Address: string(requestor), BatchID: "b", ChainID: chainID, Intents: []string{"x"}, OrderID: "o"}
	if err := w.do(ops.Category, "", reserve); !errors.Is(err, wallet.ErrSuspended) {
		t.Fatalf("%v", err)
	}
	w.must(wallet.Category, walletID, wallet.Resume{By: asRequestor})
	if got := w.wallet().NextNonce; got != 7 {
		t.Fatalf("next nonce %d", got)
	}
}

// Sagas that hear the same log ask for the same things with the same keys.
func TestHearingTwiceAsksForTheSame(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ok(t, w.allocate("10"))
	w.note("n", "3")
	ok(t, w.acceptNote("n", "3"))
	w.run()
	before := w.heard
	all, err := testlog.Facts(w.log, 0)
	ok(t, err)
	config := settlement.Config{Profile: profile}
	again := settlement.New(config).Start()
	for _, r := range all {
		for _, c := range again.Hear(r) {
			if err := w.router[c.Category].Handle(context.Background(), c.ID, c.Command, c.Meta); err != nil {
				t.Fatalf("%T: %v", c.Command, err)
			}
		}
	}
	w.pump()
	if w.heard != before {
		t.Fatalf("a second hearing made %d more facts", w.heard-before)
	}
}

func TestOtherCommandsAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := w.do(ops.Category, "", bill.Settle{}); !errors.Is(err, es.ErrWrongCommand) {
		t.Fatal(err)
	}
}

// Random deals: whatever happens in whatever order, the books balance after
// every fact (the world looks), and in the end what was accepted is paid, once.
func TestBooksBalanceInRandomDeals(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		ok(t, w.allocate("40"))
		due, notes, invoiced := 0, 0, false
		for range rapid.IntRange(1, 12).Draw(rt, "steps") {
			w.chain = rapid.SampledFrom([]string{"final", "final", "revert"}).Draw(rt, "chain")
			switch rapid.SampledFrom([]string{"note", "accept", "invoice", "run", "look", "amend", "skip"}).Draw(rt, "step") {
			case "note":
				if !invoiced {
					due += rapid.IntRange(0, 3).Draw(rt, "more")
					w.note(fmt.Sprint("n", notes), fmt.Sprint(due))
					notes++
				}
			case "accept":
				if notes > 0 {
					id := fmt.Sprint("n", rapid.IntRange(0, notes-1).Draw(rt, "note"))
					d, _ := w.bill("R").Document(id)
					ok(t, w.acceptNote(id, d.Amount.String()))
				}
			case "invoice":
				if !invoiced {
					due += rapid.IntRange(0, 3).Draw(rt, "more")
					w.invoice("i", fmt.Sprint(due))
					invoiced = true
				}
			case "run":
				w.run()
			case "look":
				w.block++
				w.look()
			case "amend":
				total := money.MustParse(fmt.Sprint(rapid.IntRange(40, 90).Draw(rt, "total")))
				w.must(ops.Category, "", ops.AmendAllocation{AllocationID: budget, Amend: allocation.Amend{At: noon, By: asRequestor, Total: &total}})
			}
		}
		if !invoiced {
			w.invoice("i", fmt.Sprint(due))
		}
		ok(t, w.acceptInvoice("i", fmt.Sprint(due)))
		w.chain = "final"
		w.run()
		for _, side := range []identity.Side{"R", "P"} {
			equal(t, "paid", w.bill(side).Totals().Paid, fmt.Sprint(due))
			if got := w.status(side, "i"); got != pay.Settled {
				t.Fatalf("the invoice is %s at %s", got, side)
			}
		}
		equal(t, "left on the chain", w.balance, fmt.Sprint(100-due))
		equal(t, "final", w.budget().Paid, fmt.Sprint(due))
		equal(t, "held", w.wallet().Held, w.budget().Remaining().String())
		equal(t, "free in the books", w.balances[ledger.Token][ledger.Account{Name: ledger.Available, Key: walletID}], w.wallet().Available().String())
	})
}
