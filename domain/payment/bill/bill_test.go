package bill_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/es/estest"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
)

const (
	provider  = identity.NodeID("0x00000000000000000000000000000000000000aa")
	requestor = identity.NodeID("0x00000000000000000000000000000000000000bb")
	stranger  = identity.NodeID("0x00000000000000000000000000000000000000cc")
	agr       = "agr"
	act       = "act"
)

var (
	noon  = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	terms = payment.Terms{
		PayeeAddr: string(provider), PayeeID: provider, PayerAddr: string(requestor), PayerID: requestor, Platform: "erc20-hoodi-tglm",
	}
	asProvider  = identity.Caller{Actor: es.ActorREST, Node: provider, Role: identity.RoleManager}
	asRequestor = identity.Caller{Actor: es.ActorREST, Node: requestor, Role: identity.RoleManager}
	fromP       = identity.Caller{Actor: es.ActorPeer, Node: provider}
	fromR       = identity.Caller{Actor: es.ActorPeer, Node: requestor}
)

func amount(s string) money.Amount { return money.MustParse(s) }
func dec(s string) money.Decimal   { return money.MustDecimal(s) }

func issue(id, due string) bill.IssueNote {
	return bill.IssueNote{ActivityID: act, AgreementID: agr, Amount: amount(due), At: noon, By: asProvider, DebitNoteID: id, Terms: terms}
}

func issueInvoice(id, due string) bill.IssueInvoice {
	return bill.IssueInvoice{ActivityIDs: []string{act}, AgreementID: agr, Amount: amount(due), At: noon, By: asProvider, DueDate: noon, InvoiceID: id, Terms: terms}
}

func note(id, due string) bill.ReceiveNote {
	return bill.ReceiveNote{ActivityID: act, AgreementID: agr, Amount: due, By: fromP, DebitNoteID: id, Terms: terms, Timestamp: noon}
}

func invoice(id, due string) bill.ReceiveInvoice {
	return bill.ReceiveInvoice{Activities: []string{act}, ActivityIDs: []string{act}, AgreementID: agr, Amount: due, By: fromP, InvoiceID: id, Terms: terms, Timestamp: noon}
}

func acceptNote(id, due string) bill.AcceptNote {
	return bill.AcceptNote{AllocationID: "all", Amount: dec(due), By: asRequestor, DebitNoteID: id}
}

func acceptInvoice(id, due string) bill.AcceptInvoice {
	return bill.AcceptInvoice{AllocationID: "all", Amount: dec(due), By: asRequestor, InvoiceID: id}
}

func ranges(activity, from, to string) []payment.Range {
	return []payment.Range{{ActivityID: activity, AgreementID: agr, AllocationID: "all", From: amount(from), PayeeID: provider, To: amount(to)}}
}

func schedule(n int, r ...payment.Range) bill.Schedule {
	return bill.Schedule{IntentID: fmt.Sprintf("i%d", n), OrderID: "o", PaymentID: fmt.Sprintf("p%d", n), Ranges: r}
}

var story = estest.For(bill.Rules)

func status(t *testing.T, s bill.State, id string) payment.Status {
	t.Helper()
	d, ok := s.Document(id)
	if !ok {
		t.Fatalf("no document %s", id)
	}
	return d.Status
}

func TestTheFirstDocumentOpensTheBill(t *testing.T) {
	t.Parallel()
	story.When(issue("n1", "1")).Then(t,
		bill.Opened{AgreementID: agr, PayeeAddr: string(provider), PayeeID: provider, PayerAddr: string(requestor), PayerID: requestor, Platform: "erc20-hoodi-tglm", Side: "P"},
		bill.NoteIssued{ActivityID: act, AgreementID: agr, Amount: amount("1"), DebitNoteID: "n1", Side: "P", Timestamp: noon})
	story.After(t, issue("n1", "1")).When(issue("n2", "3")).Then(t,
		bill.NoteIssued{ActivityID: act, AgreementID: agr, Amount: amount("3"), DebitNoteID: "n2", Nonce: 1, PreviousID: "n1", Side: "P", Timestamp: noon})
}

func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	other := issue("n", "1")
	other.By.Node = stranger
	story.When(other).Refused(t, identity.ErrForbidden)
	wrongRole := issue("n", "1")
	wrongRole.By.Role = identity.RoleRequestor
	story.When(wrongRole).Refused(t, identity.ErrForbidden)
	sent := note("n", "1")
	sent.By.Node = stranger
	story.When(sent).Refused(t, identity.ErrForbidden)
	got := story.After(t, note("n", "1"))
	theft := acceptNote("n", "1")
	theft.By.Node = stranger
	got.When(theft).Refused(t, identity.ErrForbidden)
	issued := story.After(t, issue("n", "1"))
	issued.When(bill.HearAcceptance{Amount: dec("1"), By: identity.Caller{Actor: es.ActorPeer, Node: stranger}, DocumentID: "n", Kind: payment.DebitNote}).
		Refused(t, identity.ErrForbidden)
}

func TestOneInvoicePerAgreementAndNotBelowItsNotes(t *testing.T) {
	t.Parallel()
	s := story.After(t, issue("n1", "3"))
	if o := s.When(issueInvoice("i", "2.9")); o.Err == nil {
		t.Fatal("an invoice below its notes was issued")
	}
	s = s.After(t, issueInvoice("i", "3"))
	s.When(issueInvoice("i", "3")).Then(t)
	s.When(issueInvoice("j", "4")).Refused(t, bill.ErrAlreadyInvoiced)
	s.When(issue("n2", "4")).Refused(t, bill.ErrAlreadyInvoiced)
	s.After(t, bill.Cancel{By: asProvider, DocumentID: "i", Kind: payment.Invoice}).After(t, issueInvoice("j", "4"))
}

func TestReceivingTwiceIsReceivingOnce(t *testing.T) {
	t.Parallel()
	s := story.After(t, note("n", "1"), invoice("i", "2"))
	s.When(note("n", "1.000")).Then(t)
	s.When(note("n", "2")).Refused(t, bill.ErrOtherContent)
	s.When(invoice("i", "2.0")).Then(t)
	s.When(invoice("i", "3")).Refused(t, bill.ErrOtherContent)
	s.When(invoice("j", "3")).Refused(t, bill.ErrAlreadyInvoiced)
	accepted := s.After(t, acceptInvoice("i", "2"))
	accepted.When(invoice("i", "2")).Then(t) // also after it was accepted
}

func TestOddDocumentsAreFlaggedAndKept(t *testing.T) {
	t.Parallel()
	s := story.After(t, note("n1", "2"))
	s.When(note("n2", "1")).Then(t,
		bill.NoteReceived{ActivityID: act, AgreementID: agr, Amount: amount("1"), DebitNoteID: "n2", Nonce: 1, PreviousID: "n1", Side: "R", Timestamp: noon},
		bill.Flagged{AgreementID: agr, Detail: "due before: 2", DocumentID: "n2", Kind: payment.DebitNote, Side: "R", What: bill.FlagNonMonotonic})
	fine := s.After(t, note("n3", "3.0000000000000000001"))
	d, _ := fine.State().Document("n3")
	if d.Amount.String() != "3.000000000000000001" || d.AmountText != "3.0000000000000000001" {
		t.Fatalf("%+v", d)
	}
	fine.When(acceptNote("n3", "3")).Refused(t, bill.ErrAmount)
	fine.After(t, acceptNote("n3", "3.0000000000000000001"))
}

// The empty name means the invoice: whoever takes it would speak for it.
func TestDocumentsHaveNames(t *testing.T) {
	t.Parallel()
	story.When(note("", "1")).Refused(t, bill.ErrNameless)
	story.When(invoice("", "1")).Refused(t, bill.ErrNameless)
	nowhere := note("n", "1")
	nowhere.ActivityID = ""
	story.When(nowhere).Refused(t, bill.ErrNameless)
}

func TestDocumentsMustKeepToTheTerms(t *testing.T) {
	t.Parallel()
	c := note("n", "1")
	c.PayeeAddr = string(stranger)
	story.When(c).Refused(t, bill.ErrOtherTerms)
	c = note("n", "1")
	c.PayeeAddr, c.PayerAddr, c.Platform = "0x00000000000000000000000000000000000000AA", string(requestor), "erc20-hoodi-tglm"
	story.After(t, c) // the case of an address means nothing
	c.Platform = "erc20-polygon-glm"
	story.When(c).Refused(t, bill.ErrOtherTerms)
	foreign := invoice("i", "1")
	foreign.ActivityIDs = []string{"not ours"}
	story.When(foreign).Refused(t, bill.ErrActivity)
	negative := note("n", "-1")
	story.When(negative).Refused(t, bill.ErrNegative)
	story.When(note("n", "much")).Refused(t, money.ErrSyntax)
}

func TestAcceptanceTakesTheDifferenceOnly(t *testing.T) {
	t.Parallel()
	s := story.After(t, note("n1", "1"), acceptNote("n1", "1"), note("n2", "3"), acceptNote("n2", "3.0"), note("n3", "6"), acceptNote("n3", "6"))
	s.After(t, invoice("i", "7")).When(acceptInvoice("i", "7")).Then(t, bill.InvoiceAccepted{
		AgreementID: agr, AllocationID: "all", Amount: amount("7"), Delta: amount("1"), From: amount("0"), InvoiceID: "i", Side: "R", To: amount("1"),
	})
	if got := s.State().Totals(); !got.Accepted.Equal(amount("6")) || !got.Due.Equal(amount("6")) {
		t.Fatalf("%+v", got)
	}
	small := s.After(t, invoice("i", "5"))
	if o := small.When(acceptInvoice("i", "5")); o.Err == nil {
		t.Fatal("an invoice below what was accepted was accepted")
	}
}

func TestTheAcceptedAmountMustBeThatOfTheDocument(t *testing.T) {
	t.Parallel()
	s := story.After(t, note("n", "1"))
	s.When(acceptNote("n", "0.999")).Refused(t, bill.ErrAmount)
	s.After(t, acceptNote("n", "1.000")).When(acceptNote("n", "1")).Then(t)
}

func TestANoteAfterADecidedInvoiceIsAcceptedWithoutEffect(t *testing.T) {
	t.Parallel()
	s := story.After(t, note("n", "1"), invoice("i", "2"))
	s.After(t, acceptNote("n", "1")) // an undecided invoice changes nothing
	decided := s.After(t, acceptInvoice("i", "2"))
	decided.When(acceptNote("n", "1")).Then(t)
	if got := status(t, decided.State(), "n"); got != payment.Received {
		t.Fatalf("the note is %s", got)
	}
}

func TestZeroIsSettledAtOnce(t *testing.T) {
	t.Parallel()
	s := story.After(t, invoice("i", "0"))
	s.When(acceptInvoice("i", "0")).Then(t,
		bill.InvoiceAccepted{AgreementID: agr, AllocationID: "all", InvoiceID: "i", Side: "R"},
		bill.Settled{AgreementID: agr, DocumentID: "i", Kind: payment.Invoice, Side: "R"})
	p := story.After(t, issueInvoice("i", "0"), bill.HearAcceptance{Amount: dec("0"), By: fromR, DocumentID: "i", Kind: payment.Invoice})
	if got := status(t, p.State(), "i"); got != payment.Settled {
		t.Fatalf("at the provider it is %s", got)
	}
}

// The whole debt was paid through notes before the invoice came.
func TestAnInvoiceThatIsPaidAlreadySettlesWhenItIsAccepted(t *testing.T) {
	t.Parallel()
	s := story.After(t, note("n", "6"), acceptNote("n", "6"), schedule(1, ranges(act, "0", "6")...), bill.MarkPaid{IntentID: "i1", TxHash: "0x1"})
	if got := status(t, s.State(), "n"); got != payment.Settled {
		t.Fatalf("the note is %s", got)
	}
	s = s.After(t, invoice("i", "6"), acceptInvoice("i", "6"))
	if got := status(t, s.State(), "i"); got != payment.Settled {
		t.Fatalf("the invoice is %s at the requestor", got)
	}
	p := story.After(t, issue("n", "6"), bill.HearAcceptance{Amount: dec("6"), By: fromR, DocumentID: "n", Kind: payment.DebitNote},
		credit("p1", act, "6"), issueInvoice("i", "6"), bill.HearAcceptance{Amount: dec("6"), By: fromR, DocumentID: "i", Kind: payment.Invoice})
	if got := status(t, p.State(), "i"); got != payment.Settled {
		t.Fatalf("the invoice is %s at the provider", got)
	}
}

func credit(id, activity, value string) bill.CreditPayment {
	s := payment.Share{ActivityID: activity, Amount: amount(value)}
	if activity == "" {
		s.AgreementID = agr
	}
	return bill.CreditPayment{PayeeAddr: terms.PayeeAddr, PayerAddr: terms.PayerAddr, PaymentID: id, Platform: terms.Platform, Shares: []payment.Share{s}, TxHash: "0x1"}
}

func TestAPaymentStandsForALostAcceptance(t *testing.T) {
	t.Parallel()
	s := story.After(t, issue("n", "6"), issueInvoice("i", "7"), credit("p1", act, "6"))
	if got := status(t, s.State(), "n"); got != payment.Settled {
		t.Fatalf("the note is %s", got)
	}
	if got := status(t, s.State(), "i"); got != payment.Issued {
		t.Fatalf("the invoice is %s", got)
	}
	s = s.After(t, credit("p2", "", "1"))
	if got := status(t, s.State(), "i"); got != payment.Settled {
		t.Fatalf("the invoice is %s", got)
	}
	s.When(credit("p2", "", "1")).Then(t) // the same payment counts once
	wrong := credit("p3", "", "1")
	wrong.PayerAddr = string(stranger)
	s.When(wrong).Refused(t, bill.ErrOtherTerms)
}

func TestAReversedPaymentUnsettles(t *testing.T) {
	t.Parallel()
	s := story.After(t, note("n", "6"), acceptNote("n", "6"), schedule(1, ranges(act, "0", "6")...), bill.MarkPaid{IntentID: "i1", TxHash: "0x1"})
	back := s.After(t, bill.ReversePayment{PaymentID: "p1", Why: "reorg"})
	if got := status(t, back.State(), "n"); got != payment.Accepted {
		t.Fatalf("the note is %s", got)
	}
	back.When(bill.ReversePayment{PaymentID: "p1"}).Then(t)
	again := back.After(t, bill.MarkPaid{IntentID: "i1", TxHash: "0x1"})
	if got := status(t, again.State(), "n"); got != payment.Settled {
		t.Fatalf("paid again the note is %s", got)
	}
	if got := again.State().Totals().Paid; !got.Equal(amount("6")) {
		t.Fatalf("paid %s", got)
	}
}

func TestTheSameDebtIsNotScheduledTwice(t *testing.T) {
	t.Parallel()
	s := story.After(t, note("n", "3"), acceptNote("n", "3"), schedule(1, ranges(act, "0", "3")...))
	s.When(schedule(1, ranges(act, "0", "3")...)).Then(t)
	s.When(schedule(2, ranges(act, "0", "3")...)).Refused(t, bill.ErrRange)
	s.When(schedule(2, ranges(act, "2", "3")...)).Refused(t, bill.ErrRange)
	s.When(schedule(2, ranges(act, "3", "4")...)).Refused(t, bill.ErrRange) // not accepted
	s.When(schedule(2)).Refused(t, bill.ErrRange)
	s.When(bill.MarkPaid{IntentID: "unheard of"}).Refused(t, bill.ErrIntent)
}

func TestRejectedMayStillBeAccepted(t *testing.T) {
	t.Parallel()
	reject := bill.Reject{By: asRequestor, DocumentID: "i", Kind: payment.Invoice, Rejection: `{"rejectionReason":"BAD_SERVICE"}`}
	s := story.After(t, invoice("i", "1"), reject)
	s.When(reject).Then(t)
	ok := s.After(t, acceptInvoice("i", "1"))
	if o := ok.When(reject); o.Err == nil {
		t.Fatal("an accepted invoice was rejected")
	}
	cancelled := story.After(t, invoice("i", "1"), bill.HearCancellation{By: fromP, DocumentID: "i", Kind: payment.Invoice})
	if o := cancelled.When(acceptInvoice("i", "1")); o.Err == nil {
		t.Fatal("a cancelled invoice was accepted")
	}
}

func TestEveryIntentHasOneAnswerWhateverHappenedMeanwhile(t *testing.T) {
	t.Parallel()
	answered := func(s estest.Story[bill.Command, bill.Event, bill.State], c bill.Command) {
		t.Helper()
		if o := s.When(c); o.Err != nil || len(o.Facts) != 1 {
			t.Fatalf("%T: %v, %v", c, o.Facts, o.Err)
		}
		s.After(t, c).When(c).Then(t)
	}
	issued := story.After(t, issue("n", "1"))
	accepted := issued.After(t, bill.HearAcceptance{Amount: dec("1"), By: fromR, DocumentID: "n", Kind: payment.DebitNote})
	for _, s := range []estest.Story[bill.Command, bill.Event, bill.State]{issued, accepted} {
		answered(s, bill.AnswerDelivery{DocumentID: "n"})
		answered(s, bill.AnswerDelivery{DocumentID: "n", Refusal: "no"})
	}
	if got := status(t, accepted.After(t, bill.AnswerDelivery{DocumentID: "n"}).State(), "n"); got != payment.Accepted {
		t.Fatalf("a late acknowledgement made it %s", got)
	}
	r := story.After(t, invoice("i", "1"), bill.Reject{By: asRequestor, DocumentID: "i", Kind: payment.Invoice, Rejection: "{}"}, acceptInvoice("i", "1"))
	answered(r, bill.AnswerNotice{DocumentID: "i"})
	answered(r, bill.AnswerNotice{DocumentID: "i", Abandoned: "gone"})
	answered(r, bill.AnswerAcceptance{DocumentID: "i"})
	answered(r, bill.AnswerAcceptance{DocumentID: "i", Refusal: "no"})
}

func TestManySettlementsGoInPortions(t *testing.T) {
	t.Parallel()
	s := story
	var facts []bill.Event
	state := s.State()
	do := func(c bill.Command) {
		out, err := bill.Rules.Decide(state, c)
		if err != nil {
			t.Fatal(err)
		}
		facts, state = out, bill.Rules.Fold(state, out...)
	}
	for i := range 2500 {
		id, due := fmt.Sprint("n", i), fmt.Sprint(i+1)
		do(note(id, due))
		do(acceptNote(id, due))
	}
	do(schedule(1, ranges(act, "0", "2500")...))
	do(bill.MarkPaid{IntentID: "i1"})
	for n := 0; ; n++ {
		last, ok := facts[len(facts)-1].(bill.Settled)
		if len(facts) > 1001 || !ok || n > 3 {
			t.Fatalf("portion %d: %d facts", n, len(facts))
		}
		if !last.More {
			break
		}
		do(bill.Settle{})
	}
	if n := state.Unsettled(); n != 0 {
		t.Fatalf("%d documents are left", n)
	}
}

// Random histories of a requestor's bill.
func TestTotalsStayInOrder(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var s bill.State
		intents := 0
		for step := range rapid.IntRange(1, 40).Draw(t, "steps") {
			before := s
			id := fmt.Sprintf("d%d", rapid.IntRange(0, 6).Draw(t, "doc"))
			value := fmt.Sprint(rapid.IntRange(0, 9).Draw(t, "amount"))
			if d, ok := s.Document(id); ok {
				value = d.Amount.String()
			}
			a := s.Activity(act).Totals
			rest := s.Activity("").Totals
			cmd := rapid.SampledFrom([]bill.Command{
				note(id, value), invoice(id, value), acceptNote(id, value), acceptInvoice(id, value),
				bill.Reject{By: asRequestor, DocumentID: id, Kind: payment.DebitNote},
				bill.HearCancellation{By: fromP, DocumentID: id, Kind: payment.Invoice},
				schedule(step, ranges(act, a.Scheduled.String(), a.Accepted.String())...),
				schedule(step, ranges("", rest.Scheduled.String(), rest.Accepted.String())...),
				schedule(step, ranges(act, "0", value)...),
				bill.MarkPaid{IntentID: fmt.Sprintf("i%d", rapid.IntRange(0, 40).Draw(t, "intent"))},
				bill.ReversePayment{PaymentID: fmt.Sprintf("p%d", rapid.IntRange(0, 40).Draw(t, "payment"))},
			}).Draw(t, "command")
			facts, err := bill.Rules.Decide(s, cmd)
			if err != nil {
				continue
			}
			s = bill.Rules.Fold(s, facts...)
			for _, f := range facts {
				if _, ok := f.(bill.Scheduled); ok {
					intents++
				}
			}
			check(t, s, before)
		}
	})
}

func check(t *rapid.T, s, before bill.State) {
	sum := bill.Totals{}
	for _, id := range append(s.Activities(), "") {
		x := s.Activity(id).Totals
		if id != "" && x.Due.Less(x.Accepted) || x.Accepted.Less(x.Scheduled) || x.Scheduled.Less(x.Paid) || x.Paid.Sign() < 0 {
			t.Fatalf("activity %q: %+v", id, x)
		}
		sum.Accepted, sum.Scheduled, sum.Paid = sum.Accepted.Add(x.Accepted), sum.Scheduled.Add(x.Scheduled), sum.Paid.Add(x.Paid)
	}
	all := s.Totals()
	if !all.Accepted.Equal(sum.Accepted) || !all.Scheduled.Equal(sum.Scheduled) || !all.Paid.Equal(sum.Paid) || all.Due.Less(all.Accepted) {
		t.Fatalf("agreement %+v, activities %+v", all, sum)
	}
	for i := range 7 {
		id := fmt.Sprintf("d%d", i)
		was, _ := before.Document(id)
		is, _ := s.Document(id)
		if was.Status == payment.Cancelled && is.Status != payment.Cancelled {
			t.Fatalf("%s came back from the dead: %s", id, is.Status)
		}
		paid := s.Totals().Paid
		if is.Kind == payment.DebitNote {
			paid = s.Activity(act).Totals.Paid
		}
		settled, covered := is.Status == payment.Settled, !paid.Less(is.Amount)
		if accepted := is.Status == payment.Accepted || settled; accepted && settled != covered {
			t.Fatalf("%s of %s is %s, paid %s", id, is.Amount, is.Status, paid)
		}
	}
}
