package bus_test

import (
	"context"
	"net/http"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/bus"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/projections/news"
)

// A process that ends and begins anew goes on counting: a fact is not tried for
// another day because of it.
func TestARestartDoesNotBeginTheWaitingAnew(t *testing.T) {
	t.Parallel()
	o := newOffice(t, anywhere)
	r := newReceiver(t, func(int, got) int { return 503 })
	h := o.add(r.URL, news.Filter{}, 0)
	o.write("a-1", "x.one.v1", alice, 1)
	o.courier.FirstPause = time.Hour
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = o.courier.Run(ctx) }()
	var first bus.Trying
	o.eventually("an attempt is noted", func() bool {
		first, _ = o.state.Trying(t.Context(), h.ID)
		return first.Attempts == 1
	})
	if until := time.Until(first.Next); until < 50*time.Minute || until > 70*time.Minute || time.Since(first.Since) > time.Minute {
		t.Errorf("%+v", first)
	}
	if st := o.status(h); !st.Again.Equal(first.Next) {
		t.Errorf("it is tried again at %s, the state says %s", first.Next, st.Again)
	}
	stop()
	<-ended

	// It was tried first the day before yesterday, and is due.
	if err := o.state.Try(t.Context(), h.ID, bus.Trying{Position: 0, Attempts: 40, Since: time.Now().Add(-48 * time.Hour), Next: time.Now()}); err != nil {
		t.Fatal(err)
	}
	again := &bus.Courier{Store: o.store, State: o.state, Sender: o.sender, Hooks: o.list, FirstPause: time.Hour, Logger: o.courier.Logger}
	o.run(again)
	o.eventually("it is set aside", func() bool { return o.status(h).Aside == 1 && o.status(h).Next == 1 })
	if n := len(r.deliveries()); n != 2 {
		t.Errorf("it was told %d times", n)
	}
	if st := o.status(h); !st.Again.IsZero() {
		t.Errorf("what was set aside is tried again at %s", st.Again)
	}
}

func TestAPauseThatGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	o := newOffice(t, anywhere)
	r := newReceiver(t, nil)
	h := o.add(r.URL, news.Filter{}, 0)
	o.write("a-1", "x.one.v1", alice, 2)
	due := time.Now().Add(600 * time.Millisecond)
	if err := o.state.Try(t.Context(), h.ID, bus.Trying{Position: 0, Attempts: 3, Since: time.Now(), Next: due}); err != nil {
		t.Fatal(err)
	}
	o.run(o.courier)
	if all := r.until(t, func(all []got) bool { return len(all) == 2 }); time.Now().Before(due) || !slices.Equal(positions(all), []uint64{0, 1}) {
		t.Errorf("told %v, %v before it was due", positions(all), time.Until(due))
	}
}

func TestAReceiverMaySayWhenToComeBack(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]time.Duration{
		"120": 2 * time.Minute, "999999": time.Hour, "": time.Second, "soon": time.Second, "-5": time.Second,
		time.Now().Add(10 * time.Minute).UTC().Format(http.TimeFormat): 10 * time.Minute,
		time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat):       time.Second,
	} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, anywhere)
			o.courier.FirstPause = time.Second
			r := newReceiver(t, nil)
			r.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", value)
				w.WriteHeader(http.StatusTooManyRequests)
			})
			h := o.add(r.URL, news.Filter{}, 0)
			o.write("a-1", "x.one.v1", alice, 1)
			o.run(o.courier)
			var at bus.Trying
			o.eventually("an attempt is noted", func() bool { at, _ = o.state.Trying(t.Context(), h.ID); return at.Attempts > 0 })
			if got := at.Next.Sub(at.Since); at.Attempts == 1 && (got < want*8/10 || got > want*12/10) {
				t.Errorf("the next attempt is after %v, want %v", got, want)
			}
		})
	}
}

func TestAStateIsOfOneLog(t *testing.T) {
	t.Parallel()
	s, err := bus.OpenState(filepath.Join(t.TempDir(), "odd #name?", "news.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // in a test
	next := func() (out []es.Position) {
		for _, id := range []string{"a", "b"} {
			st, err := s.Status(t.Context(), bus.Hook{ID: id, From: 3})
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, st.Next, es.Position(st.Aside))
		}
		return out
	}
	told := func() {
		for id, p := range map[string]es.Position{"a": 40, "b": 90} {
			for _, err := range []error{
				s.Passed(t.Context(), id, p), s.SetAside(t.Context(), bus.Aside{Hook: id, Position: p - 1}),
				s.Try(t.Context(), id, bus.Trying{Position: p, Attempts: 1, Since: time.Now(), Next: time.Now()}),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	told()
	for _, c := range []struct {
		log    string
		shared es.Position // with the one before; 0 = it is not known
		head   es.Position
		want   []es.Position
		moved  int64
	}{
		{"one", 0, 100, []es.Position{40, 1, 90, 1}, 0},
		{"one", 0, 10, []es.Position{40, 1, 90, 1}, 0}, // it is known already
		{"two", 70, 100, []es.Position{40, 1, 70, 0}, 1},
		{"three", 0, 100, []es.Position{3, 0, 3, 0}, 2},
	} {
		moved, err := s.Adopt(t.Context(), c.log, func(string) (es.Position, bool) { return c.shared, c.shared > 0 }, c.head)
		if got := next(); err != nil || moved != c.moved || !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, %d moved, %v", c, got, moved, err)
		}
	}
	if at, err := s.Trying(t.Context(), "b"); err != nil || at.Attempts != 0 {
		t.Errorf("it is still tried with %+v, %v", at, err)
	}
}
