package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"testing"

	"github.com/emet-node/emet/domain/es"
)

func readStream(t *testing.T, s es.Store) {
	for i, n := range []string{"a", "b", "c", "d"} {
		mustAppend(t, s, write("deal-1", es.Revision(i-1), n))
		mustAppend(t, s, write("noise-1", es.Any, "noise-"+n))
	}
	for _, c := range []struct {
		from es.Revision
		d    es.Direction
		max  int
		want []string
	}{
		{0, es.Forward, 0, []string{"a", "b", "c", "d"}},
		{-1, es.Forward, 0, []string{"a", "b", "c", "d"}},
		{2, es.Forward, 0, []string{"c", "d"}},
		{1, es.Forward, 2, []string{"b", "c"}},
		{3, es.Forward, 9, []string{"d"}},
		{4, es.Forward, 0, nil},
		{-1, es.Backward, 0, []string{"d", "c", "b", "a"}},
		{-1, es.Backward, 1, []string{"d"}},
		{2, es.Backward, 0, []string{"c", "b", "a"}},
		{2, es.Backward, 2, []string{"c", "b"}},
		{0, es.Backward, 0, []string{"a"}},
		{99, es.Backward, 1, []string{"d"}},
	} {
		what := fmt.Sprintf("from %d, direction %d, at most %d", c.from, c.d, c.max)
		wantNames(t, what, collect(t, s.ReadStream(t.Context(), "deal-1", c.from, c.d, c.max)), c.want...)
	}
	wantNames(t, "prefix of a name", collect(t, s.ReadStream(t.Context(), "deal-", 0, es.Forward, 0)))
}

func readAll(t *testing.T, s es.Store) {
	mustAppend(t, s, write("deal-1", es.NoStream, "a", "b"), write("deal-2", es.NoStream, "c"))
	mustAppend(t, s, write("deal-1", 1, "d"))
	for _, c := range []struct {
		from es.Position
		d    es.Direction
		max  int
		want []string
	}{
		{0, es.Forward, 0, []string{"a", "b", "c", "d"}},
		{1, es.Forward, 2, []string{"b", "c"}},
		{3, es.Forward, 0, []string{"d"}},
		{4, es.Forward, 0, nil},
		{math.MaxUint64, es.Forward, 0, nil},
		{3, es.Backward, 0, []string{"d", "c", "b", "a"}},
		{2, es.Backward, 2, []string{"c", "b"}},
		{0, es.Backward, 0, []string{"a"}},
		{math.MaxUint64, es.Backward, 1, []string{"d"}},
	} {
		what := fmt.Sprintf("from %d, direction %d, at most %d", c.from, c.d, c.max)
		wantNames(t, what, collect(t, s.ReadAll(t.Context(), c.from, c.d, es.Filter{}, c.max)), c.want...)
	}
}

func filters(t *testing.T, s es.Store) {
	typed := func(stream es.Stream, name, typ string) es.Write {
		w := write(stream, es.Any, name)
		w.Events[0].Type = typ
		return w
	}
	mustAppend(t, s, typed("offer-1", "a", "offer.made.v1"), typed("deal-1", "b", "deal.opened.v1"))
	mustAppend(t, s, typed("offer-2", "c", "offer.made.v1"))
	mustAppend(t, s, typed("deal-1", "d", "deal.closed.v1"), typed("offer-1", "e", "offer.ended.v1"))
	for _, c := range []struct {
		what string
		f    es.Filter
		want []string
	}{
		{"stream", es.Filter{Streams: []es.Stream{"offer-1"}}, []string{"a", "e"}},
		{"streams", es.Filter{Streams: []es.Stream{"offer-1", "deal-1"}}, []string{"a", "b", "d", "e"}},
		{"prefix", es.Filter{StreamPrefixes: []string{"offer-"}}, []string{"a", "c", "e"}},
		{"pattern", es.Filter{StreamPattern: regexp.MustCompile(`^o.*2$`)}, []string{"c"}},
		{"type", es.Filter{Types: []string{"offer.made.v1"}}, []string{"a", "c"}},
		{"fact", es.Filter{Facts: []string{"offer.made"}}, []string{"a", "c"}},
		{"fact or type", es.Filter{Facts: []string{"deal.closed"}, Types: []string{"offer.ended.v1"}}, []string{"d", "e"}},
		{"fact in a stream", es.Filter{StreamPrefixes: []string{"offer-1"}, Facts: []string{"offer.made", "deal.opened"}}, []string{"a"}},
		{"fact with a version", es.Filter{Facts: []string{"offer.made.v1"}}, nil},
		{"type prefix", es.Filter{TypePrefixes: []string{"deal."}}, []string{"b", "d"}},
		{"type pattern", es.Filter{TypePattern: regexp.MustCompile(`ended|closed`)}, []string{"d", "e"}},
		{"both", es.Filter{StreamPrefixes: []string{"offer-"}, Types: []string{"offer.ended.v1"}}, []string{"e"}},
		{"nothing", es.Filter{Types: []string{"offer"}}, nil},
	} {
		wantNames(t, c.what, collect(t, s.ReadAll(t.Context(), 0, es.Forward, c.f, 0)), c.want...)
		back := collect(t, s.ReadAll(t.Context(), math.MaxUint64, es.Backward, c.f, 0))
		for i := range len(back) / 2 {
			back[i], back[len(back)-1-i] = back[len(back)-1-i], back[i]
		}
		wantNames(t, c.what+" backward", back, c.want...)
	}
	f := es.Filter{StreamPrefixes: []string{"offer-"}}
	wantNames(t, "at most 2 that match", collect(t, s.ReadAll(t.Context(), 1, es.Forward, f, 2)), "c", "e")
}

// lent events are the same as read ones, as long as they are borrowed.
func lent(t *testing.T, s es.Store) {
	for i := range 40 {
		stream := es.Stream(fmt.Sprint("deal-", i%3))
		w := es.Write{Stream: stream, Expected: es.Any, Events: numbered(fmt.Sprint("n", i, "-"), 1+i%4)}
		for j := range w.Events {
			e := &w.Events[j]
			e.Type, e.Data = fmt.Sprintf("deal.step%d.v1", j), bytes.Repeat([]byte{byte('a' + i%26)}, 1+i*100)
			if i%5 == 0 {
				e.Subject = "activity/" + string(stream)
			}
		}
		mustAppend(t, s, w)
	}
	for _, f := range []es.Filter{{}, {Streams: []es.Stream{"deal-1"}}, {TypePrefixes: []string{"deal.step2"}}} {
		for _, from := range []es.Position{0, 1, 17, 99, 100, math.MaxUint64} {
			var got []es.Event
			for e, err := range es.Lend(t.Context(), s, from, f) {
				if err != nil {
					t.Fatal(err)
				}
				if string(e.Category()) != "deal" {
					t.Fatalf("%s is of category %q", e.Stream, e.Category())
				}
				got = append(got, e.Event())
			}
			var want []es.Event
			for e, err := range s.ReadAll(t.Context(), from, es.Forward, f, 0) {
				if err != nil {
					t.Fatal(err)
				}
				e.Leaf, e.PrevInStream = es.Hash{}, es.Hash{}
				want = append(want, e)
			}
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("%d events are lent from %d on with %+v, and not the %d that are read", len(got), from, f, len(want))
			}
		}
	}
	for e, err := range es.Lend(t.Context(), s, 0, es.Filter{}) { // left early
		if err != nil || e.Position == 3 {
			break
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var last error
	for _, err := range es.Lend(ctx, s, 0, es.Filter{}) {
		last = err
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("lending ended with %v, want cancelled", last)
	}
}

func leaveEarly(t *testing.T, s es.Store) {
	mustAppend(t, s, es.Write{Stream: "deal-1", Expected: es.NoStream, Events: numbered("n", 100)})
	for e, err := range s.ReadAll(t.Context(), 0, es.Forward, es.Filter{}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Position == 3 {
			break
		}
	}
	// A writer may append in the middle of its own read.
	for e, err := range s.ReadStream(t.Context(), "deal-1", 0, es.Forward, 2) {
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, s, write("deal-2", es.Any, fmt.Sprint("echo", e.Position)))
	}
	if h := head(t, s); h != 102 {
		t.Errorf("head %d, want 102", h)
	}
}

func cancelledRead(t *testing.T, s es.Store) {
	mustAppend(t, s, write("deal-1", es.NoStream, "a", "b", "c"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, events := range []func(func(es.Event, error) bool){
		s.ReadAll(ctx, 0, es.Forward, es.Filter{}, 0), s.ReadStream(ctx, "deal-1", 0, es.Forward, 0),
	} {
		var last error
		for _, err := range events {
			last = err
		}
		if !errors.Is(last, context.Canceled) {
			t.Errorf("read ended with %v, want cancelled", last)
		}
	}
}
