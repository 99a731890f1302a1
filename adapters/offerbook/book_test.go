package offerbook

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/peer"
)

const (
	me    identity.NodeID = "0x1111111111111111111111111111111111111111"
	other identity.NodeID = "0x2222222222222222222222222222222222222222"
	good                  = `"golem.com.pricing.model":"linear","golem.com.pricing.model.linear.coeffs":[0.0,1.0],"golem.com.usage.vector":["t"]`
)

// offer makes the n-th offer of an owner; its id is right.
func offer(n int, owner identity.NodeID, properties, constraints string) peer.Offer {
	now := time.Now()
	return withID(n, peer.Offer{Properties: "{" + properties + "}", Constraints: constraints, Provider: owner, Created: now, Expires: now.Add(time.Hour)})
}

func withID(n int, o peer.Offer) peer.Offer {
	o.ID = market.SubscriptionID(fmt.Sprintf("%032x", n), market.Content{
		Properties: o.Properties, Constraints: o.Constraints, Owner: o.Provider, Created: o.Created, Expires: o.Expires,
	})
	return o
}

func node(n int) identity.NodeID { return identity.NodeID(fmt.Sprintf("0x%040x", n+1000)) }

func ids(offers []peer.Offer) []string {
	var out []string
	for _, o := range offers {
		out = append(out, o.ID)
	}
	return out
}

func add(t *testing.T, b *Book, o peer.Offer) peer.Offer {
	t.Helper()
	if err := b.Add(o); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestWhatIsNotTaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{PerIdentity: 2, MaxOffers: 4})
		now := time.Now()
		first := add(t, b, offer(1, other, good, "()"))
		change := func(n int, f func(*peer.Offer)) peer.Offer {
			o := offer(n, other, good, "()")
			f(&o)
			return withID(n, o)
		}
		forged := offer(2, other, good, "()")
		forged.Properties = `{}`
		for name, c := range map[string]struct {
			o    peer.Offer
			want error
		}{
			"known":       {first, ErrKnown},
			"hash":        {forged, market.ErrInvalidID},
			"expired":     {change(3, func(o *peer.Offer) { o.Expires = now }), ErrExpired},
			"long":        {change(4, func(o *peer.Offer) { o.Expires = now.Add(25 * time.Hour) }), ErrTooLong},
			"future":      {change(5, func(o *peer.Offer) { o.Created = now.Add(6 * time.Minute) }), ErrTooLong},
			"constraints": {offer(6, other, good, "nonsense"), market.ErrBadText},
			"properties":  {change(7, func(o *peer.Offer) { o.Properties = "[]" }), market.ErrBadText},
			"large":       {offer(8, other, `"x":"`+strings.Repeat("x", market.MaxTextBytes)+`"`, "()"), market.ErrBadText},
			"node":        {peer.Offer{Provider: "me", Expires: now.Add(time.Hour), Created: now}, market.ErrBadText},
		} {
			if err := b.Add(c.o); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
		add(t, b, offer(10, other, good, "()"))
		if err := b.Add(offer(11, other, good, "()")); !errors.Is(err, ErrQuota) {
			t.Error(err)
		}
		add(t, b, offer(12, node(1), good, "()"))
		add(t, b, offer(13, node(2), good, "()"))
		if err := b.Add(offer(14, node(3), good, "()")); !errors.Is(err, ErrFull) {
			t.Error(err)
		}
		if err := b.AddOwn(offer(15, me, good, "()")); err != nil {
			t.Error("an own offer has no quota:", err)
		}
		time.Sleep(2 * time.Hour)
		add(t, b, offer(16, other, good, "()")) // all before are over
		if n := len(b.All()); n != 1 {
			t.Errorf("%d offers live", n)
		}
	})
}

func TestOnlyTheOwnerTakesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{})
		o := add(t, b, offer(1, other, good, "()"))
		if err := b.Remove(o.ID, node(1)); !errors.Is(err, ErrNotOwner) {
			t.Error(err)
		}
		if err := b.Remove(o.ID, other); err != nil || len(b.All()) != 0 {
			t.Error(err, b.All())
		}
		if err := b.Add(o); !errors.Is(err, ErrWithdrawn) {
			t.Error("late gossip brought it back:", err)
		}
		// What is not known yet leaves a mark; a stranger's mark does not hold.
		late, wronged := offer(2, other, good, "()"), offer(3, other, good, "()")
		_ = b.Remove(late.ID, other)
		_ = b.Remove(wronged.ID, node(1))
		if err := b.Add(late); !errors.Is(err, ErrWithdrawn) {
			t.Error(err)
		}
		add(t, b, wronged)
		digest := func(o peer.Offer) peer.OfferDigest {
			return peer.OfferDigest{ID: o.ID, Provider: o.Provider, Expires: o.Expires}
		}
		fresh := offer(4, other, good, "()")
		if got := b.Missing([]peer.OfferDigest{digest(o), digest(late), digest(wronged), digest(fresh), digest(fresh)}); !slices.Equal(got, []string{fresh.ID}) {
			t.Errorf("%q", got)
		}
	})
}

func TestOwnOffersAreSafeFromOutside(t *testing.T) {
	t.Parallel()
	b := New(Options{})
	mine := offer(1, me, good, "()")
	if err := errors.Join(b.AddOwn(mine), b.AddOwn(mine)); err != nil {
		t.Fatal(err)
	}
	if err := b.Remove(mine.ID, other); !errors.Is(err, ErrNotOwner) || len(b.Own()) != 1 {
		t.Error(err)
	}
	if err := b.Add(offer(2, me, good, "()")); !errors.Is(err, ErrForged) {
		t.Error(err)
	}
	if err := b.AddOwn(offer(3, me, good, "nonsense")); err != nil {
		t.Error("an own offer that cannot match is still an offer:", err)
	}
}

func TestMatching(t *testing.T) {
	t.Parallel()
	b := New(Options{Rand: rand.New(rand.NewPCG(1, 2))})
	yes := add(t, b, offer(1, other, good+`,"m":2`, "(d=1)"))
	add(t, b, offer(2, other, good+`,"m":1`, "(d=1)"))
	add(t, b, offer(3, other, good+`,"m":2`, "(d=2)"))
	add(t, b, offer(4, me, good+`,"m":2`, "(d=1)")) // of the same node
	c := b.Open(`{"d":1}`, "(m>1)", me)
	defer c.Close()
	if got := ids(c.Take(10, nil)); !slices.Equal(got, []string{yes.ID}) {
		t.Errorf("%q", got)
	}
	if got := c.Take(10, nil); len(got) != 0 {
		t.Errorf("handed out twice: %q", ids(got))
	}
	c.Return(yes.ID, yes.ID, "gone")
	if got := c.Take(10, nil); len(got) != 1 {
		t.Errorf("%q", ids(got))
	}
	c.Return(yes.ID)
	if got := c.Take(10, func(id string) bool { return id == yes.ID }); len(got) != 0 {
		t.Errorf("%q", ids(got))
	}
	bad := b.Open(`{"d":1}`, "nonsense", me)
	defer bad.Close()
	if got := bad.Take(10, nil); len(got) != 0 {
		t.Errorf("%q", ids(got))
	}
}

func TestMalformedOffersAreQuarantined(t *testing.T) {
	t.Parallel()
	for n, p := range []string{
		`"golem.com.pricing.model":"linear"`,
		strings.Replace(good, `["t"]`, `[]`, 1),
		strings.Replace(good, `["t"]`, `"t"`, 1),
		strings.Replace(good, `[0.0,1.0]`, `[0.0]`, 1),
		strings.Replace(good, `[0.0,1.0]`, `[0.0,"x"]`, 1),
		strings.Replace(good, `[0.0,1.0]`, `[0.0,1.0,2.0]`, 1),
	} {
		b := New(Options{})
		add(t, b, offer(n, other, p, "()"))
		linear := b.Open(`{}`, "(&(golem.com.pricing.model=linear))", me)
		any := b.Open(`{}`, "(golem.com.pricing.model=*)", me)
		if got := len(linear.Take(9, nil)); got != 0 {
			t.Errorf("%s was handed out", p)
		}
		if got := len(any.Take(9, nil)); got != 1 {
			t.Errorf("%s: %d", p, got)
		}
		if q := b.Quarantine(); len(q) != 1 || q[0].Provider != other || q[0].Why == "" {
			t.Errorf("%+v", q)
		}
	}
}

func TestPollWakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := New(Options{})
		c := b.Open(`{}`, "(x=1)", me)
		defer c.Close()
		woken := make(chan []string)
		go func() {
			<-c.Wake()
			woken <- ids(c.Take(10, nil))
		}()
		add(t, b, offer(1, other, good+`,"x":2`, "()"))
		synctest.Wait()
		select {
		case got := <-woken:
			t.Fatalf("woken for %q", got)
		default:
		}
		o := add(t, b, offer(2, other, good+`,"x":1`, "()"))
		if got := <-woken; !slices.Equal(got, []string{o.ID}) {
			t.Errorf("%q", got)
		}
	})
}

func TestOrder(t *testing.T) {
	t.Parallel()
	b := New(Options{Rand: rand.New(rand.NewPCG(1, 2))})
	var came []string
	for n := range 50 {
		came = append(came, add(t, b, offer(n, node(n), good, "()")).ID)
	}
	c := b.Open(`{}`, "()", me)
	defer c.Close()
	var got []string
	for range 5 {
		got = append(got, ids(c.Take(10, nil))...)
	}
	if slices.Equal(got, came) {
		t.Error("handed out in the order they came")
	}
	slices.Sort(got)
	slices.Sort(came)
	if !slices.Equal(got, came) {
		t.Errorf("%d of %d, or some twice", len(got), len(came))
	}
}

func TestScan(t *testing.T) {
	t.Parallel()
	b := New(Options{})
	one := add(t, b, offer(1, other, `"x":1`, "(never=1)"))
	two := add(t, b, offer(2, me, `"x":1`, "()"))
	add(t, b, offer(3, me, `"x":2`, "()"))
	c, err := b.Scan("(x=1)")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := ids(c.Take(10, nil)); !slices.Equal(got, []string{one.ID, two.ID}) {
		t.Errorf("%q", got)
	}
	if _, err := b.Scan("x"); err == nil || !strings.HasPrefix(err.Error(), "Invalid constraint. ") {
		t.Error(err)
	}
	all, err := b.Scan("")
	if err != nil || len(all.Take(10, nil)) != 3 {
		t.Error(err)
	}
}

func TestSnapshot(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "offers", "book.jsonl")
		b := New(Options{File: file})
		kept, gone := add(t, b, offer(1, other, good+`,"n":0.0`, "()")), add(t, b, offer(2, other, good, "()"))
		if err := errors.Join(b.AddOwn(offer(3, me, good, "()")), b.Remove(gone.ID, other), b.Save()); err != nil {
			t.Fatal(err)
		}
		again := New(Options{File: file})
		if got := again.All(); len(got) != 1 || got[0].ID != kept.ID || got[0].Properties != kept.Properties {
			t.Errorf("%+v", got)
		}
		if err := again.Add(gone); !errors.Is(err, ErrWithdrawn) {
			t.Error(err)
		}
		time.Sleep(2 * time.Hour)
		if got := New(Options{File: file}).All(); len(got) != 0 {
			t.Errorf("%+v", got)
		}
		if err := os.WriteFile(file, []byte("{broken"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := New(Options{File: file}).All(); len(got) != 0 {
			t.Errorf("%+v", got)
		}
	})
}

func TestGetIsBounded(t *testing.T) {
	t.Parallel()
	b := New(Options{})
	o := add(t, b, offer(1, other, good, "()"))
	ask := append(make([]string, 200), o.ID)
	if got := b.Get(ask); len(got) != 0 {
		t.Errorf("looked at %d ids", len(ask))
	}
	if got := b.Get([]string{o.ID, "x"}); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}

// A demand does not match offers of its own identity; those of another identity
// of the same node it does.
func TestTwoIdentitiesOfANodeMayDeal(t *testing.T) {
	t.Parallel()
	b := New(Options{})
	mine, its := offer(1, me, good, "()"), offer(2, other, good, "()")
	if err := errors.Join(b.AddOwn(mine), b.AddOwn(its)); err != nil {
		t.Fatal(err)
	}
	c := b.Open("{}", "()", me)
	defer c.Close()
	if got := ids(c.Take(10, nil)); !slices.Equal(got, []string{its.ID}) {
		t.Errorf("%q", got)
	}
}
