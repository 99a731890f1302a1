package effects_test

import (
	"testing"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/adapters/effects/activities"
	"github.com/emet-node/emet/domain/peer"
)

// A machine that carries as many activities as it is meant to says so.
func TestNoMoreActivitiesLiveThanMay(t *testing.T) {
	between(t, func(t *testing.T, p *pair) {
		p.bob.units.MaxAlive = 1
		agreement := p.deal()
		first, second := p.create(agreement), unique()
		defer p.b.sup.Kill("/units/" + first)
		ask := peer.CreateActivity{AgreementID: agreement, RequestID: second, TimeoutMS: 1000}
		create := (&activities.Inbound{Units: p.bob.units, AliveOf: p.bob.aliveOf}).Answers().Calls[ask.Kind()]
		from := peer.Caller{Node: alice, To: bob, Via: "memory"}
		_, err := create(t.Context(), from, ask)
		if no, ok := effects.RefusalOf(err); !ok || no.Code != peer.Busy || no.RetryAfter == 0 {
			t.Fatalf("one too many: %v", err)
		}
		ask.RequestID = first // it lives already: that is no other one
		if _, err := create(t.Context(), from, ask); err != nil {
			t.Errorf("the one that lives: %v", err)
		}
		if used, most, refused := p.bob.units.Limit(t.Context()); used != 1 || most != 1 || refused != 1 {
			t.Errorf("%d of %d, %d refused", used, most, refused)
		}
	})
}
