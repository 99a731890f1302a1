package negotiator_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/offer"
	"github.com/emet-node/emet/domain/peer"
	"github.com/emet-node/emet/domain/provider"
	"github.com/emet-node/emet/domain/provider/agent"
	"github.com/emet-node/emet/domain/saga/negotiator"
)

const buyer identity.NodeID = "0x1111111111111111111111111111111111111111"

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// desk is a provider's negotiator that has an offer on the market.
type desk struct {
	p  es.Process
	at es.Position
}

func open() *desk {
	d := &desk{p: negotiator.Saga.Start()}
	d.hear(noon, offer.Published{OfferID: "o", Preset: "default"})
	return d
}

// hear returns what is ordered about agreements.
func (d *desk) hear(at time.Time, fact any) (out []agreement.Command) {
	d.at++
	r := es.Recorded{Event: es.Event{Position: d.at, Recorded: at}, Data: fact, Info: es.Meta{Identity: "p"}}
	for _, c := range d.p.Hear(r) {
		if c.Category == agreement.Category {
			out = append(out, c.Command.(agreement.Command))
		}
	}
	return out
}

// received is an agreement that was negotiated to the end.
func received(t *testing.T) agreement.Received {
	t.Helper()
	demand := fmt.Sprintf(`{"golem.com.payment.chosen-platform":"erc20-hoodi-tglm","golem.srv.comp.expiration":%d}`, noon.Add(20*time.Minute).UnixMilli())
	d, err := provider.Negotiate(provider.Input{Demand: demand, Now: noon, Offer: "{}", Requestor: buyer})
	if err != nil || d.Outcome != provider.Counter {
		t.Fatalf("%+v %v", d, err)
	}
	return agreement.Received{AgreementID: "a", Side: identity.Provider, Terms: agreement.Terms{
		DemandProperties: demand, OfferID: "o", OfferProperties: d.Offer, Requestor: buyer, ValidTo: noon.Add(time.Hour),
	}}
}

func failed(code string) agreement.ApprovalFailed {
	return agreement.ApprovalFailed{AgreementID: "a", Side: identity.Provider, Failure: market.Failure{Code: code}}
}

// An approval whose answer got lost leaves both sides with an agreement that
// neither ends: it is said again.
func TestAnApprovalInVainIsSaidAgain(t *testing.T) {
	t.Parallel()
	d := open()
	at, within := noon, negotiator.ApproveWithin
	got := d.hear(at, received(t))
	for n := range negotiator.Approvals {
		if len(got) != 1 {
			t.Fatalf("time %d: %+v", n, got)
		}
		if a, ok := got[0].(agreement.Approve); !ok || !a.At.Equal(at) || a.Deadline.Sub(at) != within {
			t.Fatalf("time %d: %+v, want an approval of %v", n, got[0], within)
		}
		at, within = at.Add(within), 2*within
		got = d.hear(at, failed([]string{market.Timeout, market.NoAnswer, market.Unreachable}[n]))
	}
	if len(got) != 0 {
		t.Errorf("at last: %+v", got)
	}
	if more := d.hear(at, failed(market.Timeout)); len(more) != 0 {
		t.Errorf("after that: %+v", more)
	}
}

func TestWhoIsNotWantedAnyMoreDoesNotApproveAgain(t *testing.T) {
	t.Parallel()
	for _, code := range []string{string(peer.InvalidState), string(peer.NotFound), string(peer.Expired), market.Superseded} {
		d := open()
		d.hear(noon, received(t))
		if got := d.hear(noon, failed(code)); len(got) != 0 {
			t.Errorf("%s: %+v", code, got)
		}
	}
	d := open()
	d.hear(noon, received(t))
	d.hear(noon, agreement.Approved{AgreementID: "a", Side: identity.Provider})
	if got := d.hear(noon, failed(market.Timeout)); len(got) != 0 {
		t.Errorf("it is committed: %+v", got)
	}
}

// A provider that its operator closes makes no agreement any more, however far
// its negotiation got; those that it has go on.
func TestAClosedProviderMakesNoNewAgreement(t *testing.T) {
	t.Parallel()
	for _, closes := range []any{agent.Draining{Provider: "p"}, agent.Disabled{Provider: "p"}, agent.Paused{Provider: "p"}} {
		d := open()
		d.hear(noon, agent.Enabled{Provider: "p"})
		d.hear(noon, closes)
		got := d.hear(noon, received(t))
		if len(got) != 1 {
			t.Fatalf("%T: %+v", closes, got)
		}
		if r, ok := got[0].(agreement.Reject); !ok || strings.Contains(r.Reason, "true") {
			t.Errorf("%T: %+v, want a rejection that is not final", closes, got[0])
		}
		d.hear(noon, agent.Enabled{Provider: "p"})
		again := received(t)
		again.AgreementID = "b"
		if got = d.hear(noon, again); len(got) != 1 {
			t.Fatalf("it is open again: %+v", got)
		}
		if _, ok := got[0].(agreement.Approve); !ok {
			t.Errorf("it is open again: %+v", got[0])
		}
		d.hear(noon, closes)
		lost := failed(market.Timeout)
		lost.AgreementID = "b"
		if got = d.hear(noon, lost); len(got) != 1 {
			t.Errorf("%T: what was approved before is approved no more: %+v", closes, got)
		}
	}
}

// An agreement that somebody else approves, over REST, is that one's business.
func TestApprovalsOfAgentsAreTheirs(t *testing.T) {
	t.Parallel()
	d := &desk{p: negotiator.Saga.Start()}
	if got := append(d.hear(noon, received(t)), d.hear(noon, failed(market.Timeout))...); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}
