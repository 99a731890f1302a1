package ops_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/order"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/payment/wallet"
)

// lost is a transfer that the chain holds and the log does not.
func (w *world) lost(n int, amount string) wallet.TransferLearned {
	w.balance = w.balance.Sub(money.MustParse(amount))
	return wallet.TransferLearned{Amount: money.MustParse(amount), Block: w.block, Index: uint64(n), PayeeAddr: terms.PayeeAddr, TxHash: txHash(fmt.Sprint("lost", n))} //nolint:gosec // small
}

// learn is what the operator's reconciliation does to a wallet.
func (w *world) learn(nonce uint64, transfers ...wallet.TransferLearned) {
	w.t.Helper()
	w.block++
	w.must(wallet.Category, walletID, wallet.Observe{Block: w.block, Native: money.MustParse("1"), Nonce: nonce, Token: w.balance, Unrecorded: true})
	if s := w.wallet(); !s.Foreign || s.Suspended == "" {
		w.t.Fatal("a transfer that is not recorded was overlooked")
	}
	w.must(wallet.Category, walletID, wallet.Learn{Transfers: transfers})
	w.must(wallet.Category, walletID, wallet.Learn{Transfers: transfers}) // again is nothing new
	w.must(wallet.Category, walletID, wallet.Resume{By: asRequestor})
}

// What a lost part of the history paid counts, whether the debt was known
// when the copy was taken or is accepted once more afterwards, and whatever of
// it was paid: the payee gets what is owed and not a wei more.
func TestWhatWasPaidBeforeIsNotPaidAgain(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t)
		ok(t, w.allocate("40"))
		due := 0
		for i := range rapid.IntRange(1, 4).Draw(rt, "notes") {
			due += rapid.IntRange(1, 5).Draw(rt, "more")
			w.note(fmt.Sprint("n", i), fmt.Sprint(due))
		}
		w.invoice("i", fmt.Sprint(due))
		early := rapid.Bool().Draw(rt, "accepted before")
		if early {
			ok(t, w.acceptNote("n0", w.amountOf("n0")))
		}
		var transfers []wallet.TransferLearned
		before := 0
		for n := range rapid.IntRange(0, 3).Draw(rt, "transfers") {
			amount := rapid.IntRange(1, 6).Draw(rt, "amount")
			if before+amount > due {
				break
			}
			before += amount
			transfers = append(transfers, w.lost(n, fmt.Sprint(amount)))
		}
		w.learn(uint64(len(transfers)), transfers...)
		if rapid.Bool().Draw(rt, "run between") {
			w.run()
		}
		ok(t, w.acceptInvoice("i", fmt.Sprint(due)))
		w.run()
		w.run()
		equal(t, "left on the chain", w.balance, fmt.Sprint(100-due))
		for _, side := range []identity.Side{"R", "P"} {
			equal(t, "paid", w.bill(side).Totals().Paid, fmt.Sprint(due))
			if got := w.status(side, "i"); got != pay.Settled {
				t.Fatalf("the invoice is %s at %s", got, side)
			}
		}
		equal(t, "final", w.budget().Paid, fmt.Sprint(due))
		equal(t, "held", w.wallet().Held, w.budget().Remaining().String())
		if opened, completed := w.facts("order.opened.v1"), w.facts("order.completed.v1"); opened != completed {
			t.Fatalf("%d orders, %d of them completed", opened, completed)
		}
	})
}

func (w *world) amountOf(id string) string {
	d, _ := w.bill("R").Document(id)
	return d.Amount.String()
}

// A copy that was taken while a transaction was on its way: its nonce was used
// by the lost history, which may have paid the same with other fees.
func TestATransactionWhoseNonceIsGoneIsCarriedByWhatWasPaid(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ok(t, w.allocate("10"))
	w.invoice("i", "5")
	ok(t, w.acceptInvoice("i", "5"))
	w.chain = "" // what is sent never gets into a block
	w.run()
	id := tx.StreamID(chainID, string(requestor), 0)
	if w.status("R", "i") != pay.Accepted || w.facts("tx.broadcast.v1") != 1 {
		t.Fatal("it is not on its way")
	}
	w.learn(1, w.lost(0, "5"))
	w.must(tx.Category, id, tx.Supersede{Why: "nonce 0 was used up"})
	w.must(tx.Category, id, tx.Supersede{Why: "again"})
	if s, _, _ := w.ops.Txs.Load(context.Background(), id); !s.Final() {
		t.Fatalf("it is %s", s.Phase)
	}
	if err := w.do(tx.Category, id, tx.Include{BlockHash: "0xb", Hash: txHash(id), Status: 1}); !errors.Is(err, tx.ErrFinal) {
		t.Fatalf("it was included: %v", err)
	}
	w.chain = "final"
	w.run()
	if w.transfers != 0 || w.facts("order.transfer_adopted.v1") != 1 || w.status("R", "i") != pay.Settled || w.status("P", "i") != pay.Settled {
		t.Fatalf("%d transfers, the invoice is %s", w.transfers, w.status("R", "i"))
	}
	equal(t, "left on the chain", w.balance, "95")
}

func TestOnlyAFreeIntentIsAdopted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ok(t, w.allocate("10"))
	w.invoice("i", "5")
	ok(t, w.acceptInvoice("i", "5"))
	w.chain = ""
	w.run()
	s, _, _ := w.ops.Txs.Load(context.Background(), tx.StreamID(chainID, string(requestor), 0))
	o, _, _ := w.ops.Orders.Load(context.Background(), s.Plan.OrderID)
	for _, intent := range []string{o.Intents[0].IntentID, "unknown"} {
		if err := w.do(order.Category, o.ID, order.Adopt{IntentID: intent, TxHash: "0xa"}); !errors.Is(err, order.ErrIntent) {
			t.Errorf("%s: %v", intent, err)
		}
	}
}
