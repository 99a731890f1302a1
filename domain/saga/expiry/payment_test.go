package expiry_test

import (
	"testing"
	"time"

	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/cycle"
	"github.com/emet-node/emet/domain/saga/expiry"
)

// runs is when the only deadline of a payer's book is, in seconds after noon; -1
// when there is none.
func (w *watch) runs(want int) {
	w.t.Helper()
	got := -1
	if d, ok := w.book.Next(); ok {
		got = int(d.At.Sub(noon) / time.Second)
	}
	if got != want || w.book.Len() > 1 {
		w.t.Errorf("the next run is at %d, want %d; %d deadlines", got, want, w.book.Len())
	}
}

func TestASettlementRunsOnlyWhenSomethingIsOwed(t *testing.T) {
	t.Parallel()
	w := &watch{t, &expiry.Book{}}
	id := cycle.StreamID("erc20-hoodi-tglm", "0x1")
	w.hear(0, "cycle-"+id, cycle.Configured{Address: "0x1", IntervalSec: 10, NextAt: at(10), Platform: "erc20-hoodi-tglm"})
	w.runs(-1)
	w.hear(20, "bill-R-"+agr, bill.Opened{AgreementID: agr, PayerAddr: "0x1", Platform: "erc20-hoodi-tglm", Side: "R"})
	w.hear(33, "bill-R-"+agr, bill.InvoiceAccepted{AgreementID: agr, InvoiceID: "i", Side: "R"})
	w.runs(40) // the beat of the cycle
	w.hear(40, "cycle-"+id, cycle.RunRequested{Address: "0x1", At: at(40), NextAt: at(50), Platform: "erc20-hoodi-tglm"})
	w.runs(50) // it is not paid yet
	w.hear(45, "bill-R-"+agr, bill.Settled{AgreementID: agr, DocumentID: "i", Side: "R"})
	w.runs(-1)
	w.hear(46, "bill-R-"+agr, bill.Unsettled{AgreementID: agr, DocumentID: "i", Side: "R"})
	w.runs(50) // its block left the chain
}

// Two providers may call their invoices the same: one that is paid leaves the
// other one owed.
func TestWhatIsOwedIsNotMistakenForItsNamesake(t *testing.T) {
	t.Parallel()
	w := &watch{t, &expiry.Book{}}
	w.hear(0, "cycle-"+cycle.StreamID("erc20-hoodi-tglm", "0x1"), cycle.Configured{Address: "0x1", IntervalSec: 10, NextAt: at(10), Platform: "erc20-hoodi-tglm"})
	for _, id := range []string{"a1", "a2"} {
		w.hear(1, "bill-R-"+id, bill.Opened{AgreementID: id, PayerAddr: "0x1", Platform: "erc20-hoodi-tglm", Side: "R"})
		w.hear(1, "bill-R-"+id, bill.InvoiceReceived{AgreementID: id, DueDate: at(600), InvoiceID: "i", Side: "R"})
		w.hear(2, "bill-R-"+id, bill.InvoiceAccepted{AgreementID: id, InvoiceID: "i", Side: "R"})
	}
	w.hear(3, "bill-R-a1", bill.Settled{AgreementID: "a1", DocumentID: "i", Side: "R"})
	if n := w.book.Len(); n != 2 {
		t.Errorf("%d deadlines; want the next run and the one before the date on which the other is due", n)
	}
	w.hear(4, "bill-R-a2", bill.Settled{AgreementID: "a2", DocumentID: "i", Side: "R"})
	w.runs(-1)
}
