package offerbook_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/offerbook"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/peer"
)

func ofSize(owner identity.NodeID, n int) peer.Offer {
	now := time.Now().UTC()
	c := market.Content{Properties: `{"x":"` + strings.Repeat("x", n) + `"}`, Constraints: "()", Owner: owner, Created: now, Expires: now.Add(time.Hour)}
	return peer.Offer{
		ID: market.SubscriptionID(strings.Repeat("ab", 16), c), Properties: c.Properties, Constraints: c.Constraints,
		Provider: owner, Created: c.Created, Expires: c.Expires,
	}
}

func TestTextsHaveABoundTogether(t *testing.T) {
	t.Parallel()
	b := offerbook.New(offerbook.Options{MaxBytes: 50_000, PerIdentity: 1000})
	a := identity.NodeID("0x" + strings.Repeat("a", 40))
	first := ofSize(a, 20_000)
	if err := errors.Join(b.Add(first), b.Add(ofSize(a, 20_001))); err != nil {
		t.Fatal(err)
	}
	if err := b.Add(ofSize(a, 20_002)); !errors.Is(err, offerbook.ErrFull) {
		t.Errorf("60 kB in 50: %v", err)
	}
	if err := errors.Join(b.Remove(first.ID, a), b.Add(ofSize(a, 20_003))); err != nil {
		t.Errorf("what was taken back makes room: %v", err)
	}
}

// What a stranger says about an offer neither hides it nor brings it back.
func TestMarksAreOfTheirOwner(t *testing.T) {
	t.Parallel()
	b := offerbook.New(offerbook.Options{})
	owner, other := identity.NodeID("0x"+strings.Repeat("a", 40)), identity.NodeID("0x"+strings.Repeat("b", 40))
	o := ofSize(owner, 10)
	if err := errors.Join(b.Remove(o.ID, other), b.Add(o), b.Remove(o.ID, owner)); err != nil {
		t.Fatal(err)
	}
	_ = b.Remove(o.ID, other)
	if err := b.Add(o); !errors.Is(err, offerbook.ErrWithdrawn) {
		t.Errorf("a withdrawn offer came back: %v", err)
	}
	if err := b.Remove(strings.Repeat("z", 10_000), other); err == nil {
		t.Error("a mark is set for what is no id")
	}
}
