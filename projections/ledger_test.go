package projections_test

import (
	"context"
	"testing"

	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/allocation"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/ledger"
	"github.com/emet-node/emet/domain/payment/wallet"
	"github.com/emet-node/emet/projections"
)

func balances(t testing.TB, v *projections.Payment) map[string]string {
	t.Helper()
	rows, err := v.Balances(t.Context(), alice)
	must(t, err)
	out := make(map[string]string)
	for _, r := range rows {
		if r.Platform != "erc20-hoodi-tglm" {
			t.Errorf("%+v is on no platform", r)
		}
		out[string(r.Account.Name)+" "+r.Account.Key] = r.Amount.String()
	}
	return out
}

// What the books remember between facts is not in the tables: it must be the
// same after a restart in the middle.
func TestTheBooksGoOnAfterARestart(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), t.TempDir()
	w.say("wallet-1-0xa", wallet.Opened{Address: string(alice), ChainID: 1, OwnerID: alice, Platform: "erc20-hoodi-tglm"},
		wallet.FundsObserved{Address: string(alice), ChainID: 1, Token: amount(t, "10"), Native: amount(t, "1")})
	w.say("allocation-al", allocation.Created{AllocationID: "al", OwnerID: alice, Address: string(alice), ChainID: 1, Platform: "erc20-hoodi-tglm", Total: amount(t, "4")})
	first, err := projections.OpenPayment(t.Context(), dir, w.log)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- first.Run(ctx) }()
	if b := balances(t, first); b["available 1-"+string(alice)] == "" || b["reserved al"] != "4" {
		t.Errorf("balances: %v", b)
	}
	cancel()
	must(t, <-done)
	must(t, first.Close())

	v := openPayment(t, w, dir)
	w.say("allocation-al", allocation.Released{AllocationID: "al", Returned: amount(t, "4")})
	w.say("wallet-1-0xa", wallet.FundsObserved{Address: string(alice), ChainID: 1, Token: amount(t, "10"), Native: amount(t, "1")})
	grown := hash(t, v.DB)
	must(t, v.Rebuild(t.Context()))
	if hash(t, v.DB) != grown {
		t.Error("after a restart the books went another way than without one")
	}
	if b := balances(t, v); b["reserved al"] != "" || b["external 1-"+string(alice)] == "" {
		t.Errorf("balances: %v", b)
	}
	w.say("allocation-al2", allocation.Created{AllocationID: "al2", OwnerID: alice, Address: string(alice), ChainID: 1, Platform: "erc20-hoodi-tglm", Total: amount(t, "3")})
	if b := balances(t, v); b["reserved al2"] != "3" {
		t.Errorf("after a rebuild: %v", b)
	}
}

func TestDebitsEqualCredits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	v := openPayment(t, w, projections.Memory)
	wholeDeal(t, w)
	w.say("bill-R-"+deal, bill.Scheduled{AgreementID: deal, Side: r, IntentID: "i", Ranges: []pay.Range{{AgreementID: deal, ActivityID: act, PayeeID: bob, To: amount(t, "1")}}})
	w.say("bill-P-"+deal, bill.Paid{AgreementID: deal, Side: p, PaymentID: "pp", Ranges: []pay.Range{{AgreementID: deal, ActivityID: act, PayeeID: bob, To: amount(t, "1")}}})
	rows, err := v.Postings(t.Context(), "", "", 0, 0)
	must(t, err)
	sum := make(map[ledger.Asset]money.Amount)
	owners := make(map[string]bool)
	for _, r := range rows {
		sum[r.Asset] = sum[r.Asset].Add(r.Debit).Sub(r.Credit)
		owners[string(r.Owner)] = true
	}
	if len(rows) == 0 || !sum[ledger.Token].IsZero() || !sum[ledger.Native].IsZero() {
		t.Errorf("%d postings leave %v", len(rows), sum)
	}
	if len(owners) != 2 || owners[""] {
		t.Errorf("money of nobody: %v", owners)
	}
	mine, err := v.Postings(t.Context(), bob, ledger.Income, 0, 0)
	must(t, err)
	if len(mine) != 1 || mine[0].Credit.String() != "1" {
		t.Errorf("bob's income: %+v", mine)
	}
}
