package projections_test

import (
	"path/filepath"
	"testing"

	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/wallet"
	"github.com/emet-node/emet/projections"
)

// What a wallet cannot pay is told of the bills that are accepted at that
// moment, in the past as well: there the tables hold what bills and wallets were
// before.
func TestThePastTellsOfBillsThatWereAcceptedThen(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), filepath.Join(t.TempDir(), "views")
	wholeDeal(t, w)
	sick := wallet.HealthChanged{Address: string(alice), ChainID: 1, Properties: `[{"kind":"RpcError"}]`}
	w.say("wallet-1-0xa", sick)
	w.say("bill-R-"+deal, bill.Settled{AgreementID: deal, Side: r, Kind: pay.DebitNote, DocumentID: "note"})
	w.say("wallet-1-0xa", wallet.HealthChanged{Address: string(alice), ChainID: 1, Properties: `[]`}, sick)
	_, _, p, _ := openAll(t, w, dir)
	must(t, p.CatchUpPast(t.Context()))
	past, err := p.AsOf(t.Context(), p.Position())
	must(t, err)
	defer past.Close()
	if hash(t, past.DB) != hash(t, p.DB) {
		codes := []string{projections.CodePayment, projections.CodePaymentOK}
		for name, v := range map[string]*projections.Payment{"past": past, "present": p} {
			for _, kind := range []pay.Kind{pay.DebitNote, pay.Invoice} {
				rows, err := v.BillEvents(t.Context(), projections.BillEventFilter{Owner: alice, Kind: kind, RequestorCodes: codes})
				must(t, err)
				t.Errorf("%s: %d events of a %s", name, len(rows), kind)
			}
		}
	}
}
