package esdb_test

import (
	"cmp"
	"context"
	"fmt"
	"testing"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/emet-node/emet/api/esdb"
	"github.com/emet-node/emet/domain/es"
)

// follower is a subscription whose messages are asked for one by one.
type follower struct {
	t   testing.TB
	sub *client.Subscription
	in  chan *client.SubscriptionEvent
}

func follow(t testing.TB, sub *client.Subscription, err error) *follower {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	f := &follower{t: t, sub: sub, in: make(chan *client.SubscriptionEvent)}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); _ = sub.Close() })
	go func() {
		for {
			m := sub.Recv()
			select {
			case f.in <- m:
			case <-ctx.Done():
				return
			}
			if m.SubscriptionDropped != nil {
				return
			}
		}
	}()
	return f
}

func (f *follower) next() *client.SubscriptionEvent {
	f.t.Helper()
	select {
	case m := <-f.in:
		if m.SubscriptionDropped != nil {
			f.t.Fatalf("dropped: %v", m.SubscriptionDropped.Error)
		}
		return m
	case <-time.After(patience):
		f.t.Fatal("nothing comes")
		return nil
	}
}

// untilLive returns the events before the word that this was all.
func (f *follower) untilLive() []*client.RecordedEvent {
	f.t.Helper()
	var out []*client.RecordedEvent
	for {
		m := f.next()
		switch {
		case m.EventAppeared != nil:
			out = append(out, m.EventAppeared.OriginalEvent())
		case m.CaughtUp != nil:
			return out
		}
	}
}

func (f *follower) event() []*client.RecordedEvent {
	f.t.Helper()
	for {
		if m := f.next(); m.EventAppeared != nil {
			return []*client.RecordedEvent{m.EventAppeared.OriginalEvent()}
		}
	}
}

func TestSubscriptionsCatchUpAndGoOn(t *testing.T) {
	t.Parallel()
	s := history(t)
	db := connect(t, plain(door(t, esdb.Options{Store: s})))
	all := func(from client.AllPosition) *follower {
		sub, err := db.SubscribeToAll(t.Context(), client.SubscribeToAllOptions{From: from})
		return follow(t, sub, err)
	}
	stream := func(name string, from client.StreamPosition) *follower {
		sub, err := db.SubscribeToStream(t.Context(), name, client.SubscribeToStreamOptions{From: from})
		return follow(t, sub, err)
	}
	for _, c := range []struct {
		name   string
		start  func() *follower
		stream es.Stream // "" = the log
		skip   int       // of what was there, negative = all
	}{
		{"log", func() *follower { return all(client.Start{}) }, "", 0},
		{"log after an event", func() *follower { return all(client.Position{Commit: 10, Prepare: 10}) }, "", 10},
		{"log from now", func() *follower { return all(client.End{}) }, "", -1},
		{"stream", func() *follower { return stream("offer-1", client.Start{}) }, "offer-1", 0},
		{"stream after one", func() *follower { return stream("offer-1", client.Revision(3)) }, "offer-1", 4},
		{"stream from now", func() *follower { return stream("offer-1", client.End{}) }, "offer-1", -1},
		{"stream that is to be", func() *follower { return stream("late-1", client.Start{}) }, "late-1", 0},
	} {
		var filter es.Filter
		if c.stream != "" {
			filter.Streams = []es.Stream{c.stream}
		}
		want := log(t, s, filter)
		if c.skip < 0 {
			c.skip = len(want)
		}
		f := c.start()
		same(t, c.name, f.untilLive(), want[c.skip:])
		add(t, s, "noise-1", "noise.v1", c.name)
		add(t, s, es.Stream(cmp.Or(string(c.stream), "noise-1")), "offer.made.v1", c.name+"!")
		live := log(t, s, filter)[len(want):]
		for i := range live {
			same(t, c.name+", live", f.event(), live[i:i+1])
		}
	}
	later := stream("late-1", client.Revision(5))
	same(t, "beyond the end", later.untilLive(), nil)
	for i := range 8 {
		add(t, s, "late-1", "offer.made.v1", fmt.Sprint("l", i))
	}
	if got := later.event()[0].EventNumber; got != 6 {
		t.Errorf("after revision 5 comes %d", got)
	}
}

func TestFilteredSubscriptionsTellHowFarTheyLooked(t *testing.T) {
	t.Parallel()
	s := history(t)
	db := connect(t, plain(door(t, esdb.Options{Store: s})))
	for name, c := range map[string]struct {
		filter *client.SubscriptionFilter
		want   es.Filter
	}{
		"types by prefix":    {&client.SubscriptionFilter{Type: client.EventFilterType, Prefixes: []string{"agreement.", "batch."}}, es.Filter{TypePrefixes: []string{"agreement.", "batch."}}},
		"types by pattern":   {&client.SubscriptionFilter{Type: client.EventFilterType, Regex: `^agreement\.`}, es.Filter{TypePrefixes: []string{"agreement."}}},
		"streams by prefix":  {&client.SubscriptionFilter{Type: client.StreamFilterType, Prefixes: []string{"offer-1"}}, es.Filter{StreamPrefixes: []string{"offer-1"}}},
		"streams by pattern": {&client.SubscriptionFilter{Type: client.StreamFilterType, Regex: `^[^o]`}, es.Filter{StreamPrefixes: []string{"agreement-", "batch-"}}},
	} {
		t.Run(name, func(t *testing.T) {
			want := log(t, s, c.want)
			sub, err := db.SubscribeToAll(t.Context(), client.SubscribeToAllOptions{From: client.Start{}, Filter: c.filter, MaxSearchWindow: 5, CheckpointInterval: 2})
			f := follow(t, sub, err)
			var got []*client.RecordedEvent
			var told uint64
			for live := false; !live; {
				switch m := f.next(); {
				case m.EventAppeared != nil:
					got = append(got, m.EventAppeared.OriginalEvent())
				case m.CheckPointReached != nil:
					if at := m.CheckPointReached.Commit; at < told+10 || at > 33 {
						t.Errorf("checkpoint at %d after %d", at, told)
					}
					told = m.CheckPointReached.Commit
				case m.CaughtUp != nil:
					live = true
				}
			}
			same(t, "catching up", got, want)
			if told == 0 {
				t.Error("no checkpoint within 33 events")
			}
		})
	}
	sub, err := db.SubscribeToAll(t.Context(), client.SubscribeToAllOptions{
		From: client.End{}, Filter: &client.SubscriptionFilter{Type: client.EventFilterType, Prefixes: []string{"none."}}, MaxSearchWindow: 4, CheckpointInterval: 1,
	})
	f := follow(t, sub, err)
	f.untilLive()
	for i := range 9 {
		add(t, s, "noise-1", "noise.v1", fmt.Sprint("n", i))
	}
	for {
		m := f.next()
		if m.EventAppeared != nil {
			t.Fatalf("heard %s", m.EventAppeared.OriginalEvent().EventType)
		}
		if m.CheckPointReached != nil && m.CheckPointReached.Commit >= 38 {
			break
		}
	}
}
