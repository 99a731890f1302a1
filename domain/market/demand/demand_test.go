package demand_test

import (
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/es/estest"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	. "github.com/emet-node/emet/domain/market/demand"
)

const owner identity.NodeID = "0x1111111111111111111111111111111111111111"

var (
	noon   = time.Date(2026, 5, 1, 12, 0, 0, 5, time.UTC)
	client = identity.Caller{Actor: es.ActorREST, Node: owner, Role: identity.RoleRequestor}
	other  = identity.Caller{Actor: es.ActorREST, Node: "0x2222222222222222222222222222222222222222", Role: identity.RoleManager}
)

func publish(by identity.Caller) Publish {
	c := Publish{By: by, Constraints: "()", Created: noon, Expires: noon.Add(time.Hour), Properties: `{}`, Requestor: owner}
	c.DemandID = market.SubscriptionID(strings.Repeat("0", 32), market.Content{
		Properties: c.Properties, Constraints: c.Constraints, Owner: owner, Created: c.Created, Expires: c.Expires,
	})
	return c
}

func TestLife(t *testing.T) {
	t.Parallel()
	p := publish(client)
	live := estest.For(Rules).After(t, p)
	if s := live.State(); !s.Live(noon) || s.Live(p.Expires) || s.Requestor != owner {
		t.Errorf("%+v", s)
	}
	live.When(Withdraw{At: noon, By: client, Why: "w"}).Then(t, Withdrawn{DemandID: p.DemandID, Why: "w"})
	live.When(Expire{At: p.Expires}).Then(t, Expired{DemandID: p.DemandID})
	live.When(Expire{At: noon}).Then(t)
	live.When(p).Refused(t, market.ErrExists)
	estest.For(Rules).When(publish(other)).Refused(t, identity.ErrForbidden)
}

// Of demands that are gone or another's a client sees nothing.
func TestGoneIsNotFound(t *testing.T) {
	t.Parallel()
	p := publish(client)
	live := estest.For(Rules).After(t, p)
	for _, out := range []estest.Outcome[Event]{
		estest.For(Rules).When(Withdraw{At: noon, By: client, DemandID: p.DemandID}),
		live.After(t, Withdraw{At: noon, By: client}).When(Withdraw{At: noon, By: client, DemandID: p.DemandID}),
		live.When(Withdraw{At: noon, By: other, DemandID: p.DemandID}),
		live.When(Withdraw{At: p.Expires, By: client, DemandID: p.DemandID}),
	} {
		out.Refused(t, market.ErrNoSubscription)
		if want := "Demand [" + p.DemandID + "] not found."; out.Err.Error() != want {
			t.Error(out.Err)
		}
	}
}
