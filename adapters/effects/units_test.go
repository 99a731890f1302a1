package effects_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/adapters/effects/activities"
	netmemory "github.com/emet-node/emet/adapters/net/memory"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/activity/unit"
	"github.com/emet-node/emet/domain/identity"
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

// The provider began a script, its answer got lost, and its daemon comes back
// without reaching the exe-unit yet. It has the script all the same, and a
// refusal would let the requestor run it twice.
func TestAScriptThatWasBegunIsNotRefused(t *testing.T) {
	var away atomic.Bool
	rented(t, forever, func(t *testing.T, p *pair, id string) {
		p.b.sup.AttachError = func(unit.Attachment) error {
			if away.Load() {
				return unit.ErrLost
			}
			return nil
		}
		var asked atomic.Int64
		p.n.Faults(func(_, _ identity.NodeID, kind string) netmemory.Fault {
			return netmemory.Fault{LoseReply: kind == "activity.exec" && asked.Add(1) == 1}
		})
		time.AfterFunc(time.Second, func() {
			away.Store(true)
			p.bob.stop()
			p.bob = start(t, p.n, bob, p.b)
		})
		b, s := p.exec(id, hello)
		if !s.Accepted || asked.Load() < 2 {
			t.Fatalf("asked %d times: %s %s", asked.Load(), s.RefusedCode, s.RefusedWhy)
		}
		away.Store(false)
		p.b.sup.Kill("/units/" + id)
		if s := p.closed(id, b); s.Outcome != batch.Aborted || len(s.Results()) != 3 {
			t.Errorf("%s, %+v", s.Outcome, s.Results())
		}
		p.same(id, b)
	})
}
