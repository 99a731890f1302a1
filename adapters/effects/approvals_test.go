package effects_test

import (
	"testing"
	"time"

	netmemory "github.com/emet-node/emet/adapters/net/memory"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
)

// uncommitted is an agreement of which no commit arrives until the network has no
// faults any more.
func uncommitted(p *pair) (id string) {
	k := p.draft()
	p.n.Faults(func(_, _ identity.NodeID, kind string) netmemory.Fault {
		return netmemory.Fault{Refuse: kind == "market.commit"}
	})
	return k.agree(10 * time.Minute)
}

// While commits get lost the provider falls back and approves again: when they
// arrive the agreement holds, and is not left open by both.
func TestACommitThatComesLate(t *testing.T) {
	between(t, func(t *testing.T, p *pair) {
		id := uncommitted(p)
		time.Sleep(32 * time.Second)
		if s := p.bob.agreement(identity.Provider, id); s.Phase != agreement.PhaseApproving {
			t.Errorf("%s: %s", s.Phase, p.bob.types("agreement", "P-"+id))
		}
		p.n.Faults(nil)
		time.Sleep(time.Minute)
		p.phases(id, agreement.PhaseApproved, agreement.PhaseApproved)
		p.settled()
	})
}

// Commits that never arrive free the provider's slot, and the sides agree in
// the end.
func TestACommitThatNeverArrives(t *testing.T) {
	between(t, func(t *testing.T, p *pair) {
		id := uncommitted(p)
		time.Sleep(2 * time.Minute)
		if s := p.bob.agreement(identity.Provider, id); s.Phase != agreement.PhasePending {
			t.Errorf("%s: %s", s.Phase, p.bob.types("agreement", "P-"+id))
		}
		p.n.Faults(nil)
		time.Sleep(10 * time.Minute)
		p.phases(id, agreement.PhaseExpired, agreement.PhaseExpired)
		p.settled()
	})
}

// The provider's node is away when its approval should be committed, as when it
// is killed; the requestor has the approval.
func TestAnApprovalWhoseNodeWasAwayIsSaidAgain(t *testing.T) {
	between(t, func(t *testing.T, p *pair) {
		k := p.draft()
		p.n.Faults(func(_, _ identity.NodeID, kind string) netmemory.Fault {
			return netmemory.Fault{LoseReply: kind == "market.approve", Refuse: kind == "market.commit"}
		})
		id := k.agree(10 * time.Minute)
		time.Sleep(2 * time.Second)
		p.bob.stop()
		p.n.Faults(nil)
		time.Sleep(20 * time.Second)
		p.bob = start(t, p.n, bob, p.b)
		time.Sleep(time.Minute)
		p.phases(id, agreement.PhaseApproved, agreement.PhaseApproved)
		p.settled()
	})
}
