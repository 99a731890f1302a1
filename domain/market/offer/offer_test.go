package offer_test

import (
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/es/estest"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	. "github.com/emet-node/emet/domain/market/offer"
)

const owner identity.NodeID = "0x1111111111111111111111111111111111111111"

var (
	noon   = time.Date(2026, 5, 1, 12, 0, 0, 5, time.UTC)
	agent  = identity.Caller{Actor: es.ActorREST, Node: owner, Role: identity.RoleProvider}
	others = []identity.Caller{
		{Actor: es.ActorREST, Node: owner, Role: identity.RoleRequestor},
		{Actor: es.ActorREST, Node: "0x2222222222222222222222222222222222222222", Role: identity.RoleManager},
		{Actor: es.ActorPeer, Node: owner},
	}
)

func publish() Publish {
	c := Publish{
		By: agent, Constraints: "not a constraint", Created: noon, Expires: noon.Add(time.Hour), Preset: "vm",
		Properties: `{"x":0.0}`, Provider: owner, Session: "s",
	}
	c.OfferID = market.SubscriptionID(strings.Repeat("0", 32), market.Content{
		Properties: c.Properties, Constraints: c.Constraints, Owner: owner, Created: c.Created, Expires: c.Expires,
	})
	return c
}

func TestLife(t *testing.T) {
	t.Parallel()
	p := publish()
	live := estest.For(Rules).After(t, p)
	s := live.State()
	if !s.Live(noon) || s.Live(p.Expires) || s.Properties != p.Properties || s.Constraints != p.Constraints || s.Preset != "vm" {
		t.Errorf("%+v", s)
	}
	live.When(p).Refused(t, market.ErrExists)
	live.When(Expire{At: noon}).Then(t)
	live.When(Expire{At: p.Expires}).Then(t, Expired{OfferID: p.OfferID})
	live.When(Withdraw{At: noon, By: agent, Why: "unsubscribed"}).Then(t, Withdrawn{OfferID: p.OfferID, Why: "unsubscribed"})
	for _, c := range []struct {
		out  estest.Outcome[Event]
		kind error
		text string
	}{
		{estest.For(Rules).When(Withdraw{At: noon, By: agent, OfferID: "x"}), market.ErrNoSubscription, "Offer [x] not found."},
		{live.After(t, Withdraw{At: noon, By: agent}).When(Withdraw{At: noon, By: agent}), market.ErrUnsubscribed, "Offer [" + p.OfferID + "] already unsubscribed."},
		{live.When(Withdraw{At: p.Expires, By: agent}), market.ErrExpired, "Can't unsubscribe expired Offer [" + p.OfferID + "]."},
	} {
		c.out.Refused(t, c.kind)
		if c.out.Err.Error() != c.text {
			t.Errorf("%q, want %q", c.out.Err, c.text)
		}
	}
	live.After(t, Withdraw{At: noon, By: agent}).When(Expire{At: p.Expires}).Then(t)
}

func TestOnlyTheOwner(t *testing.T) {
	t.Parallel()
	for _, by := range others {
		p := publish()
		p.By = by
		estest.For(Rules).When(p).Refused(t, identity.ErrForbidden)
		estest.For(Rules).After(t, publish()).When(Withdraw{At: noon, By: by}).Refused(t, identity.ErrForbidden)
	}
}

func TestContentIsChecked(t *testing.T) {
	t.Parallel()
	p := publish()
	p.Properties = `{"x":0}`
	estest.For(Rules).When(p).Refused(t, market.ErrInvalidID)
	p = publish()
	p.Properties = `[]`
	p.OfferID = market.SubscriptionID(strings.Repeat("0", 32), market.Content{
		Properties: p.Properties, Constraints: p.Constraints, Owner: owner, Created: p.Created, Expires: p.Expires,
	})
	estest.For(Rules).When(p).Refused(t, market.ErrBadText)
}
