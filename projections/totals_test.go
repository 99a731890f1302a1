package projections_test

import (
	"testing"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/ledger"
	"github.com/emet-node/emet/projections"
)

// What is shown of a debt is what the rules count, in whatever order the
// parties speak, and the provider's books earn no more than it.
func TestTheTotalsOfADebtAreThoseOfItsBill(t *testing.T) {
	t.Parallel()
	var (
		own = func(who identity.NodeID) identity.Caller {
			return identity.Caller{Actor: es.ActorREST, Node: who, Role: identity.RoleManager}
		}
		from = func(who identity.NodeID) identity.Caller { return identity.Caller{Actor: es.ActorPeer, Node: who} }
		ask  = pay.Terms{PayeeAddr: string(bob), PayeeID: bob, PayerAddr: string(alice), PayerID: alice, Platform: "erc20-hoodi-tglm"}
	)
	issue := func(id, activity, due string) bill.Command {
		return bill.IssueNote{ActivityID: activity, AgreementID: deal, Amount: amount(t, due), At: noon, By: own(bob), DebitNoteID: id, Terms: ask}
	}
	invoice := func(id, due string) bill.Command {
		return bill.IssueInvoice{AgreementID: deal, Amount: amount(t, due), At: noon, By: own(bob), InvoiceID: id, Terms: ask}
	}
	heard := func(kind pay.Kind, id, due string) bill.Command {
		return bill.HearAcceptance{Amount: money.MustDecimal(due), By: from(alice), DocumentID: id, Kind: kind}
	}
	note := func(id, activity, due string) bill.Command {
		return bill.ReceiveNote{ActivityID: activity, AgreementID: deal, Amount: due, By: from(bob), DebitNoteID: id, Terms: ask, Timestamp: noon}
	}
	bills := func(id, due string) bill.Command {
		return bill.ReceiveInvoice{AgreementID: deal, Amount: due, By: from(bob), InvoiceID: id, Terms: ask, Timestamp: noon}
	}
	for name, c := range map[string]struct {
		who           identity.NodeID
		commands      []bill.Command
		due, accepted string
	}{
		"in order": {bob, []bill.Command{
			issue("n", "a", "3"), heard(pay.DebitNote, "n", "3"), invoice("i", "5"), heard(pay.Invoice, "i", "5"),
		}, "5", "5"},
		"the invoice is accepted first": {bob, []bill.Command{
			issue("n", "a", "3"), issue("m", "b", "1"), invoice("i", "5"), heard(pay.Invoice, "i", "5"), heard(pay.DebitNote, "n", "3"), heard(pay.DebitNote, "m", "1"),
		}, "5", "5"},
		"the invoice is taken back": {bob, []bill.Command{
			issue("n", "a", "3"), invoice("i", "5"), bill.Cancel{By: own(bob), DocumentID: "i", Kind: pay.Invoice},
		}, "3", "0"},
		"another invoice": {bob, []bill.Command{
			issue("n", "a", "3"), invoice("i", "5"), bill.Cancel{By: own(bob), DocumentID: "i", Kind: pay.Invoice}, invoice("j", "4"), heard(pay.Invoice, "j", "4"),
		}, "4", "4"},
		"rejected": {bob, []bill.Command{
			issue("n", "a", "3"), invoice("i", "5"), bill.HearRejection{By: from(alice), DocumentID: "i", Kind: pay.Invoice, Rejection: "{}"},
		}, "5", "0"},
		"a note after the invoice": {alice, []bill.Command{note("n", "a", "3"), bills("i", "5"), note("m", "a", "4")}, "5", "0"},
		"a note above the invoice": {alice, []bill.Command{note("n", "a", "3"), bills("i", "5"), note("m", "a", "7")}, "7", "0"},
		"a low invoice":            {alice, []bill.Command{note("n", "a", "3"), bills("i", "2"), note("m", "b", "1")}, "4", "0"},
		"taken back by its issuer": {alice, []bill.Command{
			note("n", "a", "3"), bills("i", "5"), bill.HearCancellation{By: from(bob), DocumentID: "i", Kind: pay.Invoice},
		}, "3", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			v := openPayment(t, w, projections.Memory)
			var s bill.State
			for _, cmd := range c.commands {
				facts, err := bill.Rules.Decide(s, cmd)
				must(t, err)
				for _, f := range facts {
					s = bill.Rules.Evolve(s, f)
					w.say("bill-"+string(s.Side)+"-"+deal, f)
				}
			}
			if got := s.Totals(); got.Due.String() != c.due || got.Accepted.String() != c.accepted {
				t.Errorf("the bill: %+v", got)
			}
			rows, err := v.PayAgreements(t.Context(), projections.TotalsFilter{Owner: c.who})
			must(t, err)
			if len(rows) != 1 || rows[0].Due.String() != c.due || rows[0].Accepted.String() != c.accepted {
				t.Errorf("shown: %+v", rows)
			}
			income := money.Amount{}
			balances, err := v.Balances(t.Context(), bob)
			must(t, err)
			for _, b := range balances {
				if b.Account.Name == ledger.Income {
					income = b.Amount
				}
			}
			if c.who == bob && income.String() != c.accepted {
				t.Errorf("earned: %s", income)
			}
		})
	}
}
