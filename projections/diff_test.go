package projections_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/projections"
	"github.com/emet-node/emet/projections/story/storytest"
)

func TestWhatChangedBetweenTwoMoments(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	history(t, w.log, []int{int(storytest.Paid)})
	head, err := w.log.Store.Head(t.Context())
	must(t, err)
	m, a, p, n := openAll(t, w, projections.Memory)
	find := func(typ string) es.Position {
		for e, err := range w.log.Store.ReadAll(t.Context(), 0, es.Forward, es.Filter{Types: []string{typ}}, 1) {
			must(t, err)
			return e.Position
		}
		t.Fatal("no " + typ)
		return 0
	}
	diff := func(from, to es.Position) string {
		before, after := projections.PastOf(m, a, p, n, from), projections.PastOf(m, a, p, n, to)
		changes, err := projections.Diff(t.Context(), before, after)
		must(t, err)
		must(t, before.Close())
		must(t, after.Close())
		var b strings.Builder
		for _, c := range changes {
			fmt.Fprintf(&b, "%s %s%s.%s: %s → %s\n", c.Kind, c.Side, c.ID[:min(4, len(c.ID))], c.Field, c.Before, c.After)
		}
		return b.String()
	}
	if d := diff(head, head); d != "" {
		t.Errorf("nothing happened and yet\n%s", d)
	}
	accepted := find("bill.invoice_accepted.v1")
	d := diff(accepted, accepted+1)
	for _, want := range []string{"invoice R", "status: RECEIVED → ACCEPTED", "balance"} {
		if !strings.Contains(d, want) {
			t.Errorf("the acceptance changed\n%s\nwant %s", d, want)
		}
	}
	whole, back := diff(0, head), diff(head, 0)
	for _, kind := range []string{"agreement R", "agreement P", "activity R", "debit-note P", "invoice P", "allocation ", "payment R", "balance "} {
		if !strings.Contains(whole, kind) {
			t.Errorf("the whole history changed\n%s\nwant a %s", whole, kind)
		}
	}
	if strings.Count(whole, "\n") != strings.Count(back, "\n") {
		t.Errorf("what came does not go:\n%s\n%s", whole, back)
	}
}

// Issuers choose the ids of their bills, and payees of one transfer share the
// id of its payment.
func TestThingsOfTheSameIDAreToldApart(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, id := range []string{"d1", "d2", "d3"} {
		payee := bob[:len(bob)-1] + identity.NodeID(id[1:])
		w.say("bill-R-"+id, bill.Opened{AgreementID: id, PayeeID: payee, PayerID: alice, Platform: "erc20-hoodi-tglm", Side: r},
			bill.InvoiceReceived{AgreementID: id, InvoiceID: "same", Side: r, Amount: amount(t, "1")})
		w.say("payment-R-pp", payment.SigningRequested{PaymentID: "pp", Side: r, PayeeID: payee, PayerID: alice, Platform: "erc20-hoodi-tglm"})
	}
	m, a, p, n := openAll(t, w, projections.Memory)
	before := p.Position()
	for _, id := range []string{"d1", "d2", "d3"} {
		w.say("bill-R-"+id, bill.InvoiceRejected{AgreementID: id, InvoiceID: "same", Side: r, Rejection: "{}"})
		w.say("payment-R-pp", payment.Signed{PaymentID: "pp", Side: r, PayeeID: bob[:len(bob)-1] + identity.NodeID(id[1:])})
	}
	for _, d := range []*projections.DB{m.DB, a.DB, p.DB, n.DB} {
		must(t, d.CatchUp(t.Context()))
	}
	changes, err := projections.Diff(t.Context(), projections.PastOf(m, a, p, n, before), projections.PastOf(m, a, p, n, p.Position()))
	must(t, err)
	seen := make(map[string]int)
	for _, c := range changes {
		seen[c.Kind+" "+c.Side+" "+c.ID+"."+c.Field+": "+c.Before+" → "+c.After]++
	}
	if seen["invoice R same.status: RECEIVED → REJECTED"] != 3 || seen["payment R pp.state: signing → signed"] != 3 || len(seen) != 2 {
		t.Errorf("%v", seen)
	}
}
