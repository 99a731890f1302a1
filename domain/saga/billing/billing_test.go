package billing_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/activity/usage"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/saga/billing"
)

const agr = "a1"

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// deal feeds facts to the saga and keeps what it asks for.
type deal struct {
	t        *testing.T
	saga     es.Process
	position es.Position
	commands []any
}

// begin is an approved agreement with notes each 100 s at 0.1 GLM per second.
func begin(t *testing.T, offer string, approver es.Actor) *deal {
	t.Helper()
	d := &deal{t: t, saga: billing.Saga.Start()}
	d.hear(0, "agreement-P-"+agr, agreement.Received{AgreementID: agr, Side: "P", Terms: agreement.Terms{
		DemandProperties: `{"golem.com.payment.chosen-platform":"erc20-hoodi-tglm","golem.com.payment.platform.erc20-hoodi-tglm.address":"0xPayer"}`,
		OfferProperties:  `{"golem.com.pricing.model.linear.coeffs":[0.1,0.05,1],"golem.com.scheme.payu.debit-note.interval-sec?":100` + offer + `}`,
		Provider:         "0xaa", Requestor: "0xbb",
	}})
	d.actor(approver, "agreement-P-"+agr, agreement.ApprovalRequested{AgreementID: agr, Session: "s", Side: "P"})
	d.hear(0, "agreement-P-"+agr, agreement.Approved{AgreementID: agr, Side: "P"})
	return d
}

func (d *deal) actor(a es.Actor, stream string, fact any) {
	d.feed(0, stream, fact, es.Meta{Actor: a, Correlation: agr})
}

func (d *deal) hear(at int, stream string, fact any) {
	d.feed(at, stream, fact, es.Meta{Correlation: agr})
}

// feed lets the saga hear a fact at a number of seconds after noon.
func (d *deal) feed(at int, stream string, fact any, m es.Meta) {
	d.t.Helper()
	r := es.Recorded{Data: fact, Info: m}
	r.Stream, r.Position, r.Recorded = es.Stream(stream), d.position, noon.Add(time.Duration(at)*time.Second)
	r.ID = es.NameID(es.ID{}, fmt.Sprint(d.position))
	d.position++
	for _, c := range d.saga.Hear(r) {
		d.commands = append(d.commands, c.Command)
	}
}

func (d *deal) create(at int, id string) {
	d.hear(at, "activity-P-"+id, activity.Created{ActivityID: id, AgreementID: agr, Side: "P"})
}

func (d *deal) sample(at int, id, vector string) {
	d.hear(at, "usage-P-"+id, usage.Sampled{ActivityID: id, Vector: vector})
}

func (d *deal) finalise(at int, id, vector string) {
	d.hear(at, "usage-P-"+id, usage.Finalised{ActivityID: id, Vector: vector})
}

func (d *deal) terminate(at int) {
	d.hear(at, "agreement-P-"+agr, agreement.Terminated{AgreementID: agr, Side: "P"})
}

func (d *deal) want(want ...string) {
	d.t.Helper()
	var got []string
	for _, c := range d.commands {
		switch c := c.(type) {
		case bill.IssueNote:
			due := ""
			if !c.DueDate.IsZero() {
				due = fmt.Sprintf(" due %.0f", c.DueDate.Sub(noon).Seconds())
			}
			got = append(got, fmt.Sprintf("note %s %s%s", c.ActivityID, c.Amount, due))
		case bill.IssueInvoice:
			got = append(got, fmt.Sprintf("invoice %v %s due %.0f", c.ActivityIDs, c.Amount, c.DueDate.Sub(noon).Seconds()))
		case agreement.Terminate:
			got = append(got, "terminate "+c.Reason)
		default:
			d.t.Fatalf("%T", c)
		}
	}
	if !reflect.DeepEqual(got, want) {
		d.t.Fatalf("asked for\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
	}
}

func TestNotesFollowTheGridOfTheApproval(t *testing.T) {
	t.Parallel()
	d := begin(t, "", es.ActorSaga)
	d.create(90, "x")
	for at := 95; at <= 330; at += 5 {
		d.sample(at, "x", fmt.Sprintf("[%d, 0]", at-90))
	}
	// The line at 100 comes too soon after the beginning, so its note waits until
	// 170; the ones of 200 and 300 are as close to their lines as 0.8 intervals allow.
	d.want("note x 9", "note x 17", "note x 25")
	for i, c := range d.commands {
		n := c.(bill.IssueNote)
		if n.Terms.PayerAddr != "0xPayer" || n.Terms.PayeeAddr != "0xaa" || n.Terms.AppSessionID != "s" || n.UsageVector == "" || n.UsageEventID == "" {
			t.Fatalf("%+v", n)
		}
		if i > 0 && n.DebitNoteID == d.commands[i-1].(bill.IssueNote).DebitNoteID {
			t.Fatal("two notes share an id")
		}
	}
}

func TestTheEndIsALastNoteAndOneInvoice(t *testing.T) {
	t.Parallel()
	d := begin(t, "", es.ActorSaga)
	d.create(0, "x")
	d.finalise(10, "x", "[10, 2]")
	d.create(20, "y")
	d.terminate(25)
	d.want("note x 2.1") // y is not over
	d.sample(26, "y", "[5, 0]")
	d.finalise(30, "y", "[10, 0]")
	d.hear(31, "activity-P-y", activity.Terminated{ActivityID: "y"})
	d.want("note x 2.1", "note y 2", "invoice [x y] 4.1 due 86430")
	d.hear(32, "bill-P-"+agr, bill.InvoiceIssued{AgreementID: agr})
	d.terminate(33)
	d.want("note x 2.1", "note y 2", "invoice [x y] 4.1 due 86430")
}

func TestAnAgreementWithoutWorkGetsAnInvoiceOfZero(t *testing.T) {
	t.Parallel()
	d := begin(t, "", es.ActorSaga)
	d.terminate(5)
	d.want("invoice [] 0 due 86405")
}

func TestAnActivityThatNeverRanCostsNothing(t *testing.T) {
	t.Parallel()
	d := begin(t, "", es.ActorSaga)
	d.create(0, "x")
	d.hear(1, "activity-P-x", activity.Terminated{ActivityID: "x"})
	d.terminate(2)
	d.want("invoice [] 0 due 86402") // the requestor may not know of x
}

func TestALostExeUnitIsBilledAsLastMeasured(t *testing.T) {
	t.Parallel()
	d := begin(t, "", es.ActorSaga)
	d.create(0, "x")
	d.sample(10, "x", "[10, 0]")
	d.terminate(11)
	d.hear(12, "activity-P-x", activity.Terminated{ActivityID: "x", Reason: "exe-unit lost"})
	d.finalise(13, "x", "[99, 0]") // too late: the last word was said
	d.want("note x 2", "invoice [x] 2 due 86412")
}

func TestNotesArePayableOnlyAsAgreed(t *testing.T) {
	t.Parallel()
	d := begin(t, `,"golem.com.scheme.payu.payment-timeout-sec?":150`, es.ActorSaga)
	d.create(0, "x")
	for _, at := range []int{100, 200, 300} {
		d.sample(at, "x", fmt.Sprintf("[%d, 0]", at))
	}
	d.finalise(310, "x", "[310, 0]")
	d.terminate(320)
	d.want("note x 11", "note x 21 due 350", "note x 31", "note x 32 due 460", "invoice [x] 32 due 470")
}

func TestUsageThatGoesBackCostsNoLess(t *testing.T) {
	t.Parallel()
	d := begin(t, "", es.ActorSaga)
	d.create(0, "x")
	d.sample(100, "x", "[100, 0]")
	d.sample(200, "x", "[50, 0]")
	d.finalise(210, "x", "nonsense")
	d.terminate(220)
	d.want("note x 11", "note x 11", "note x 11", "invoice [x] 11 due 86620")
}

func TestARejectedNoteEndsTheAgreement(t *testing.T) {
	t.Parallel()
	d := begin(t, "", es.ActorSaga)
	d.hear(9, "bill-P-"+agr, bill.NoteRejectedByPeer{AgreementID: agr, Rejection: `{"rejectionReason":"BAD_SERVICE"}`})
	d.want(`terminate {"golem.provider.code":"DebitNoteRejected","message":"Requestor rejected the debit note: BAD_SERVICE"}`)
}

func TestAnAgentOverRESTBillsByItself(t *testing.T) {
	t.Parallel()
	d := begin(t, "", es.ActorREST)
	d.create(0, "x")
	d.sample(100, "x", "[100, 0]")
	d.finalise(110, "x", "[110, 0]")
	d.terminate(120)
	d.want()
}

func TestTheOtherSideIsNotHeard(t *testing.T) {
	t.Parallel()
	d := begin(t, "", es.ActorSaga)
	d.hear(0, "activity-R-x", activity.Created{ActivityID: "x", AgreementID: agr, Side: identity.Requestor})
	d.hear(1, "usage-R-x", usage.Finalised{ActivityID: "x", Vector: "[9, 9]"})
	d.hear(2, "agreement-R-"+agr, agreement.Terminated{AgreementID: agr, Side: identity.Requestor})
	d.want()
}
