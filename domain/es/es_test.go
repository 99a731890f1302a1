package es_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gowebpki/jcs"
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

// move takes from one counter what it gives to another.
func move(ctx context.Context, l *es.Log, a, b *es.Aggregate[add, added, total], n int, key string) (es.Receipt, error) {
	return l.Atomically(ctx, meta(key), func(t *es.Tx) error {
		if _, err := a.In(t, "from", add{N: -n}); err != nil {
			return err
		}
		_, err := b.In(t, "to", add{N: n})
		return err
	})
}

func TestTwoStreamsChangeTogether(t *testing.T) {
	t.Parallel()
	l := newLog()
	a, b := counters(l, "a", 1000), counters(l, "b", 20)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			if _, err := move(t.Context(), l, a, b, 1, fmt.Sprint(i)); err != nil && !errors.Is(err, errFull) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	from, _, _ := a.Load(t.Context(), "from")
	to, _, _ := b.Load(t.Context(), "to")
	if from.Sum != -20 || to.Sum != 20 {
		t.Fatalf("%+v %+v", from, to)
	}
}

func TestARepeatedCommandOfManyStreamsWritesNothing(t *testing.T) {
	t.Parallel()
	l := newLog()
	a, b := counters(l, "a", 1000), counters(l, "b", 1000)
	if r, err := move(t.Context(), l, a, b, 3, "k"); err != nil || len(r.Heads) != 2 {
		t.Fatalf("%+v, %v", r, err)
	}
	head, _ := l.Store.Head(t.Context())
	fresh := counters(l, "a", 1000)
	for _, again := range []*es.Aggregate[add, added, total]{a, fresh} {
		if r, err := move(t.Context(), l, again, b, 3, "k"); err != nil || len(r.Heads) != 0 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if now, _ := l.Store.Head(t.Context()); now != head {
		t.Fatalf("head moved from %d to %d", head, now)
	}
}

// What was only looked at must not have changed either.
func TestWhatWasPeekedAtIsChecked(t *testing.T) {
	t.Parallel()
	l := newLog()
	a, b := counters(l, "a", 1000), counters(l, "b", 1000)
	runs := 0
	_, err := l.Atomically(t.Context(), meta("k"), func(tx *es.Tx) error {
		runs++
		s, err := a.Peek(tx, "x")
		if err != nil {
			return err
		}
		if runs == 1 { // somebody else gets in between
			if _, err := counters(l, "a", 1000).Do(t.Context(), "x", add{N: 7}, meta("other")); err != nil {
				return err
			}
		}
		_, err = b.In(tx, "y", add{N: s.Sum + 1})
		return err
	})
	if s, _, _ := b.Load(t.Context(), "y"); err != nil || runs != 2 || s.Sum != 8 {
		t.Fatalf("%d runs, %+v, %v", runs, s, err)
	}
}

func TestTwoCommandsForOneStreamInOneAppend(t *testing.T) {
	t.Parallel()
	l := newLog()
	a := counters(l, "a", 3)
	_, err := l.Atomically(t.Context(), meta("k"), func(tx *es.Tx) error {
		for range 3 {
			if _, err := a.In(tx, "x", add{N: 1}); err != nil {
				return err
			}
		}
		if _, err := a.In(tx, "x", add{N: 1}); !errors.Is(err, errFull) {
			t.Errorf("the fourth saw nothing of the others: %v", err)
		}
		return nil
	})
	if s, rev, _ := a.Load(t.Context(), "x"); err != nil || s.Sum != 3 || rev != 2 {
		t.Fatalf("%+v at %d, %v", s, rev, err)
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

func TestCanonicalJSONIsRFC8785(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		v := map[string]any{
			"a": rapid.String().Draw(t, "text"), "b<>&": rapid.SliceOf(rapid.String()).Draw(t, "texts"),
			"n": rapid.Int64Range(-1<<53+1, 1<<53-1).Draw(t, "n"), "z": nil,
			"s": "\u2028\u2029\\u2028 \\ \" \x7f \x00\x1f\b\f\n\r\t</script>" + rapid.StringOf(rapid.RuneFrom([]rune("\u2027\u2028\u2029\\u208\""))).Draw(t, "separators"),
			"m": map[string]bool{"x": true, "A": false},
		}
		got, err := es.CanonicalJSON(v)
		if err != nil {
			t.Fatal(err)
		}
		want, err := jcs.Transform(got)
		if err != nil || string(got) != string(want) {
			t.Fatalf("%s\n%s\n%v", got, want, err)
		}
		var back map[string]any
		if err := json.Unmarshal(got, &back); err != nil || back["a"] != v["a"] || back["s"] != v["s"] {
			t.Fatalf("%v, %v", back, err)
		}
	})
}

func TestMetaKeepsWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	at := es.Position(7)
	full := es.Meta{
		Correlation: "c", CausationID: es.EventID("s-1", "k", 0), Cause: &at, Key: "k", Actor: es.ActorPeer, Identity: "i", AppKey: "a", Session: "s",
		Peer: "p", Via: "v", SentAt: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Seq: 9, Grade: es.GradeSigned,
		Effect: &es.EffectMeta{Attempt: 2, DurationMicros: 3, Endpoint: "e"}, Policy: &es.PolicyMeta{Code: "c", Inputs: "i", Name: "n", Version: "1"},
		Node: "n", Trace: "t", Extra: map[string]json.RawMessage{"future": json.RawMessage(`{"a":[1,"x"]}`), "zz": json.RawMessage(`null`)},
	}
	b, err := full.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	canonical, err := jcs.Transform(b)
	if err != nil || string(canonical) != string(b) {
		t.Fatalf("%s\n%s\n%v", b, canonical, err)
	}
	var back es.Meta
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	again, err := back.MarshalJSON()
	if err != nil || string(again) != string(b) || len(back.Extra) != 2 || *back.Cause != 7 {
		t.Fatalf("%s\n%s\n%v", b, again, err)
	}
	var empty es.Meta
	if b, err := empty.MarshalJSON(); err != nil || string(b) != "{}" {
		t.Fatalf("%s, %v", b, err)
	}
	if err := json.Unmarshal([]byte(`{"$causationId":"no"}`), &back); err == nil {
		t.Fatal("a malformed id was taken")
	}
}

// Ids are names for ever: other programs may compute them.
func TestEventIDs(t *testing.T) {
	t.Parallel()
	if got := es.NameID(es.ID{0x6b, 0xa7, 0xb8, 0x10, 0x9d, 0xad, 0x11, 0xd1, 0x80, 0xb4, 0x00, 0xc0, 0x4f, 0xd4, 0x30, 0xc8}, "www.example.com").String(); got != "2ed6657d-e927-568b-95e1-2665a8aea6a2" {
		t.Errorf("the vector of RFC 9562 gives %s", got)
	}
	seen := map[es.ID]string{}
	for _, stream := range []es.Stream{"a-1", "a-11", "b-1"} {
		for _, key := range []string{"k", "k1", "1"} {
			for i := range 12 {
				id := es.EventID(stream, key, i)
				name := fmt.Sprint(stream, " ", key, " ", i)
				if other, ok := seen[id]; ok {
					t.Errorf("%s and %s share %s", name, other, id)
				}
				seen[id] = name
				if back, err := es.ParseID(id.String()); err != nil || back != id || id[6]>>4 != 5 || id[8]>>6 != 2 {
					t.Errorf("%s: %s, %v", id, back, err)
				}
			}
		}
	}
	if got := es.EventID("agreement-R-1", "key", 0).String(); got != golden {
		t.Errorf("%s, want %s", got, golden)
	}
}

func TestStreamNames(t *testing.T) {
	t.Parallel()
	s := es.StreamOf("agreement", "R-a-b")
	if s != "agreement-R-a-b" || s.Category() != "agreement" || s.Key() != "R-a-b" {
		t.Fatal(s, s.Category(), s.Key())
	}
}

func TestFilter(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		f    es.Filter
		want bool
	}{
		"everything":          {es.Filter{}, true},
		"the stream":          {es.Filter{Streams: []es.Stream{"x-1", "a-1"}}, true},
		"another stream":      {es.Filter{Streams: []es.Stream{"a-2"}}, false},
		"a prefix":            {es.Filter{StreamPrefixes: []string{"b", "a-"}}, true},
		"another prefix":      {es.Filter{StreamPrefixes: []string{"b"}}, false},
		"exact or prefix":     {es.Filter{Streams: []es.Stream{"no"}, StreamPrefixes: []string{"a"}}, true},
		"the type":            {es.Filter{Types: []string{"t.v1"}}, true},
		"type and stream":     {es.Filter{Types: []string{"t.v1"}, Streams: []es.Stream{"a-1"}}, true},
		"type, other stream":  {es.Filter{Types: []string{"t.v1"}, Streams: []es.Stream{"a-2"}}, false},
		"stream, other type":  {es.Filter{Types: []string{"u.v1"}, Streams: []es.Stream{"a-1"}}, false},
		"a prefix of a type":  {es.Filter{TypePrefixes: []string{"t."}}, true},
		"a pattern":           {es.Filter{StreamPattern: regexp.MustCompile("^a-[0-9]$")}, true},
		"another pattern":     {es.Filter{TypePattern: regexp.MustCompile("v2$")}, false},
		"pattern or the type": {es.Filter{TypePattern: regexp.MustCompile("v2$"), Types: []string{"t.v1"}}, true},
	} {
		if got := c.f.Match("a-1", "t.v1"); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
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
