package net

import (
	"context"
	"errors"
	"iter"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/peer"
)

type clumsy struct{ calls int }

func (c *clumsy) HandleCall(context.Context, peer.Caller, peer.Message) (peer.Message, error) {
	c.calls++
	panic("a stranger knows how")
}

func (c *clumsy) HandleStream(context.Context, peer.Caller, peer.Message) iter.Seq2[peer.Message, error] {
	return func(yield func(peer.Message, error) bool) {
		if yield(peer.Ack{}, nil) {
			panic("in the middle")
		}
	}
}

// What a message breaks in its handler is the end of that message only.
func TestAPanicIsARefusal(t *testing.T) {
	t.Parallel()
	h := &clumsy{}
	s := NewServer(h, func(context.Context, peer.Caller, peer.OffersAnnounced) { panic("gossip") }, nil)
	for range 2 {
		_, err := s.Call(t.Context(), peer.Caller{MessageID: "1"}, peer.PaymentSyncNeeded{}.Kind(), []byte("{}"), time.Now().Add(time.Minute))
		if r := new(peer.Refusal); !errors.As(err, &r) || r.Code != peer.Internal {
			t.Errorf("%v", err)
		}
	}
	if h.calls != 2 {
		t.Errorf("%d calls: a broken one is not remembered as answered", h.calls)
	}
	answers, last := 0, error(nil)
	for _, err := range s.Stream(t.Context(), peer.Caller{}, peer.FollowBatch{}.Kind(), []byte("{}")) {
		answers++
		last = err
	}
	if r := new(peer.Refusal); answers != 2 || !errors.As(last, &r) || r.Code != peer.Internal {
		t.Errorf("%d answers, then %v", answers, last)
	}
	s.Announce(t.Context(), peer.Caller{}, peer.OffersAnnounced{})
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the consumer's own panic was hidden")
			}
		}()
		for range s.Stream(t.Context(), peer.Caller{}, peer.FollowBatch{}.Kind(), []byte("{}")) {
			panic("mine")
		}
	}()
}
