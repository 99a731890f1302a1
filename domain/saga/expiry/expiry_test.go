package expiry_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/saga/expiry"
)

const agr = "a1"

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }

// watch is a book that hears the facts of a provider.
type watch struct {
	t    *testing.T
	book *expiry.Book
}

// begin is an agreement that was approved at noon and ends after an hour.
// The time to accept notes is 60 s, if there is one.
func begin(t *testing.T, policy expiry.Policy, accept string, approver es.Actor) *watch {
	t.Helper()
	w := &watch{t, &expiry.Book{Policy: policy}}
	w.hear(-2, "agreement-P-"+agr, agreement.Received{AgreementID: agr, Side: "P", Terms: agreement.Terms{
		DemandProperties: fmt.Sprintf(`{"golem.srv.comp.expiration":%d%s}`, at(3600).UnixMilli(), accept),
		OfferProperties:  `{"x":1` + accept + `}`,
	}})
	w.feed(-1, "agreement-P-"+agr, agreement.ApprovalRequested{AgreementID: agr, Side: "P"}, approver)
	w.hear(0, "agreement-P-"+agr, agreement.Approved{AgreementID: agr, Side: "P"})
	return w
}

const sixty = `,"golem.com.payment.debit-notes.accept-timeout?":60`

func (w *watch) hear(second int, stream string, fact any) { w.feed(second, stream, fact, es.ActorPeer) }

func (w *watch) feed(second int, stream string, fact any, by es.Actor) {
	r := es.Recorded{Data: fact, Info: es.Meta{Actor: by, Correlation: agr}}
	r.Stream, r.Recorded = es.Stream(stream), at(second)
	w.book.Hear(r)
}

func (w *watch) bill(second int, facts ...any) {
	for _, f := range facts {
		w.hear(second, "bill-P-"+agr, f)
	}
}

func issued(id string, due int) bill.NoteIssued {
	n := bill.NoteIssued{ActivityID: "x", AgreementID: agr, DebitNoteID: id, Side: "P"}
	if due != 0 {
		n.DueDate = at(due)
	}
	return n
}

func delivered(id string) bill.NoteDelivered {
	return bill.NoteDelivered{AgreementID: agr, DebitNoteID: id, Side: "P"}
}

func acceptedNote(id string) bill.NoteAcceptedByPeer {
	return bill.NoteAcceptedByPeer{ActivityID: "x", AgreementID: agr, DebitNoteID: id, Side: "P"}
}

func settled(id string) bill.Settled {
	return bill.Settled{AgreementID: agr, DocumentID: id, Side: "P"}
}

// want compares all deadlines, in order, with "second command".
func (w *watch) want(want ...string) {
	w.t.Helper()
	got := []string{}
	book := w.book
	for d, ok := book.Next(); ok; d, ok = book.Next() {
		o := d.Order(d.At)
		c, isEnd := o.Command.(agreement.Terminate)
		if !isEnd || o.ID != "P-"+agr {
			w.t.Fatalf("%s: %#v", d.Name, o)
		}
		got = append(got, fmt.Sprintf("%g %s", d.At.Sub(noon).Seconds(), c.Reason))
		book.Passed(d)
	}
	if want = append([]string{}, want...); !reflect.DeepEqual(got, want) {
		w.t.Fatalf("due is\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

const ends = `3600 {"message":"Agreement expired","golem.provider.code":"Expired"}`

func deadline(second int) string {
	return fmt.Sprintf(`%d {"golem.provider.code":"DebitNotesDeadline","message":"Requestor isn't accepting DebitNotes in time (1m)"}`, second)
}

func unpaid(second int, after string) string {
	return fmt.Sprintf(`%d {"golem.provider.code":"DebitNoteNotPaid","message":"Requestor didn't pay for DebitNote in time (%s)"}`, second, after)
}

func unreachable(second int) string {
	return fmt.Sprintf(`%d {"golem.provider.code":"RequestorUnreachable","message":"Requestor is unreachable more than 1m"}`, second)
}

func TestANoteMustBeAcceptedInTime(t *testing.T) {
	t.Parallel()
	w := begin(t, expiry.Policy{}, sixty, es.ActorSaga)
	w.bill(100, issued("n1", 0))
	w.bill(102, delivered("n1"))
	w.want(deadline(162), ends)
}

func TestAnAcceptedNoteIsNoReasonToEnd(t *testing.T) {
	t.Parallel()
	w := begin(t, expiry.Policy{}, sixty, es.ActorSaga)
	w.bill(100, issued("n1", 0), delivered("n1"), acceptedNote("n1"))
	w.want(ends)
}

func TestAnAcceptanceMayOvertakeTheReceipt(t *testing.T) {
	t.Parallel()
	w := begin(t, expiry.Policy{}, sixty, es.ActorSaga)
	w.bill(100, issued("n1", 0), acceptedNote("n1"), delivered("n1"))
	w.want(ends)
}

func TestAcceptingALaterNoteAcceptsTheEarlierOnes(t *testing.T) {
	t.Parallel()
	w := begin(t, expiry.Policy{}, sixty, es.ActorSaga)
	w.bill(100, issued("n1", 0), delivered("n1"), issued("n2", 0), delivered("n2"))
	w.bill(110, bill.NoteIssued{ActivityID: "y", AgreementID: agr, DebitNoteID: "m1"}, delivered("m1"), acceptedNote("n2"))
	w.want(deadline(170), ends) // m1 is of another activity
}

func TestAPayableNoteMustBeSettledByItsDueDate(t *testing.T) {
	t.Parallel()
	w := begin(t, expiry.Policy{}, sixty, es.ActorSaga)
	w.bill(100, issued("n1", 190), delivered("n1"), acceptedNote("n1"))
	w.want(unpaid(190, "1m30s"), ends)

	w = begin(t, expiry.Policy{}, sixty, es.ActorSaga)
	w.bill(100, issued("n1", 190), delivered("n1"), acceptedNote("n1"), settled("n1"))
	w.want(ends)
}

func TestALateDeliveryLeavesTheTimeToPay(t *testing.T) {
	t.Parallel()
	w := begin(t, expiry.Policy{}, sixty, es.ActorSaga)
	w.bill(100, issued("n1", 190))
	w.bill(150, delivered("n1"), acceptedNote("n1"))
	w.want(unpaid(240, "1m30s"), ends)
}

func TestARequestorMustBeInReach(t *testing.T) {
	t.Parallel()
	w := begin(t, expiry.Policy{}, sixty, es.ActorSaga)
	w.bill(100, issued("n1", 0))
	w.bill(120, issued("n2", 0))
	w.want(unreachable(160), ends)
}

func TestTheOldestNoteOnTheWayCounts(t *testing.T) {
	t.Parallel()
	w := begin(t, expiry.Policy{}, sixty, es.ActorSaga)
	w.bill(100, issued("n1", 0))
	w.bill(120, issued("n2", 0))
	w.bill(130, delivered("n1"))
	w.want(unreachable(180), deadline(190), ends)
}

func TestWhereNothingWasAgreedNothingIsAwaited(t *testing.T) {
	t.Parallel()
	w := begin(t, expiry.Policy{}, "", es.ActorSaga)
	w.bill(100, issued("n1", 0), delivered("n1"), issued("n2", 0))
	w.want(ends)
}

func TestAnAgentLooksAfterItsOwnDeals(t *testing.T) {
	t.Parallel()
	w := begin(t, expiry.Policy{IdleAgreement: time.Minute}, sixty, es.ActorREST)
	w.bill(100, issued("n1", 190), delivered("n1"))
	w.want(ends)
}

func TestTheEndOfTheAgreementEndsItsDeadlines(t *testing.T) {
	t.Parallel()
	w := begin(t, expiry.Policy{IdleAgreement: time.Minute}, sixty, es.ActorSaga)
	w.bill(100, issued("n1", 190), delivered("n1"), issued("n2", 0))
	w.hear(110, "agreement-P-"+agr, agreement.Terminated{AgreementID: agr, Side: "P"})
	w.bill(120, delivered("n2"), issued("n3", 300), delivered("n3"))
	w.want()
}

func TestARejectedOrCancelledNoteIsNotAwaited(t *testing.T) {
	t.Parallel()
	w := begin(t, expiry.Policy{}, sixty, es.ActorSaga)
	w.bill(100, issued("n1", 190), delivered("n1"), bill.NoteRejectedByPeer{AgreementID: agr, DebitNoteID: "n1"})
	w.bill(100, issued("n2", 190), delivered("n2"), bill.NoteCancelled{AgreementID: agr, DebitNoteID: "n2"})
	w.want(ends)
}

// A node that was down could not hear an acceptance: it gives the requestor
// the agreed time again.
func TestOwnDowntimeIsNobodysDelay(t *testing.T) {
	t.Parallel()
	w := begin(t, expiry.Policy{Started: at(1000)}, sixty, es.ActorSaga)
	w.bill(100, issued("n1", 190), delivered("n1"), issued("n2", 0))
	w.want(deadline(1060), unreachable(1060), unpaid(1090, "1m30s"), ends)
}

func TestAnIdleAgreementEnds(t *testing.T) {
	t.Parallel()
	idle := func(second int) string {
		return fmt.Sprintf(`%d {"golem.provider.code":"NoActivity","message":"No activity created within 1m30s"}`, second)
	}
	policy := expiry.Policy{IdleAgreement: 90 * time.Second}
	begin(t, policy, sixty, es.ActorSaga).want(idle(90), ends)

	w := begin(t, policy, sixty, es.ActorSaga)
	w.hear(10, "activity-P-x", activity.Created{ActivityID: "x", AgreementID: agr, Side: identity.Provider})
	w.want(ends)

	w = begin(t, policy, sixty, es.ActorSaga)
	w.hear(10, "activity-P-x", activity.Created{ActivityID: "x", AgreementID: agr, Side: identity.Provider})
	w.hear(20, "activity-P-x", activity.Terminated{ActivityID: "x"})
	w.want(idle(110), ends)
}

func TestTheOtherSideHasNoSuchDeadlines(t *testing.T) {
	t.Parallel()
	w := begin(t, expiry.Policy{}, sixty, es.ActorSaga)
	w.hear(100, "bill-R-"+agr, bill.NoteIssued{ActivityID: "x", AgreementID: agr, DebitNoteID: "n1", DueDate: at(190)})
	w.hear(100, "bill-R-"+agr, delivered("n1"))
	w.want(ends)
}
