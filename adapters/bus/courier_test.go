package bus_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/emet-node/emet/adapters/bus"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/projections/news"
)

func TestAWebhookIsToldInOrderAndSigned(t *testing.T) {
	t.Parallel()
	o, r := newOffice(t, anywhere), newReceiver(t, nil)
	o.write("a-1", "x.one.v1", alice, 3)
	o.write("a-1", "y.one.v1", alice, 2)
	h := o.add(r.URL+"/path?q=1", news.Filter{Types: []string{"x.*"}, Identity: alice}, 1)
	o.run(o.courier)
	o.write("a-1", "x.one.v1", "0xb0", 1)
	o.write("b-1", "x.two.v1", alice, 1)
	all := r.until(t, func(all []got) bool { return len(all) == 3 })
	if got := positions(all); !slices.Equal(got, []uint64{1, 2, 6}) {
		t.Errorf("told %v", got)
	}
	for _, g := range all {
		if err := news.Verify(h.Secret, g.header.Get(news.Header), g.body, time.Now(), news.Tolerance); err != nil {
			t.Errorf("%s: %v", g.header.Get(news.Header), err)
		}
		for name, want := range map[string]string{
			"Content-Type": "application/json", "Idempotency-Key": g.item.ID, "Emet-Event": g.item.ID, "Emet-Webhook": h.ID, "User-Agent": "emet/test",
		} {
			if g.header.Get(name) != want {
				t.Errorf("%s is %q, want %q", name, g.header.Get(name), want)
			}
		}
		for e := range o.store.ReadAll(t.Context(), es.Position(g.item.Position), es.Forward, es.Filter{}, 1) {
			if want, _ := news.Of(e).JSON(); !bytes.Equal(want, g.body) {
				t.Errorf("body %s, want %s", g.body, want)
			}
		}
	}
	o.eventually("all is noted", func() bool { s := o.status(h); return s.Next == 7 && s.Delivered == 3 && s.Error == "" })
	if c := o.courier.Counts(); c != (bus.Counts{Delivered: 3}) {
		t.Errorf("counted %+v", c)
	}
}

func TestAReceiverThatFailsIsToldAgainAndNothingOvertakes(t *testing.T) {
	t.Parallel()
	o := newOffice(t, anywhere)
	r := newReceiver(t, func(n int, _ got) int {
		return []int{200, 500, 503, 429, 204, 408, 200}[n%7]
	})
	h := o.add(r.URL, news.Filter{}, 0)
	last := o.write("a-1", "x.one.v1", alice, 20)
	o.run(o.courier)
	o.eventually("all is told", func() bool { return o.status(h).Next == last+1 })
	inOrder(t, r.deliveries(), last, false)
	if s := o.status(h); s.Aside != 0 || s.Delivered != 20 {
		t.Errorf("%+v", s)
	}
}

// inOrder: every position up to last came, a later one never before an earlier
// one was there, and what came again was the same. When nobody was ended on the
// way, what comes again is what came last; else a request that was given up
// may arrive late.
func inOrder(t testing.TB, all []got, last es.Position, ended bool) {
	t.Helper()
	first := map[uint64]got{}
	next := uint64(0)
	for _, g := range all {
		p := g.item.Position
		was, again := first[p]
		switch {
		case again && (was.item.ID != g.item.ID || !bytes.Equal(was.body, g.body)):
			t.Fatalf("%d came again as something else: %s, before %s", p, g.body, was.body)
		case again && p+1 != next && !ended:
			t.Fatalf("%d came again when %d was next: %v", p, next, positions(all))
		case !again && p != next:
			t.Fatalf("%d came when %d was next: %v", p, next, positions(all))
		case !again:
			first[p], next = g, p+1
		}
	}
	if next != uint64(last)+1 {
		t.Fatalf("told up to %d of %d", next, last+1)
	}
}

func TestWhatAReceiverRefusesIsSetAsideAndCanBeToldAgain(t *testing.T) {
	t.Parallel()
	o := newOffice(t, anywhere)
	takes := false
	r := newReceiver(t, nil)
	r.answer = func(_ int, g got) int {
		if !takes && g.item.Type == "x.bad.v1" {
			return http.StatusUnprocessableEntity
		}
		return 200
	}
	h := o.add(r.URL, news.Filter{}, 0)
	o.write("a-1", "x.one.v1", alice, 1)
	o.write("a-1", "x.bad.v1", alice, 2)
	o.write("a-1", "x.two.v1", alice, 1)
	o.run(o.courier)
	o.eventually("the last is told", func() bool { return o.status(h).Next == 4 })
	if got := positions(r.deliveries()); !slices.Equal(got, []uint64{0, 1, 1, 1, 2, 2, 2, 3}) {
		t.Errorf("told %v", got)
	}
	asides, err := o.state.Aside(t.Context(), h.ID)
	if err != nil || len(asides) != 2 || asides[0].Position != 1 || asides[0].Type != "x.bad.v1" || asides[0].Stream != "a-1" ||
		!strings.Contains(asides[1].Reason, "422 Unprocessable Entity") || asides[0].Event != r.deliveries()[1].item.ID {
		t.Fatalf("set aside %+v: %v", asides, err)
	}
	results, err := o.courier.Retry(t.Context(), h, asides[:1])
	if err != nil || results[0] == nil || o.status(h).Aside != 2 {
		t.Errorf("refused again: %v %v", results, err)
	}
	r.mu.Lock()
	takes = true
	r.mu.Unlock()
	results, err = o.courier.Retry(t.Context(), h, asides)
	if err != nil || results[0] != nil || results[1] != nil || o.status(h).Aside != 0 {
		t.Errorf("taken at last: %v %v", results, err)
	}
	all := r.deliveries()
	if last := all[len(all)-2:]; !bytes.Equal(last[0].body, all[1].body) || last[1].item.Position != 2 {
		t.Errorf("retried %v", positions(last))
	}
	if c := o.courier.Counts(); c.SetAside != 2 || c.Delivered != 4 || c.Failed != 7 {
		t.Errorf("counted %+v", c)
	}
}

func TestWhatCannotBeToldForLongIsSetAside(t *testing.T) {
	t.Parallel()
	o := newOffice(t, anywhere)
	o.courier.GiveUp = 20 * time.Millisecond
	gone := newReceiver(t, nil)
	gone.Close()
	h := o.add(gone.URL, news.Filter{}, 0)
	o.write("a-1", "x.one.v1", alice, 2)
	o.run(o.courier)
	o.eventually("both are set aside", func() bool { s := o.status(h); return s.Aside == 2 && s.Next == 2 })
	asides, err := o.state.Aside(t.Context(), "")
	if err != nil || !strings.Contains(asides[0].Reason, "refused") {
		t.Errorf("%+v %v", asides, err)
	}
}

func TestAFullPoisonQueueMakesAWebhookWait(t *testing.T) {
	t.Parallel()
	o, r := newOffice(t, anywhere), newReceiver(t, func(int, got) int { return 400 })
	h := o.add(r.URL, news.Filter{}, 0)
	o.state.MaxAside = 10
	for i := range 9 {
		a := bus.Aside{Hook: h.ID, Position: es.Position(1_000_000 + i), At: time.Now()}
		if err := o.state.SetAside(t.Context(), a); err != nil {
			t.Fatal(err)
		}
	}
	o.write("a-1", "x.one.v1", alice, 2)
	o.run(o.courier)
	all := r.until(t, func(all []got) bool { return len(all) >= 9 })
	if !slices.Equal(positions(all)[:9], []uint64{0, 0, 0, 1, 1, 1, 1, 1, 1}) {
		t.Errorf("told %v", positions(all))
	}
	if s := o.status(h); s.Next != 1 || s.Aside != 10 {
		t.Errorf("%+v", s)
	}
	if err := o.state.Drop(t.Context(), h.ID, 1_000_000); err != nil {
		t.Fatal(err)
	}
	o.eventually("it goes on", func() bool { return o.status(h).Next == 2 })
}

func TestAWebhookThatHangsHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	o, r := newOffice(t, anywhere), newReceiver(t, nil)
	stuck := make(chan struct{})
	hangs := newReceiver(t, nil)
	hangs.Config.Handler = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stuck })
	t.Cleanup(func() { close(stuck) })
	slow := o.add(hangs.URL, news.Filter{}, 0)
	o.add(r.URL, news.Filter{}, 0)
	last := o.write("a-1", "x.one.v1", alice, 10)
	stop := o.run(o.courier)
	inOrder(t, r.until(t, func(all []got) bool { return len(all) == 10 }), last, false)
	stop() // at once, though a delivery is under way
	if s := o.status(slow); s.Next != 0 || s.Aside != 0 {
		t.Errorf("%+v", s)
	}
}

func TestWebhooksComeAndGoWhileNewsAreTold(t *testing.T) {
	t.Parallel()
	o := newOffice(t, anywhere)
	o.run(o.courier)
	for round := range 3 {
		r := newReceiver(t, nil)
		h := o.add(r.URL, news.Filter{}, 0)
		last := o.write("a-1", "x.one.v1", alice, 3)
		inOrder(t, r.until(t, func(all []got) bool { return len(all) == int(last)+1 }), last, false)
		o.mu.Lock()
		o.hooks = nil
		o.mu.Unlock()
		o.courier.Changed()
		if err := o.state.Forget(t.Context(), h.ID); err != nil {
			t.Fatal(round, err)
		}
	}
}

func TestAReceiverThatIsBackIsToldAtOnce(t *testing.T) {
	t.Parallel()
	o := newOffice(t, anywhere)
	o.courier.FirstPause = time.Hour
	down := true
	r := newReceiver(t, nil)
	r.answer = func(int, got) int {
		if down {
			return 500
		}
		return 200
	}
	h := o.add(r.URL, news.Filter{}, 0)
	last := o.write("a-1", "x.one.v1", alice, 2)
	o.run(o.courier)
	r.until(t, func(all []got) bool { return len(all) == 1 })
	o.eventually("the failure is noted", func() bool { return o.status(h).Failures == 1 })
	if err := o.courier.Test(t.Context(), h); err == nil || !strings.Contains(err.Error(), "500") {
		t.Errorf("test: %v", err)
	}
	r.mu.Lock()
	down = false
	r.mu.Unlock()
	if err := o.courier.Test(t.Context(), h); err != nil {
		t.Fatal(err)
	}
	o.eventually("all is told", func() bool { return o.status(h).Next == last+1 })
	tests := slices.DeleteFunc(r.deliveries(), func(g got) bool { return g.item.Type != bus.TestType })
	if len(tests) != 2 || tests[0].item.ID == tests[1].item.ID {
		t.Errorf("tests %+v", tests)
	}
}

// The law of webhooks: whatever receivers answer and however often the courier
// is ended, every fact that fits comes at least once, none before one that is
// earlier, and what comes again is the same.
func TestACourierThatIsEndedSkipsNothing(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		o := newOffice(t, anywhere)
		answers := rapid.SliceOfN(rapid.SampledFrom([]int{200, 200, 500, 503, 204, 429}), 1, 20).Draw(rt, "answers")
		answers = append(answers, 200)
		r := newReceiver(t, func(n int, _ got) int { return answers[n%len(answers)] })
		h := o.add(r.URL, news.Filter{}, 0)
		var last es.Position
		for range rapid.IntRange(1, 5).Draw(rt, "lives") {
			before := len(r.deliveries())
			stop := o.run(o.newCourier())
			last = o.write("a-1", "x.one.v1", alice, rapid.IntRange(1, 8).Draw(rt, "facts"))
			n := before + rapid.IntRange(0, 6).Draw(rt, "deliveries")
			o.eventually("enough is told", func() bool { return len(r.deliveries()) >= n || o.status(h).Next == last+1 })
			stop()
		}
		o.run(o.newCourier())
		o.eventually("all is told", func() bool { return o.status(h).Next == last+1 })
		inOrder(t, r.deliveries(), last, true)
	})
}

// What a subscription hands out is the same whatever its handler does with it.
func TestASubscriptionHandsOutUntilItIsAcknowledged(t *testing.T) {
	t.Parallel()
	o := newOffice(t, anywhere)
	h, err := bus.NewHook("https://example.org/", news.Filter{Categories: []string{"a"}}, 0, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	o.write("a-1", "x.one.v1", alice, 2)
	o.write("b-1", "x.one.v1", alice, 1)
	o.write("a-2", "x.one.v1", alice, 1)
	ids := map[string]bool{}
	for range 2 { // the second subscription goes on where the first was told to
		s := &bus.Subscriber{Store: o.store, State: o.state, Hook: h, Logger: o.courier.Logger}
		messages, err := s.Subscribe(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		m := <-messages
		for range 3 {
			m.Nack()
			again := <-messages
			if again.UUID != m.UUID || !bytes.Equal(again.Payload, m.Payload) || fmt.Sprint(again.Metadata) != fmt.Sprint(m.Metadata) {
				t.Fatalf("again %v, was %v", again, m)
			}
			m = again
		}
		ids[m.UUID] = true
		m.Ack()
		m = <-messages
		if ids[m.UUID] || m.Metadata.Get("type") != "x.one.v1" {
			t.Errorf("after an Ack came %v", m)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, open := <-messages; open {
			t.Error("it goes on after Close")
		}
		if _, err := s.Subscribe(context.Background(), ""); err == nil {
			t.Error("it can be subscribed to after Close")
		}
	}
	if len(ids) != 2 {
		t.Errorf("%d ids", len(ids))
	}
}
