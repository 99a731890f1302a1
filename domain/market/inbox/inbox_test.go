package inbox_test

import (
	"testing"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/es/estest"
	"github.com/emet-node/emet/domain/identity"
	. "github.com/emet-node/emet/domain/market/inbox"
)

const owner identity.NodeID = "0x1111111111111111111111111111111111111111"

func deliver(refs ...Ref) Deliver {
	by := identity.Caller{Actor: es.ActorREST, Node: owner, Role: identity.RoleManager}
	return Deliver{By: by, Owner: owner, Refs: refs, Side: identity.Requestor, Subscription: "d"}
}

func TestHandedOutOnce(t *testing.T) {
	t.Parallel()
	match := Ref{Kind: Proposal, ID: "p1", Offer: "o", Negotiation: "n"}
	draft := Ref{Kind: Proposal, ID: "p2", Negotiation: "n"}
	no := Ref{Kind: Rejection, ID: "p2"}
	s := estest.For(Rules)
	s.When(deliver()).Then(t)
	s.When(deliver(match, match, draft)).Then(t, Delivered{Refs: []Ref{match, draft}, Subscription: "d"})
	s = s.After(t, deliver(match, draft))
	s.When(deliver(match, draft)).Then(t)
	s.When(deliver(draft, no)).Then(t, Delivered{Refs: []Ref{no}, Subscription: "d"})
	// The same offer under another id is the same match, until an agreement about it ended.
	again := Ref{Kind: Proposal, ID: "p3", Offer: "o"}
	s.When(deliver(again)).Then(t)
	again.After = "agr"
	s.When(deliver(again)).Then(t, Delivered{Refs: []Ref{again}, Subscription: "d"})
	if st := s.State(); !st.Has(match) || st.Has(no) || st.Len() != 2 {
		t.Errorf("%+v", st)
	}
}

func TestOnlyTheOwner(t *testing.T) {
	t.Parallel()
	d := deliver(Ref{Kind: Proposal, ID: "p"})
	d.By.Node = "0x2222222222222222222222222222222222222222"
	estest.For(Rules).When(d).Refused(t, identity.ErrForbidden)
}

func TestStatesAreNotChangedInPlace(t *testing.T) {
	t.Parallel()
	before := estest.For(Rules).After(t, deliver(Ref{Kind: Proposal, ID: "p"})).State()
	Rules.Evolve(before, Delivered{Refs: []Ref{{Kind: Proposal, ID: "q"}}})
	if before.Len() != 1 {
		t.Error("evolve changed the state it was given")
	}
}
