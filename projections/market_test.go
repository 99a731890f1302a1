package projections_test

import (
	"fmt"
	"testing"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/projections"
)

func TestTheMarketOfADeal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := openMarket(t, w, projections.Memory)
	wholeDeal(t, w)
	ctx := t.Context()

	subs, err := m.Subscriptions(ctx, projections.Demands, alice)
	must(t, err)
	if len(subs) != 1 || subs[0].Properties != `{"x":0.0}` || !subs[0].Created.Equal(noon.Add(1)) {
		t.Errorf("texts and nanoseconds must survive: %+v", subs)
	}
	if _, found, _ := m.Subscription(ctx, bob, "demand-1"); found {
		t.Error("one identity sees the demand of another")
	}
	for _, c := range []struct {
		side   identity.Side
		id     string
		thread string
		owner  identity.NodeID
	}{{r, "aa", "n1", alice}, {p, "bb", "n2", bob}, {r, "cc", "n1", alice}, {p, "cc", "n2", bob}} {
		place, ok, err := m.Proposal(ctx, c.side, c.id)
		if err != nil || !ok || place.Negotiation != c.thread || place.Owner != c.owner {
			t.Errorf("%s-%s: %+v, %v", c.side, c.id, place, err)
		}
	}
	if _, ok, _ := m.Proposal(ctx, p, "aa"); ok {
		t.Error("the requestor's match has no place at the provider")
	}

	list, err := m.Agreements(ctx, projections.AgreementFilter{Owner: alice, State: "Approved"})
	must(t, err)
	if len(list) != 1 || list[0].Side != r || list[0].Session != "s1" || !list[0].Approved.Equal(noon) || list[0].Peer != bob {
		t.Errorf("alice's agreements: %+v", list)
	}
	if list, _ := m.Agreements(ctx, projections.AgreementFilter{Owner: alice, After: noon.Add(1)}); len(list) != 0 {
		t.Errorf("afterDate is exclusive: %+v", list)
	}
	if list, _ := m.Agreements(ctx, projections.AgreementFilter{Owner: alice, After: noon, Before: noon.Add(2)}); len(list) != 1 {
		t.Errorf("between dates: %+v", list)
	}

	w.say("agreement-R-"+deal, agreement.Terminated{AgreementID: deal, Side: r, By: p, Reason: `{"message":"bye","x":1}`, Signature: "sig"})
	events, err := m.AgreementEvents(ctx, projections.AgreementEventFilter{Owner: alice, Session: "s1"})
	must(t, err)
	if len(events) != 2 || events[0].Type != "AgreementApprovedEvent" || events[1].Reason != `{"message":"bye","x":1}` || events[1].Terminator != p {
		t.Errorf("events: %+v", events)
	}
	after, err := m.AgreementEvents(ctx, projections.AgreementEventFilter{Owner: alice, After: events[0].Time})
	must(t, err)
	if len(after) != 1 || after[0].Type != "AgreementTerminatedEvent" {
		t.Errorf("the cursor is exclusive: %+v", after)
	}
	if none, _ := m.AgreementEvents(ctx, projections.AgreementEventFilter{Owner: alice, Session: "s2"}); len(none) != 0 {
		t.Errorf("another session's events: %+v", none)
	}
}

func TestCursorsLoseNothingInABurst(t *testing.T) {
	t.Parallel()
	const n = 2000
	w := newWorld(t)
	m := openMarket(t, w, t.TempDir())
	for i := range n {
		id := fmt.Sprint(i)
		w.say("agreement-R-"+id, agreement.Created{AgreementID: id, Side: r, Terms: terms()}, agreement.Approved{AgreementID: id, Side: r})
	}
	seen := make(map[string]bool)
	f := projections.AgreementEventFilter{Owner: alice, Limit: 7}
	for {
		events, err := m.AgreementEvents(t.Context(), f)
		must(t, err)
		if len(events) == 0 {
			break
		}
		for _, e := range events {
			if seen[e.AgreementID] {
				t.Fatalf("event of %s came twice", e.AgreementID)
			}
			seen[e.AgreementID] = true
		}
		f.After = events[len(events)-1].Time
	}
	if len(seen) != n {
		t.Fatalf("%d of %d events came", len(seen), n)
	}
}

// The provider's approval may be here, and its commit be answered, before the
// answer to our confirmation is.
func TestAnApprovalThatOvertakesTheConfirmation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := openMarket(t, w, projections.Memory)
	rules := agreement.Rules
	var state agreement.State
	for _, step := range []struct {
		fact agreement.Event
		want string
	}{
		{agreement.Created{AgreementID: deal, Side: r, Terms: terms()}, "Proposal"},
		{agreement.ConfirmationRequested{AgreementID: deal, Side: r, Session: "s1"}, "Proposal"},
		{agreement.ApprovalReceived{AgreementID: deal, Side: r, ApprovedAt: noon}, "Pending"},
		{agreement.CommitRequested{AgreementID: deal, Side: r}, "Pending"},
		{agreement.Approved{AgreementID: deal, Side: r}, "Approved"},
		{agreement.Confirmed{AgreementID: deal, Side: r}, "Approved"},
	} {
		w.say("agreement-R-"+deal, step.fact)
		state = rules.Evolve(state, step.fact)
		list, err := m.Agreements(t.Context(), projections.AgreementFilter{Owner: alice})
		must(t, err)
		if list[0].State != step.want || state.Shown() != step.want {
			t.Errorf("after %T the list says %s, the agreement %s, want %s", step.fact, list[0].State, state.Shown(), step.want)
		}
	}
}
