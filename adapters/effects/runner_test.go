package effects_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

// A stream of these tests is a list of jobs: asked for, then done.
type (
	ask    struct{ Name string }
	answer struct {
		Name, Text string
		Bad        bool
	}
	asked struct {
		Name string `json:"name"`
	}
	done struct {
		Name string `json:"name"`
		Text string `json:"text"`
	}
	jobs map[string]bool // name → done
)

func (asked) IsIntent() bool { return true }

var errBad = errors.New("bad outcome")

var rules = es.Decider[any, any, jobs]{
	Decide: func(s jobs, c any) ([]any, error) {
		switch c := c.(type) {
		case ask:
			if _, ok := s[c.Name]; !ok {
				return []any{asked(c)}, nil
			}
		case answer:
			if c.Bad {
				return nil, errBad
			}
			if ready, ok := s[c.Name]; ok && !ready {
				return []any{done{c.Name, c.Text}}, nil
			}
		}
		return nil, nil
	},
	Evolve: func(s jobs, e any) jobs {
		next := jobs{}
		for k, v := range s {
			next[k] = v
		}
		switch e := e.(type) {
		case asked:
			next[e.Name] = false
		case done:
			next[e.Name] = true
		}
		return next
	},
}

type codec struct{}

func (codec) Encode(fact any) (string, []byte, string, error) {
	b, err := es.CanonicalJSON(fact)
	if _, ok := fact.(asked); ok {
		return "job.asked.v1", b, "", err
	}
	return "job.done.v1", b, "", err
}

func (codec) Decode(typ string, data []byte) (any, error) {
	switch typ {
	case "job.asked.v1":
		var e asked
		err := json.Unmarshal(data, &e)
		return e, err
	case "job.done.v1":
		var e done
		err := json.Unmarshal(data, &e)
		return e, err
	}
	return nil, es.ErrUnknownType
}

// intents reads the log for what is open. stale makes it tell of answered ones
// as well, as a listing does that was made a moment ago.
type intents struct {
	l     *es.Log
	stale bool
}

func (i intents) OpenIntents(ctx context.Context) ([]es.Position, error) {
	var open []es.Recorded
	answered := map[string]bool{}
	for r, err := range i.l.ReadAll(ctx, 0, es.Filter{}) {
		if err != nil {
			return nil, err
		}
		answered[strings.TrimSuffix(r.Info.Key, "/final")] = true
		if in, ok := r.Data.(es.Intent); ok && in.IsIntent() {
			open = append(open, r)
		}
	}
	var out []es.Position
	for _, r := range open {
		if i.stale || !answered[r.ID.String()] {
			out = append(out, r.Position)
		}
	}
	return out, nil
}

type world struct {
	t    *testing.T
	l    *es.Log
	jobs *es.Aggregate[any, any, jobs]

	mu    sync.Mutex
	calls []string // "stream/name#attempt"
}

func newWorld(t *testing.T) *world {
	l := &es.Log{Store: memory.New(), Codec: codec{}}
	return &world{t: t, l: l, jobs: es.NewAggregate(l, "job", rules)}
}

func (w *world) ask(stream, name string) {
	w.t.Helper()
	if _, err := w.jobs.Do(w.t.Context(), stream, ask{name}, es.Meta{Key: name, Correlation: "story", Identity: "me"}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) called() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.calls...)
}

func (w *world) router() effects.Router { return effects.Router{"job": w.jobs} }

func outcome(a effects.Attempt, text string) effects.Outcome {
	return effects.Outcome{Order: es.Order{Category: "job", ID: a.Intent.Stream.Key(), Command: answer{Name: a.Intent.Data.(asked).Name, Text: text}}}
}

// run starts a runner; the returned function stops it and waits.
func (w *world) run(effect effects.Effect) (r *effects.Runner, stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	r = &effects.Runner{Log: w.l, Router: w.router(), Intents: intents{l: w.l}, Logger: slog.New(slog.DiscardHandler)}
	r.Effects = map[string]effects.Effect{"job.asked.v1": func(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
		w.mu.Lock()
		w.calls = append(w.calls, fmt.Sprintf("%s/%s#%d", a.Intent.Stream.Key(), a.Intent.Data.(asked).Name, a.N))
		w.mu.Unlock()
		return effect(ctx, a)
	}}
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	return r, func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Error(err)
		}
	}
}

// facts are the contents of a stream, in order.
func (w *world) facts(stream string) (out []string) {
	w.t.Helper()
	for r, err := range w.l.ReadStream(w.t.Context(), es.StreamOf("job", stream), 0) {
		if err != nil {
			w.t.Fatal(err)
		}
		out = append(out, fmt.Sprintf("%+v", r.Data))
	}
	return out
}

func (w *world) want(stream string, facts ...string) {
	w.t.Helper()
	if got := w.facts(stream); fmt.Sprint(got) != fmt.Sprint(facts) {
		w.t.Errorf("%s holds %v, want %v", stream, got, facts)
	}
}

func (w *world) wantCalls(want ...string) {
	w.t.Helper()
	if got := w.called(); fmt.Sprint(got) != fmt.Sprint(want) {
		w.t.Errorf("calls %v, want %v", got, want)
	}
}

func inBubble(t *testing.T, f func(t *testing.T, w *world)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { f(t, newWorld(t)) })
}

func TestAnIntentHasOneOutcome(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ask("a", "before")
		_, stop := w.run(func(_ context.Context, a effects.Attempt) (effects.Outcome, error) {
			o := outcome(a, "ok")
			o.Grade, o.Peer, o.Endpoint = es.GradeSession, "0xpeer", "rpc"
			return o, nil
		})
		defer stop()
		synctest.Wait()
		w.ask("b", "after")
		time.Sleep(time.Hour)
		w.want("a", "{Name:before}", "{Name:before Text:ok}")
		w.want("b", "{Name:after}", "{Name:after Text:ok}")
		w.wantCalls("a/before#1", "b/after#1")
		for r, err := range w.l.ReadStream(t.Context(), "job-a", 1) {
			if err != nil {
				t.Fatal(err)
			}
			m := r.Info
			if m.Correlation != "story" || m.Identity != "me" || *m.Cause != 0 || m.Peer != "0xpeer" || m.Grade != es.GradeSession ||
				m.Effect.Attempt != 1 || m.Effect.Endpoint != "rpc" || !strings.HasSuffix(m.Key, "/final") {
				t.Errorf("%+v", m)
			}
		}
	})
}

func TestAFailingEffectIsTriedAgainWithGrowingPauses(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var at []time.Duration
		begun := time.Now()
		w.ask("a", "x")
		_, stop := w.run(func(_ context.Context, a effects.Attempt) (effects.Outcome, error) {
			at = append(at, time.Since(begun).Round(time.Millisecond))
			if a.N < 5 {
				return effects.Outcome{}, errors.New("not now")
			}
			return outcome(a, "ok"), nil
		})
		time.Sleep(time.Hour)
		stop()
		if want := "[0s 1s 3s 7s 15s]"; fmt.Sprint(at) != want {
			t.Errorf("%v, want %v", at, want)
		}
		w.want("a", "{Name:x}", "{Name:x Text:ok}")
	})
}

func TestRetryAfterNamesThePause(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var at []time.Duration
		begun := time.Now()
		w.ask("a", "x")
		_, stop := w.run(func(_ context.Context, a effects.Attempt) (effects.Outcome, error) {
			at = append(at, time.Since(begun).Round(time.Millisecond))
			if a.N < 4 {
				return effects.Outcome{}, fmt.Errorf("wrapped: %w", &effects.RetryAfter{In: 250 * time.Millisecond, Err: errors.New("busy")})
			}
			return outcome(a, "ok"), nil
		})
		time.Sleep(time.Minute)
		stop()
		if want := "[0s 250ms 500ms 750ms]"; fmt.Sprint(at) != want {
			t.Errorf("%v, want %v", at, want)
		}
	})
}

// The runner stops after the act and before its record; another one takes over.
func TestACrashBetweenActAndOutcome(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ask("a", "x")
		_, stop := w.run(func(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
			<-ctx.Done() // the act happened, nobody hears of it
			return outcome(a, "first"), nil
		})
		synctest.Wait()
		stop()
		w.want("a", "{Name:x}")
		_, stop = w.run(func(_ context.Context, a effects.Attempt) (effects.Outcome, error) { return outcome(a, "second"), nil })
		defer stop()
		time.Sleep(time.Hour)
		w.want("a", "{Name:x}", "{Name:x Text:second}")
		w.wantCalls("a/x#1", "a/x#1")
	})
}

// Two runners over one log, as when one does not know yet that it is dead.
func TestTwoRunnersWriteOneOutcome(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ask("a", "x")
		slow := func(text string) effects.Effect {
			return func(_ context.Context, a effects.Attempt) (effects.Outcome, error) {
				time.Sleep(time.Second)
				return outcome(a, text), nil
			}
		}
		_, stop := w.run(slow("same"))
		defer stop()
		_, stop2 := w.run(slow("same"))
		defer stop2()
		time.Sleep(time.Hour)
		w.want("a", "{Name:x}", "{Name:x Text:same}")
		w.wantCalls("a/x#1", "a/x#1")
	})
}

// A listing can be older than the outcome: what is answered is not done again.
func TestAnAnsweredIntentIsNotCarriedOut(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ask("a", "x")
		ok := func(_ context.Context, a effects.Attempt) (effects.Outcome, error) { return outcome(a, "ok"), nil }
		_, stop := w.run(ok)
		synctest.Wait()
		stop()
		ctx, cancel := context.WithCancel(t.Context())
		r := &effects.Runner{
			Log: w.l, Router: w.router(), Intents: intents{w.l, true}, Logger: slog.New(slog.DiscardHandler),
			Effects: map[string]effects.Effect{"job.asked.v1": func(context.Context, effects.Attempt) (effects.Outcome, error) {
				t.Error("it was carried out again")
				return effects.Outcome{}, errors.New("no")
			}},
		}
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()
		time.Sleep(10 * time.Minute) // several listings
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestIntentsOfAStreamGoInOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		for _, n := range []string{"1", "2", "3"} {
			w.ask("a", n)
		}
		_, stop := w.run(func(_ context.Context, a effects.Attempt) (effects.Outcome, error) {
			if a.N < 3 && a.Intent.Data.(asked).Name != "3" {
				return effects.Outcome{}, errors.New("not now")
			}
			return outcome(a, "ok"), nil
		})
		defer stop()
		synctest.Wait()
		w.ask("a", "4")
		time.Sleep(time.Hour)
		w.wantCalls("a/1#1", "a/1#2", "a/1#3", "a/2#1", "a/2#2", "a/2#3", "a/3#1", "a/4#1", "a/4#2", "a/4#3")
	})
}

func TestASlowStreamHoldsUpNoOther(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		release := make(chan struct{})
		_, stop := w.run(func(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
			if strings.HasPrefix(a.Intent.Stream.Key(), "slow") {
				select {
				case <-release:
				case <-ctx.Done():
					return effects.Outcome{}, ctx.Err()
				}
			}
			return outcome(a, "ok"), nil
		})
		defer stop()
		synctest.Wait()
		for i := range 100 { // most, not all, of the lanes
			w.ask(fmt.Sprintf("slow%d", i), "x")
		}
		for i := range 500 {
			w.ask(fmt.Sprintf("quick%d", i), "x")
		}
		synctest.Wait()
		for i := range 500 {
			w.want(fmt.Sprintf("quick%d", i), "{Name:x}", "{Name:x Text:ok}")
		}
		w.want("slow7", "{Name:x}")
		for i := range 200 { // more than there are lanes: they wait for one
			w.ask(fmt.Sprintf("slower%d", i), "x")
		}
		synctest.Wait()
		close(release)
		synctest.Wait()
		for i := range 200 {
			w.want(fmt.Sprintf("slower%d", i), "{Name:x}", "{Name:x Text:ok}")
		}
	})
}

func TestAPanicIsAFailedAttempt(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ask("a", "x")
		_, stop := w.run(func(_ context.Context, a effects.Attempt) (effects.Outcome, error) {
			if a.N < 3 {
				panic("oh")
			}
			return outcome(a, "ok"), nil
		})
		defer stop()
		time.Sleep(time.Minute)
		w.want("a", "{Name:x}", "{Name:x Text:ok}")
	})
}

// Outcomes that the rules refuse, or are silent to, are defects: they stay
// open and do not spin.
func TestARefusedOutcomeDoesNotSpin(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ask("a", "refused")
		w.ask("b", "silent")
		_, stop := w.run(func(_ context.Context, a effects.Attempt) (effects.Outcome, error) {
			o := outcome(a, "ok")
			c := answer{Name: a.Intent.Data.(asked).Name, Bad: true}
			if c.Name == "silent" {
				c = answer{Name: "somebody else"}
			}
			o.Order.Command = c
			return o, nil
		})
		defer stop()
		time.Sleep(time.Hour)
		if n := len(w.called()); n < 20 || n > 26 {
			t.Errorf("%d attempts in an hour", n)
		}
	})
}

func TestWake(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var up atomic.Bool
		w.ask("a", "x")
		w.ask("b", "x")
		r, stop := w.run(func(_ context.Context, a effects.Attempt) (effects.Outcome, error) {
			if !up.Load() {
				return effects.Outcome{}, &effects.RetryAfter{In: 24 * time.Hour, Err: errors.New("away")}
			}
			return outcome(a, "ok"), nil
		})
		defer stop()
		synctest.Wait()
		up.Store(true)
		only := func(q string) bool { return q == "job-a" }
		r.Wake(only)
		r.Wake(only)
		synctest.Wait()
		w.want("a", "{Name:x}", "{Name:x Text:ok}")
		w.want("b", "{Name:x}")
		if calls := w.called(); len(calls) != 3 || calls[2] != "a/x#2" {
			t.Errorf("%v", calls)
		}
	})
}

// What could not be told to a node is told when it is seen again, and nothing
// that waits for others.
func TestAPeerThatIsSeenAgainIsToldAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		var up atomic.Bool
		w.ask("a", "x")
		w.ask("b", "x")
		r, stop := w.run(func(_ context.Context, a effects.Attempt) (effects.Outcome, error) {
			if !up.Load() {
				away := &peer.CallError{To: identity.NodeID("0x" + a.Intent.Stream.Key()), Kind: "k", Err: peer.ErrUnreachable}
				return effects.Outcome{}, &effects.RetryAfter{In: 24 * time.Hour, Err: fmt.Errorf("tell: %w", away)}
			}
			return outcome(a, "ok"), nil
		})
		defer stop()
		synctest.Wait()
		up.Store(true)
		r.WakePeer("0xc")
		r.WakePeer("0xa")
		synctest.Wait()
		w.want("a", "{Name:x}", "{Name:x Text:ok}")
		w.want("b", "{Name:x}")
	})
}

// The peer comes back while an attempt is still failing.
func TestAWakeDuringAnAttemptIsNotLost(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ask("a", "x")
		r, stop := w.run(func(_ context.Context, a effects.Attempt) (effects.Outcome, error) {
			if a.N == 1 {
				time.Sleep(5 * time.Second)
				return effects.Outcome{}, &effects.RetryAfter{In: 24 * time.Hour, Err: errors.New("away")}
			}
			return outcome(a, "ok"), nil
		})
		defer stop()
		time.Sleep(time.Second)
		r.Wake(func(string) bool { return true })
		time.Sleep(10 * time.Second)
		w.want("a", "{Name:x}", "{Name:x Text:ok}")
	})
}

// broken is a handler that fails for the moment a number of times.
type broken struct {
	effects.Handler
	errs []error
}

func (b *broken) Handle(ctx context.Context, id string, cmd any, m es.Meta) error {
	if len(b.errs) > 0 {
		err := b.errs[0]
		b.errs = b.errs[1:]
		return err
	}
	return b.Handler.Handle(ctx, id, cmd, m)
}

// marks keeps checkpoints in mind.
type marks struct {
	mu sync.Mutex
	at map[string]es.Position
	n  int
}

func (m *marks) Checkpoint(_ context.Context, name string) (es.Position, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at[name], nil
}

func (m *marks) SetCheckpoint(_ context.Context, name string, p es.Position) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.at == nil {
		m.at = map[string]es.Position{}
	}
	m.at[name] = p
	m.n++
	return nil
}

// finisher is a saga that answers every job itself.
var finisher = es.Saga[int]{
	Name: "finisher", Hears: []string{"job.asked.v1"},
	Instance: func(r es.Recorded) string {
		if r.Stream.Key() == "log" {
			return ""
		}
		return string(r.Stream)
	},
	Evolve: func(n int, _ es.Recorded) int { return n + 1 },
	React: func(n int, r es.Recorded) []es.Order {
		name := r.Data.(asked).Name
		return []es.Order{
			{Category: "job", ID: r.Stream.Key(), Command: answer{Name: name, Bad: name == "bad"}},
			{Category: "nobody", ID: "x", Command: "nonsense"},
			{Category: "job", ID: "log", Command: ask{fmt.Sprint(name, n)}},
		}
	},
}

func (w *world) sagas(m *marks, r effects.Router) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	s := effects.Sagas{Log: w.l, Router: r, Checkpoints: m, Logger: slog.New(slog.DiscardHandler), Processes: []es.Process{finisher.Start()}}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, context.Canceled) {
			w.t.Error(err)
		}
	}
}

func TestSagasGoOnAfterRefusalsAndRepeats(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		m := &marks{}
		for _, n := range []string{"1", "bad", "2"} {
			w.ask("a", n)
		}
		stop := w.sagas(m, w.router())
		time.Sleep(time.Minute)
		stop()
		w.want("a", "{Name:1}", "{Name:bad}", "{Name:2}", "{Name:1 Text:}", "{Name:2 Text:}")
		head, _ := w.l.Store.Head(t.Context())
		// Without a checkpoint everything is heard again; nothing new follows.
		for _, again := range []*marks{{}, m} {
			stop = w.sagas(again, effects.Router{"job": es.NewAggregate(w.l, "job", rules)})
			time.Sleep(time.Minute)
			stop()
			if now, _ := w.l.Store.Head(t.Context()); now != head {
				t.Errorf("the head moved from %d to %d: %v", head, now, w.facts("log"))
			}
		}
		if got, _ := m.Checkpoint(t.Context(), "saga/finisher"); got == 0 {
			t.Error("no checkpoint")
		}
	})
}

func TestSagasRepeatWhatDidNotWorkNow(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		b := &broken{Handler: w.jobs, errs: []error{
			fmt.Errorf("x: %w", es.ErrConflict), es.ErrCommitUnknown, es.ErrDegraded, context.DeadlineExceeded,
		}}
		w.ask("a", "1")
		stop := w.sagas(&marks{}, effects.Router{"job": b})
		time.Sleep(time.Minute)
		stop()
		w.want("a", "{Name:1}", "{Name:1 Text:}")
	})
}

func TestCheckpointsAreNotWrittenForEveryFact(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		m := &marks{}
		stop := w.sagas(m, w.router())
		for i := range 200 {
			w.ask("log", fmt.Sprint(i))
			time.Sleep(10 * time.Millisecond)
		}
		stop()
		if m.n > 5 {
			t.Errorf("%d checkpoints in two seconds", m.n)
		}
	})
}

func TestOpenStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	w.ask("P-1", "x")
	w.ask("P-2", "x")
	w.ask("R-1", "x")
	w.ask("P-3", "x")
	finish := func(id string) {
		if _, err := w.jobs.Do(ctx, id, answer{Name: "x"}, es.Meta{Key: "done"}); err != nil {
			t.Fatal(err)
		}
	}
	finish("P-2")
	open := func() string {
		ids, err := effects.OpenStreams(ctx, w.l.Store, "job-P-", []string{"job.asked.v1"}, []string{"job.done.v1"})
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(ids)
	}
	if got := open(); got != "[P-1 P-3]" {
		t.Error(got)
	}
	finish("P-1")
	w.ask("P-2", "again")
	if got := open(); got != "[P-3 P-2]" {
		t.Error(got)
	}
}
