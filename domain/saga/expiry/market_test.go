package expiry_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/offer"
	"github.com/emet-node/emet/domain/saga/expiry"
)

// due hears facts of streams and names what is due, in order.
func due(facts ...any) (out []string) {
	b := &expiry.Book{}
	for i := 0; i < len(facts); i += 2 {
		r := es.Recorded{Data: facts[i+1]}
		r.Stream, r.Position, r.Recorded = es.Stream(facts[i].(string)), es.Position(i), at(i)
		b.Hear(r)
	}
	for d, ok := b.Next(); ok; d, ok = b.Next() {
		out = append(out, fmt.Sprintf("%s %.0fs", d.Name, d.At.Sub(noon).Seconds()))
		b.Passed(d)
	}
	return out
}

func wantDue(t *testing.T, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("due %v, want %v", got, want)
	}
}

func received() agreement.Received {
	return agreement.Received{AgreementID: "a", Side: identity.Provider, Terms: agreement.Terms{ValidTo: at(60)}}
}

func approving() agreement.ApprovalRequested {
	return agreement.ApprovalRequested{AgreementID: "a", Deadline: at(10), Side: identity.Provider}
}

func TestOffersEndAndOwnOnesAreRefreshedBefore(t *testing.T) {
	t.Parallel()
	own := offer.Published{OfferID: "x", Created: noon, Expires: at(90), Preset: "p"}
	wantDue(t, due("offer-x", own), "refresh/x 60s", "offer/x 90s")
	wantDue(t, due("offer-x", own, "offer-x", offer.Withdrawn{OfferID: "x"}))
	wantDue(t, due("offer-y", offer.Published{OfferID: "y", Expires: at(5)}, "offer-x", own), "offer/y 5s", "refresh/x 60s", "offer/x 90s")
}

func TestAnApprovalIsTakenBackAtItsDeadline(t *testing.T) {
	t.Parallel()
	wantDue(t, due("agreement-P-a", received(), "agreement-P-a", approving()), "commit/P-a 10s", "validTo/P-a 60s")
	wantDue(t, due("agreement-P-a", received(), "agreement-P-a", approving(), "agreement-P-a", agreement.ApprovalFailed{AgreementID: "a", Side: "P"}), "validTo/P-a 60s")
	wantDue(t, due("agreement-P-a", received(), "agreement-P-a", approving(), "agreement-P-a", agreement.Approved{AgreementID: "a", Side: "P"}))
}

// The rules keep silent at the deadline while the approval is under way: it is
// due again when the approval has arrived.
func TestADeadlineThatPassedTooEarlyComesAgain(t *testing.T) {
	t.Parallel()
	b := &expiry.Book{}
	for i, fact := range []any{received(), approving()} {
		r := es.Recorded{Data: fact}
		r.Stream, r.Recorded = "agreement-P-a", at(i)
		b.Hear(r)
	}
	first, _ := b.Next()
	b.Passed(first)
	r := es.Recorded{Data: agreement.ApprovalDelivered{AgreementID: "a", Side: identity.Provider}}
	r.Stream, r.Recorded = "agreement-P-a", at(11)
	b.Hear(r)
	again, _ := b.Next()
	if again.Name != first.Name || !again.At.Equal(at(10)) {
		t.Fatalf("%s at %s", again.Name, again.At)
	}
	if c, ok := again.Order(at(11)).Command.(agreement.TimeoutApproval); !ok || !c.At.Equal(at(11)) {
		t.Errorf("%+v", c)
	}
}

func TestALostCommitLetsTheAgreementExpire(t *testing.T) {
	t.Parallel()
	created := agreement.Created{AgreementID: "a", Side: identity.Requestor, Terms: agreement.Terms{ValidTo: at(60)}}
	b := &expiry.Book{}
	hear := func(fact any) {
		r := es.Recorded{Data: fact}
		r.Stream = "agreement-R-a"
		b.Hear(r)
	}
	hear(created)
	d, _ := b.Next()
	b.Passed(d) // silent: the commit was open
	hear(agreement.CommitFailed{AgreementID: "a", Side: identity.Requestor, Failure: market.Failure{Code: market.Timeout}})
	if d, ok := b.Next(); !ok || !d.At.Equal(noon.Add(time.Minute)) {
		t.Errorf("%+v", d)
	}
}
