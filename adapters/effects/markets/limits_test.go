package markets

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

func said(n, bytes int) peer.Caller {
	return peer.Caller{Node: identity.NodeID(fmt.Sprintf("0x%040x", n)), Via: "libp2p", Raw: make([]byte, bytes)}
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
		{"open negotiations of one node", func(l *Limits, i int) bool { l.free(said(1, 1)); return l.open.take("1", fmt.Sprint(i), open) }, 200, 0},
		{"open negotiations", func(l *Limits, i int) bool {
			l.free(said(1, 1))
			return l.open.take(said(i, 1).Node, fmt.Sprint(i), open)
		}, 5000, 0},
		{"pending agreements of one node", func(l *Limits, i int) bool { l.free(said(1, 1)); return l.pending.take("1", fmt.Sprint(i), open) }, 16, 0},
		{"pending agreements", func(l *Limits, i int) bool {
			l.free(said(1, 1))
			return l.pending.take(said(i, 1).Node, fmt.Sprint(i), open)
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
	if !l.open.take("a", "1", func(string) bool { return true }) || !l.open.take("a", "1", nil) {
		t.Error("the same is counted twice")
	}
	l.open.give("a", "1")
	if l.open.n != 0 || len(l.open.by) != 0 {
		t.Errorf("%d remain", l.open.n)
	}
}
