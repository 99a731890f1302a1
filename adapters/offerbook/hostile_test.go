package offerbook_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
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

// lasting is an offer of a certain life.
func lasting(owner identity.NodeID, n int, life time.Duration) peer.Offer {
	o := ofSize(owner, n)
	o.Expires = o.Created.Add(life)
	o.ID = market.SubscriptionID(strings.Repeat("ab", 16), market.Content{
		Properties: o.Properties, Constraints: o.Constraints, Owner: owner, Created: o.Created, Expires: o.Expires,
	})
	return o
}

// A demand or a scan that nobody asks about does not remember what is gone.
func TestCursorsForgetWhatIsGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := offerbook.New(offerbook.Options{})
		a := identity.NodeID("0x" + strings.Repeat("a", 40))
		scan, err := b.Scan("")
		if err != nil {
			t.Fatal(err)
		}
		demand := b.Open("{}", "()", identity.NodeID("0x"+strings.Repeat("b", 40)))
		var last peer.Offer
		for i := range 300 {
			last = lasting(a, i, 1500*time.Millisecond)
			if err := b.Add(last); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		for name, c := range map[string]*offerbook.Cursor{"scan": scan, "demand": demand} {
			if n := c.Pending(); n > 40 {
				t.Errorf("%s: %d are remembered", name, n)
			}
			if got := c.Take(10, nil); len(got) != 1 || got[0].ID != last.ID {
				t.Errorf("%s: %d offers", name, len(got))
			}
		}
	})
}

// A book that is full is not looked through for each stranger.
func TestAFullBookIsSweptNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := offerbook.New(offerbook.Options{MaxOffers: 2})
		a := identity.NodeID("0x" + strings.Repeat("a", 40))
		if err := errors.Join(b.Add(lasting(a, 1, time.Second/2)), b.Add(lasting(a, 2, time.Second/2))); err != nil {
			t.Fatal(err)
		}
		time.Sleep(700 * time.Millisecond)
		if err := b.Add(lasting(a, 3, time.Second)); !errors.Is(err, offerbook.ErrFull) {
			t.Errorf("it was swept a moment ago: %v", err)
		}
		time.Sleep(time.Second / 2)
		if err := b.Add(lasting(a, 3, time.Second)); err != nil {
			t.Errorf("there is room again: %v", err)
		}
	})
}

// An id has one spelling: another one breaks nothing.
func TestAProviderHasOneSpelling(t *testing.T) {
	t.Parallel()
	b := offerbook.New(offerbook.Options{})
	o := ofSize(identity.NodeID("0x"+strings.Repeat("a", 40)), 10)
	for _, id := range []string{"0X" + strings.Repeat("a", 40), "0x" + strings.Repeat("A", 40), "", "0x", strings.Repeat("a", 40)} {
		o.Provider = identity.NodeID(id)
		if err := b.Add(o); !errors.Is(err, market.ErrBadText) {
			t.Errorf("%q: %v", id, err)
		}
	}
}
