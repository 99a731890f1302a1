package markets

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/adapters/net"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

func said(n, bytes int) peer.Caller {
	return peer.Caller{Node: identity.NodeID(fmt.Sprintf("0x%040x", n)), Via: "libp2p", Raw: make([]byte, bytes)}
}

func took(_, ok bool) bool { return ok }

// What came to nothing the second time is open since the first.
func TestASecondTryGivesNothingBack(t *testing.T) {
	t.Parallel()
	s := &slots{per: 1, all: 10}
	open := func(string) bool { return false }
	if _, err := s.enter("a", "1", "full", open); err != nil {
		t.Fatal(err)
	}
	undo, err := s.enter("a", "1", "full", open)
	if err != nil {
		t.Fatal(err)
	}
	undo()
	if _, err := s.enter("a", "2", "full", open); err == nil {
		t.Error("there is room for a second one")
	}
	undo, _ = s.enter("b", "1", "full", open)
	undo()
	if s.n != 1 {
		t.Errorf("%d are counted", s.n)
	}
}

// Who comes when all is full does not have everything looked at each time.
func TestAllIsLookedAtNowAndThen(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, looks := &slots{per: 1, all: 100}, 0
		for i := range 1000 {
			s.take(identity.NodeID(fmt.Sprint(i)), "1", func(string) bool { looks++; return false })
		}
		if looks != 100 {
			t.Errorf("%d looks for 900 strangers", looks)
		}
		time.Sleep(sweepEvery)
		if !took(s.take("late", "1", func(string) bool { return true })) {
			t.Error("what is over is not found")
		}
	})
}

func TestOffersFitIntoAnAnswer(t *testing.T) {
	t.Parallel()
	many := make([]peer.Offer, 50)
	for i := range many {
		many[i] = peer.Offer{ID: fmt.Sprint(i), Properties: strings.Repeat(`"`, 60<<10)} // each becomes two
	}
	got := fitting(many)
	if b, err := net.Encode(peer.Offers{Offers: got}); err != nil || len(got) == 0 {
		t.Errorf("%d offers in %d bytes: %v", len(got), len(b), err)
	}
	if got := fitting(many[:1]); len(got) != 1 {
		t.Error("one is left out")
	}
}

// How much is taken before a no, with the default limits.
func TestEveryLimitHolds(t *testing.T) {
	t.Parallel()
	open := func(string) bool { return false }
	for _, c := range []struct {
		name      string
		take      func(l *Limits, i int) bool
		want, day int // taken at once; taken more after a day
	}{
		{"proposals of one node", func(l *Limits, _ int) bool { return l.proposal(said(1, 10)) == nil }, 60, 60},
		{"large proposals of one node", func(l *Limits, _ int) bool { return l.proposal(said(1, 64<<10)) == nil }, 8, 8},
		{"large proposals of many nodes", func(l *Limits, i int) bool { return l.proposal(said(i, 64<<10)) == nil }, 512, 512},
		{"announced offers of one node", func(l *Limits, _ int) bool { return l.announce(said(1, 10), 1) == 1 }, 640, 640},
		{"open negotiations of one node", func(l *Limits, i int) bool { l.free(said(1, 1)); return took(l.open.take("1", fmt.Sprint(i), open)) }, 200, 0},
		{"open negotiations", func(l *Limits, i int) bool {
			l.free(said(1, 1))
			return took(l.open.take(said(i, 1).Node, fmt.Sprint(i), open))
		}, 5000, 0},
		{"pending agreements of one node", func(l *Limits, i int) bool { l.free(said(1, 1)); return took(l.pending.take("1", fmt.Sprint(i), open)) }, 16, 0},
		{"pending agreements", func(l *Limits, i int) bool {
			l.free(said(1, 1))
			return took(l.pending.take(said(i, 1).Node, fmt.Sprint(i), open))
		}, 256, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := &Limits{}
				next := 0
				count := func() (n int) {
					for range 6000 {
						if next++; c.take(l, next) {
							n++
						}
					}
					return n
				}
				if got := count(); got != c.want {
					t.Errorf("%d at once, want %d", got, c.want)
				}
				time.Sleep(24 * time.Hour)
				if got := count(); got != c.day {
					t.Errorf("%d after a day, want %d", got, c.day)
				}
			})
		})
	}
}

func TestLimitsKnowWhomTheyAreFor(t *testing.T) {
	t.Parallel()
	l, none := &Limits{ProposalBurst: 1}, (*Limits)(nil)
	own := said(1, 10)
	own.Via = "local"
	for range 100 {
		if none.proposal(said(1, 10)) != nil || l.proposal(own) != nil || none.announce(said(1, 1), 1000) != 1000 {
			t.Fatal("no limits, and own identities, are limited")
		}
	}
	if l.proposal(said(1, 10)) != nil {
		t.Fatal("the first is refused")
	}
	err := l.proposal(said(1, 10))
	if r, ok := effects.RefusalOf(err); !ok || r.Code != peer.Busy || r.RetryAfter <= 0 {
		t.Errorf("%v", err)
	}
	if l.proposal(said(2, 10)) != nil {
		t.Error("another pays for it")
	}
	l.agreed(said(1, 10))
	if err := l.proposal(said(1, 10)); err != nil {
		t.Errorf("after an agreement: %v", err)
	}
	first, ok := l.open.take("a", "1", func(string) bool { return true })
	second, still := l.open.take("a", "1", nil)
	if !first || !ok || second || !still {
		t.Error("the same is counted twice")
	}
	l.open.give("a", "1")
	if l.open.n != 0 || len(l.open.by) != 0 {
		t.Errorf("%d remain", l.open.n)
	}
}
