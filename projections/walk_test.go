package projections_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	life "github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/projections"
)

// walk decides commands by chance, and writes and folds what comes of them.
func walk[C, E, S any](w *world, stream string, rules es.Decider[C, E, S], chance *rand.Rand, steps int, commands []C) (state S) {
	for n := range steps {
		c := commands[0]
		if n > 0 {
			c = commands[chance.IntN(len(commands))]
		}
		facts, err := rules.Decide(state, c)
		if err != nil {
			continue
		}
		for _, f := range facts {
			w.say(stream, f)
			state = rules.Evolve(state, f)
		}
	}
	return state
}

// Lists and looks at one agreement say the same, whatever comes in whichever
// order.
func TestListsSayWhatAgreementsAre(t *testing.T) {
	t.Parallel()
	w, chance := newWorld(t), rand.New(rand.NewPCG(1, 2))
	own, late := identity.Caller{Actor: es.ActorSaga}, noon.Add(2*time.Hour)
	failed := market.Failure{Code: "unreachable", Text: "x"}
	want := make(map[string]agreement.State)
	for n := range 600 {
		terms := terms()
		terms.Created = noon.Add(time.Duration(n))
		id := market.PairHash(terms.OfferID, terms.DemandID, terms.Created)
		side, other, first := r, identity.Caller{Actor: es.ActorPeer, Node: bob}, agreement.Command(agreement.Create{AgreementID: id, By: own, Terms: terms})
		if n%2 == 1 {
			side, other.Node = p, alice
			first = agreement.Receive{AgreementID: id, At: noon, By: other, Terms: terms}
		}
		stream := agreement.StreamID(side, id)
		want[stream] = walk(w, "agreement-"+stream, agreement.Rules, chance, 30, []agreement.Command{
			first,
			agreement.Confirm{At: noon, By: own, Session: "s1"},
			agreement.FinishConfirmation{},
			agreement.FinishConfirmation{Failure: failed},
			agreement.ReceiveApproval{ApprovedAt: noon, At: noon, By: other},
			agreement.RequestCommit{},
			agreement.RequestCommit{},
			agreement.FinishCommit{},
			agreement.FinishCommit{Failure: failed},
			agreement.Approve{At: noon, By: own, Deadline: noon, Session: "s2"},
			agreement.FinishApproval{},
			agreement.FinishApproval{Failure: failed},
			agreement.TimeoutApproval{At: late},
			agreement.ReceiveCommit{At: noon, By: other},
			agreement.Reject{By: own, Reason: `{"message":"no"}`},
			agreement.ReceiveRejection{By: other, Reason: `{"message":"no"}`},
			agreement.Cancel{By: own},
			agreement.ReceiveCancellation{By: other},
			agreement.Terminate{By: own, Reason: `{"message":"bye"}`},
			agreement.ReceiveTermination{By: other},
			agreement.FinishNotice{},
			agreement.Expire{At: noon},
			agreement.Expire{At: late},
		})
	}
	m := openMarket(t, w, projections.Memory)
	list, err := m.Agreements(t.Context(), projections.AgreementFilter{})
	must(t, err)
	seen := make(map[string]int)
	for _, a := range list {
		s := want[agreement.StreamID(a.Side, a.ID)]
		if s.Over() && s.Phase != agreement.PhaseTerminated {
			s.ApprovedAt = time.Time{} // it was on its way, and is no date of approval
		}
		got := fmt.Sprint(a.State, a.Session, a.Approved.Unix(), a.Terminator, a.Reason)
		if is := fmt.Sprint(s.Shown(), s.Session, s.ApprovedAt.Unix(), s.EndedBy, s.Reason); got != is {
			t.Errorf("%s: listed %s, is %s", a.Side, got, is)
		}
		seen[string(a.Side)+a.State]++
	}
	if len(list) != len(want) || len(seen) < 12 {
		t.Errorf("%d of %d, of the kinds %v", len(list), len(want), seen)
	}
}

// The same of activities.
func TestListsSayHowActivitiesAre(t *testing.T) {
	t.Parallel()
	w, chance := newWorld(t), rand.New(rand.NewPCG(3, 4))
	own := identity.Caller{Actor: es.ActorSaga}
	pair := func(current, next life.Phase) life.Pair { return life.Pair{Current: current, Pending: next} }
	want := make(map[string]life.State)
	for n := range 400 {
		id := fmt.Sprintf("%032x", n)
		side, first := r, life.Command(life.RequestCreation{ActivityID: id, AgreementID: deal, AgreementState: "Approved", By: own, Provider: bob, Requestor: alice})
		if n%2 == 1 {
			side, first = p, life.Create{ActivityID: id, AgreementID: deal, AgreementState: "Approved", By: identity.Caller{Actor: es.ActorPeer, Node: alice}, Provider: bob, Requestor: alice}
		}
		stream := life.StreamID(side, id)
		want[stream] = walk(w, "activity-"+stream, life.Rules, chance, 20, []life.Command{
			first,
			life.ConfirmCreation{By: own, ProviderID: id},
			life.ConfirmCreation{By: own, ProviderID: id},
			life.FailCreation{By: own, Code: "x"},
			life.ObserveState{By: own, Pair: pair(life.Initialized, life.Deployed)},
			life.ObserveState{By: own, Pair: pair(life.Ready, ""), Reason: "why"},
			life.ObserveState{By: own, Pair: pair(life.PhaseTerminated, "")},
			life.RequestSpawn{By: own, Runtime: "x"},
			life.ConfirmSpawn{By: own, PID: 1},
			life.ReportState{By: own, Pair: pair(life.Deployed, life.Ready)},
			life.ReportState{By: own, Pair: pair(life.Ready, "")},
			life.ReportState{By: own, Pair: pair(life.PhaseUnresponsive, "")},
			life.MarkUnresponsive{By: own},
			life.MarkUnresponsive{By: own},
			life.MarkRecovered{By: own},
			life.MarkRecovered{By: own},
			life.RequestDestruction{By: own},
			life.ConfirmDestruction{By: own, Reason: "gone"},
			life.End{By: own},
		})
	}
	a := openActivity(t, w, projections.Memory)
	list, err := a.Activities(t.Context(), projections.ActivityFilter{})
	must(t, err)
	seen := make(map[string]int)
	for _, x := range list {
		s := want[life.StreamID(x.Side, x.ID)]
		got := fmt.Sprint(x.State, "/", x.Pending, x.Reason, x.Error, !x.Ended.IsZero(), x.Owner, x.AgreementID)
		if is := fmt.Sprint(s.Pair.Current, "/", s.Pair.Pending, s.Reason, s.ErrorMessage, s.Ended, s.Owner(), s.AgreementID); got != is || s.Pair.Current == "" {
			t.Errorf("%s: listed %s, is %s", x.Side, got, is)
		}
		seen[fmt.Sprint(x.Side, x.State)]++
	}
	if len(seen) < 7 {
		t.Errorf("of the kinds %v", seen)
	}
}

// Lists of bills, and of how far debts have come, say what the bills do.
func TestListsSayWhatBillsAre(t *testing.T) {
	t.Parallel()
	w, chance := newWorld(t), rand.New(rand.NewPCG(5, 6))
	want := make(map[string]bill.State)
	for n := range 200 {
		id, side, commands := fmt.Sprint("deal", n), r, billsOfPayer
		if n%2 == 1 {
			side, commands = p, billsOfPayee
		}
		list := commands(id)
		list[0] = list[1+chance.IntN(4)]
		stream := bill.StreamID(side, id)
		want[stream] = walk(w, "bill-"+stream, bill.Rules, chance, 60, list)
	}
	v := openPayment(t, w, projections.Memory)
	seen := make(map[string]int)
	for _, owner := range []identity.NodeID{alice, bob} {
		list, err := v.Documents(t.Context(), projections.DocumentFilter{Owner: owner})
		must(t, err)
		for _, d := range list {
			is, _ := want[bill.StreamID(d.Side, d.AgreementID)].Document(d.ID)
			if got, is := fmt.Sprint(d.Status, d.Amount, d.Nonce, d.PreviousID, d.AllocationID, d.Rejection), fmt.Sprint(is.Status, is.Amount, is.Nonce, is.PreviousID, is.AllocationID, is.Rejection); got != is {
				t.Errorf("%s %s of %s: listed %s, is %s", d.Side, d.ID, d.AgreementID, got, is)
			}
			seen[string(d.Side)+string(d.Kind)+string(d.Status)]++
		}
		debts, err := v.PayAgreements(t.Context(), projections.TotalsFilter{Owner: owner})
		must(t, err)
		for _, x := range debts {
			got := fmt.Sprint(x.Due, x.Accepted, x.Scheduled, x.Paid)
			s := want[bill.StreamID(x.Side, x.AgreementID)].Totals()
			if is := fmt.Sprint(s.Due, s.Accepted, s.Scheduled, s.Paid); got != is {
				t.Errorf("%s %s: listed %s, is %s", x.Side, x.AgreementID, got, is)
			}
			if !x.Paid.IsZero() {
				seen[string(x.Side)+"paid"]++
			}
		}
		parts, err := v.PayActivities(t.Context(), projections.TotalsFilter{Owner: owner})
		must(t, err)
		for _, x := range parts {
			got := fmt.Sprint(x.Due, x.Accepted, x.Scheduled, x.Paid)
			s := want[bill.StreamID(x.Side, x.AgreementID)].Activity(x.ActivityID).Totals
			if is := fmt.Sprint(s.Due, s.Accepted, s.Scheduled, s.Paid); got != is {
				t.Errorf("%s %s of %s: listed %s, is %s", x.Side, x.ActivityID, x.AgreementID, got, is)
			}
		}
	}
	if len(seen) < 14 {
		t.Errorf("of the kinds %v", seen)
	}
}

var billed = pay.Terms{PayeeAddr: string(bob), PayeeID: bob, PayerAddr: string(alice), PayerID: alice, Platform: "erc20-hoodi-tglm"}

func billsOfPayer(deal string) []bill.Command {
	own, other := identity.Caller{Actor: es.ActorSaga}, identity.Caller{Actor: es.ActorPeer, Node: bob}
	list := []bill.Command{nil}
	for i, amount := range []string{"1", "2", "1.0000000000000000001", "0"} {
		list = append(list, bill.ReceiveNote{ActivityID: fmt.Sprint("a", i%2), AgreementID: deal, Amount: amount, By: other, DebitNoteID: fmt.Sprint("n", i), Terms: billed, Timestamp: noon})
	}
	for i, amount := range []string{"5", "3"} {
		list = append(list, bill.ReceiveInvoice{AgreementID: deal, Amount: amount, By: other, InvoiceID: fmt.Sprint("i", i), Terms: billed, Timestamp: noon},
			bill.AcceptInvoice{AllocationID: "al", Amount: exactly(amount), By: own, InvoiceID: fmt.Sprint("i", i)},
			bill.AcceptNote{AllocationID: "al", Amount: exactly([]string{"1", "2"}[i]), By: own, DebitNoteID: fmt.Sprint("n", i)},
			bill.AcceptNote{AllocationID: "al", Amount: exactly([]string{"1.0000000000000000001", "0"}[i]), By: own, DebitNoteID: fmt.Sprint("n", i+2)},
			bill.HearCancellation{By: other, DocumentID: fmt.Sprint("i", i), Kind: pay.Invoice},
			bill.HearCancellation{By: other, DocumentID: fmt.Sprint("n", i), Kind: pay.DebitNote},
			bill.Reject{By: own, DocumentID: fmt.Sprint("n", i), Kind: pay.DebitNote, Rejection: "{}"},
			bill.Reject{By: own, DocumentID: fmt.Sprint("i", i), Kind: pay.Invoice, Rejection: "{}"})
	}
	for _, span := range []struct{ activity, from, to string }{{"a0", "0", "1"}, {"a1", "0", "2"}, {"", "0", "1"}, {"", "0", "2"}, {"", "0", "3"}, {"", "0", "5"}, {"", "1", "2"}} {
		name := span.activity + span.from + span.to
		list = append(list, bill.Schedule{IntentID: name, PaymentID: "p" + name, Ranges: []pay.Range{
			{ActivityID: span.activity, AgreementID: deal, From: money.MustParse(span.from), To: money.MustParse(span.to), PayeeID: bob},
		}}, bill.MarkPaid{IntentID: name}, bill.ReversePayment{PaymentID: "p" + name})
	}
	return list
}

func billsOfPayee(deal string) []bill.Command {
	own, other := identity.Caller{Actor: es.ActorSaga}, identity.Caller{Actor: es.ActorPeer, Node: alice}
	list := []bill.Command{nil}
	for i, amount := range []string{"1", "2", "1.5", "0"} {
		id := fmt.Sprint("n", i)
		list = append(list, bill.IssueNote{ActivityID: fmt.Sprint("a", i%2), AgreementID: deal, Amount: money.MustParse(amount), By: own, DebitNoteID: id, Terms: billed, At: noon},
			bill.AnswerDelivery{DocumentID: id}, bill.HearAcceptance{Amount: exactly(amount), By: other, DocumentID: id, Kind: pay.DebitNote},
			bill.HearRejection{By: other, DocumentID: id, Kind: pay.DebitNote, Rejection: "{}"}, bill.Cancel{By: own, DocumentID: id, Kind: pay.DebitNote})
	}
	for i, amount := range []string{"5", "4"} {
		id := fmt.Sprint("i", i)
		list = append(list, bill.IssueInvoice{AgreementID: deal, Amount: money.MustParse(amount), By: own, InvoiceID: id, Terms: billed, At: noon},
			bill.AnswerDelivery{DocumentID: id, Refusal: "x"}, bill.HearAcceptance{Amount: exactly(amount), By: other, DocumentID: id, Kind: pay.Invoice},
			bill.HearRejection{By: other, DocumentID: id, Kind: pay.Invoice, Rejection: "{}"}, bill.Cancel{By: own, DocumentID: id, Kind: pay.Invoice})
	}
	for i, act := range []string{"a0", "a1", "", ""} {
		id := fmt.Sprint("p", i)
		list = append(list, bill.CreditPayment{PayeeAddr: string(bob), PayerAddr: string(alice), PaymentID: id, Platform: billed.Platform, Shares: []pay.Share{
			{ActivityID: act, AgreementID: deal, Amount: money.MustParse("2")},
		}}, bill.ReversePayment{PaymentID: id})
	}
	return list
}

func exactly(s string) money.Decimal {
	d, err := money.ParseDecimal(s)
	if err != nil {
		panic(err)
	}
	return d
}
