package es_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/es"
)

// The tests count: a stream is a counter with a limit.
type (
	added struct {
		At int64 `json:"at"`
		N  int   `json:"n"`
	}
	add   struct{ N, At int }
	total struct{ Sum, Facts int }
)

var errFull = errors.New("full")

func counter(limit int) es.Decider[add, added, total] {
	return es.Decider[add, added, total]{
		Decide: func(s total, c add) ([]added, error) {
			switch {
			case c.N == 0:
				return nil, nil
			case s.Sum+c.N > limit:
				return nil, errFull
			}
			return []added{{N: c.N, At: int64(c.At)}}, nil
		},
		Evolve: func(s total, e added) total { return total{s.Sum + e.N, s.Facts + 1} },
	}
}

type codec struct{}

func (codec) Encode(fact any) (string, []byte, string, error) {
	b, err := es.CanonicalJSON(fact)
	return "count.added.v1", b, "", err
}

func (codec) Decode(typ string, data []byte) (any, error) {
	if typ != "count.added.v1" {
		return nil, es.ErrUnknownType
	}
	var a added
	err := json.Unmarshal(data, &a)
	return a, err
}

func newLog() *es.Log { return &es.Log{Store: memory.New(), Codec: codec{}, Build: "test"} }

func counters(l *es.Log, category string, limit int) *es.Aggregate[add, added, total] {
	return es.NewAggregate(l, category, counter(limit))
}

func meta(key string) es.Meta { return es.Meta{Key: key, Actor: es.ActorREST} }

func TestManyWritersOfOneStream(t *testing.T) {
	t.Parallel()
	l := newLog()
	// Two aggregates over one log stand for two parts that cache on their own.
	parts := []*es.Aggregate[add, added, total]{counters(l, "c", 1000), counters(l, "c", 1000)}
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			for j := range 4 {
				if _, err := parts[(i+j)%2].Do(t.Context(), "x", add{N: 1, At: i}, meta(fmt.Sprintf("%d/%d", i, j))); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s, rev, err := counters(l, "c", 1000).Load(t.Context(), "x")
	if err != nil || s.Sum != 256 || rev != 255 {
		t.Fatalf("%+v at %d, %v", s, rev, err)
	}
}

func TestALimitHoldsAgainstAllWriters(t *testing.T) {
	t.Parallel()
	l := newLog()
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			_, err := counters(l, "c", 10).Do(t.Context(), "x", add{N: 1}, meta(fmt.Sprint(i)))
			if err != nil && !errors.Is(err, errFull) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s, _, _ := counters(l, "c", 10).Load(t.Context(), "x"); s.Sum != 10 {
		t.Fatalf("%+v", s)
	}
}

// A key said twice is one fact: in turn, at the same moment, with another time
// in the command, and by a part that has never seen the stream. Everyone is
// answered with a state in which it happened.
func TestAKeySaidTwiceIsOneFact(t *testing.T) {
	t.Parallel()
	for range 50 {
		l := newLog()
		shared := counters(l, "c", 1000)
		var wg sync.WaitGroup
		for i := range 16 {
			a := shared
			if i%4 == 0 {
				a = counters(l, "c", 1000)
			}
			wg.Go(func() {
				s, err := a.Do(t.Context(), "x", add{N: 1, At: i}, meta("the same"))
				if err != nil || s.Sum != 1 {
					t.Errorf("%+v, %v", s, err)
				}
			})
		}
		wg.Wait()
		if s, err := counters(l, "c", 1000).Do(t.Context(), "x", add{N: 5}, meta("the same")); err != nil || s.Sum != 1 {
			t.Fatalf("%+v, %v", s, err)
		}
	}
}

// meddler lets something happen between a look at the store and what is made of it.
type meddler struct {
	es.Store
	beforeAppend, afterInfo func()
}

func once(f *func()) {
	if g := *f; g != nil {
		*f = nil
		g()
	}
}

func (m *meddler) Append(ctx context.Context, checks []es.Check, writes ...es.Write) (es.Receipt, error) {
	once(&m.beforeAppend)
	return m.Store.Append(ctx, checks, writes...)
}

func (m *meddler) Info(ctx context.Context, s es.Stream) (es.StreamInfo, error) {
	info, err := m.Store.Info(ctx, s)
	once(&m.afterInfo)
	return info, err
}

// The same command with another time in it is written right before ours.
func TestAKeyThatIsWrittenRightBefore(t *testing.T) {
	t.Parallel()
	m := &meddler{Store: memory.New()}
	l := &es.Log{Store: m, Codec: codec{}}
	m.beforeAppend = func() {
		if _, err := counters(l, "c", 9).Do(t.Context(), "x", add{N: 1, At: 1}, meta("k")); err != nil {
			t.Error(err)
		}
	}
	if s, err := counters(l, "c", 9).Do(t.Context(), "x", add{N: 1, At: 2}, meta("k")); err != nil || s != (total{1, 1}) {
		t.Fatalf("%+v, %v", s, err)
	}
}

// The same command is carried out between the look at the stream and the look
// at its keys, which all states of it share.
func TestAKeyThatIsNewerThanTheState(t *testing.T) {
	t.Parallel()
	m := &meddler{Store: memory.New()}
	a := counters(&es.Log{Store: m, Codec: codec{}}, "c", 9)
	if _, err := a.Do(t.Context(), "x", add{N: 1}, meta("first")); err != nil {
		t.Fatal(err)
	}
	m.afterInfo = func() {
		if _, err := a.Do(t.Context(), "x", add{N: 1}, meta("k")); err != nil {
			t.Error(err)
		}
	}
	if s, err := a.Do(t.Context(), "x", add{N: 1}, meta("k")); err != nil || s != (total{2, 2}) {
		t.Fatalf("%+v, %v", s, err)
	}
}

func TestACommandWithoutAKeyIsRefused(t *testing.T) {
	t.Parallel()
	if _, err := counters(newLog(), "c", 9).Do(t.Context(), "x", add{N: 1}, es.Meta{}); err == nil {
		t.Fatal("it was carried out")
	}
}

func TestARefusalLeavesNoTrace(t *testing.T) {
	t.Parallel()
	l := newLog()
	a := counters(l, "c", 1)
	if _, err := a.Do(t.Context(), "x", add{N: 2}, meta("k")); !errors.Is(err, errFull) {
		t.Fatal(err)
	}
	if _, rev, _ := a.Load(t.Context(), "x"); rev != es.NoStream {
		t.Fatalf("revision %d", rev)
	}
	// The key was not used up: the same command may succeed later.
	if s, err := a.Do(t.Context(), "x", add{N: 1}, meta("k")); err != nil || s.Sum != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
}

func TestAwaitWakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		a := counters(l, "c", 1000)
		got := make(chan total, 1)
		go func() {
			s, err := a.Await(t.Context(), "x", func(s total) bool { return s.Sum >= 3 })
			if err != nil {
				t.Error(err)
			}
			got <- s
		}()
		for i := range 3 {
			synctest.Wait()
			if len(got) > 0 {
				t.Fatal("too early")
			}
			for _, stream := range []string{"other", "x"} {
				if _, err := a.Do(t.Context(), stream, add{N: 1}, meta(fmt.Sprint(stream, i))); err != nil {
					t.Fatal(err)
				}
			}
		}
		if s := <-got; s.Sum != 3 {
			t.Fatalf("%+v", s)
		}
	})
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := counters(newLog(), "c", 9).Await(ctx, "x", func(total) bool { return false })
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	})
}

// What aggregates keep in mind never changes what they decide.
func TestStaleMemoryIsHarmless(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		l := newLog()
		parts := []*es.Aggregate[add, added, total]{counters(l, "c", 50), counters(l, "c", 50), counters(l, "c", 50)}
		model, seen := map[string]int{}, map[string]bool{}
		for range rapid.IntRange(1, 40).Draw(t, "commands") {
			id := rapid.SampledFrom([]string{"x", "y"}).Draw(t, "stream")
			key := rapid.SampledFrom([]string{"1", "2", "3", "4", "5", "6", "7", "8"}).Draw(t, "key")
			n := rapid.IntRange(0, 20).Draw(t, "n")
			s, err := parts[rapid.IntRange(0, 2).Draw(t, "part")].Do(context.Background(), id, add{N: n}, meta(key))
			switch {
			case seen[id+key] || n == 0:
			case model[id]+n > 50:
				if !errors.Is(err, errFull) {
					t.Fatalf("%v, want a refusal", err)
				}
				continue
			default:
				model[id] += n
				seen[id+key] = true
			}
			if err != nil || s.Sum != model[id] {
				t.Fatalf("%d, %v, want %d", s.Sum, err, model[id])
			}
		}
	})
}

func TestHandleKnowsItsCommands(t *testing.T) {
	t.Parallel()
	if err := counters(newLog(), "c", 9).Handle(t.Context(), "x", "nonsense", meta("k")); !errors.Is(err, es.ErrWrongCommand) {
		t.Fatal(err)
	}
}

func TestSagaKeysAreAFunctionOfTheLog(t *testing.T) {
	t.Parallel()
	saga := es.Saga[total]{
		Name: "sum", Hears: []string{"count.added.v1"},
		Instance: func(r es.Recorded) string { return r.Stream.Key() },
		Evolve:   func(s total, r es.Recorded) total { return total{s.Sum + r.Data.(added).N, s.Facts + 1} },
		React: func(s total, r es.Recorded) []es.Order {
			return []es.Order{{Category: "c", ID: "a", Command: add{N: s.Sum}}, {Category: "c", ID: "b", Command: add{N: s.Facts}, Identity: "me", Correlation: "story"}}
		},
		Done: func(s total) bool { return s.Sum > 5 },
	}
	l := newLog()
	for i := range 9 {
		if _, err := counters(l, "c", 99).Do(t.Context(), fmt.Sprint(i%2), add{N: i}, meta(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
	}
	hear := func() (out []string) {
		p := saga.Start()
		for r, err := range l.ReadAll(t.Context(), 0, es.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range p.Hear(r) {
				out = append(out, fmt.Sprintf("%+v", c.Order)+c.Meta.Key+c.Meta.Correlation+c.Meta.Identity+c.Meta.CausationID.String())
			}
		}
		return out
	}
	first, second := hear(), hear()
	if len(first) != 16 || fmt.Sprint(first) != fmt.Sprint(second) {
		t.Fatalf("%v\n%v", first, second)
	}
	seen := map[string]bool{}
	for _, c := range first {
		if seen[c] {
			t.Errorf("%s comes twice", c)
		}
		seen[c] = true
	}
}

const golden = "14300d7a-74dc-52ea-ae57-0e90d6adef3f"

func TestAFactHasOneNameInAllVersions(t *testing.T) {
	t.Parallel()
	for typ, want := range map[string]string{
		"deal.closed.v1": "deal.closed", "deal.closed.v2": "deal.closed", "deal.closed.v12": "deal.closed", "$log.beacon.v2": "$log.beacon",
		"deal.closed": "deal.closed", "deal.v": "deal.v", "deal.vx": "deal.vx", "deal.v1x": "deal.v1x", "deal.": "deal.", "": "", "v1": "v1", "deal.version": "deal.version",
	} {
		if got := es.FactName(typ); got != want {
			t.Errorf("%q is %q, want %q", typ, got, want)
		}
	}
	f := es.AnyVersion("deal.closed.v2", "offer.made.v1")
	for typ, want := range map[string]bool{
		"deal.closed.v1": true, "deal.closed.v2": true, "deal.closed.v3": true, "offer.made.v2": true, "deal.closed_again.v1": false, "deal.opened.v2": false,
	} {
		if f.Match("deal-1", typ) != want {
			t.Errorf("%s: %v", typ, !want)
		}
	}
}
