package effects_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
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

// What a build of before asked for is carried out, whether it is found at the
// start or comes later. Who carries it out knows what is older than himself.
func TestIntentsOfOldVersionsAreCarriedOut(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		old := func(stream, name string) {
			e := es.NewEvent{ID: es.EventID(es.StreamOf("job", stream), name, 0), Type: "job.asked.v0", Data: []byte(`{"Name":"` + name + `"}`), Meta: []byte(`{}`)}
			if _, err := w.l.Store.Append(t.Context(), nil, es.Write{Stream: es.StreamOf("job", stream), Expected: es.Any, Events: []es.NewEvent{e}}); err != nil {
				t.Fatal(err)
			}
		}
		old("a", "before")
		time.Sleep(time.Second)
		resumed := make(map[string]bool)
		_, stop := w.run(func(_ context.Context, a effects.Attempt) (effects.Outcome, error) {
			resumed[a.Intent.Data.(asked).Name] = a.Resumed
			return outcome(a, "ok"), nil
		})
		synctest.Wait()
		time.Sleep(time.Second)
		old("b", "after")
		time.Sleep(time.Hour)
		stop()
		w.want("a", "{Name:before}", "{Name:before Text:ok}")
		w.want("b", "{Name:after}", "{Name:after Text:ok}")
		if !resumed["before"] || resumed["after"] || len(resumed) != 2 {
			t.Errorf("resumed: %v", resumed)
		}
	})
}

// The clock was an hour ahead, and is right when the node comes back: what was
// asked for before is older all the same.
func TestTheLogTellsWhatIsOlderNotTheClock(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.l.Store = memory.New().WithClock(func() time.Time { return time.Now().Add(time.Hour) })
		w.ask("a", "before")
		resumed := make(map[string]bool)
		_, stop := w.run(func(_ context.Context, a effects.Attempt) (effects.Outcome, error) {
			resumed[a.Intent.Data.(asked).Name] = a.Resumed
			return outcome(a, "ok"), nil
		})
		synctest.Wait()
		w.ask("a", "after")
		time.Sleep(time.Minute)
		stop()
		if !resumed["before"] || resumed["after"] || len(resumed) != 2 {
			t.Errorf("resumed: %v", resumed)
		}
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

// An intent that stays open for long is not read and decoded each minute.
func TestWhatIsKnownIsNotReadAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		const listed = 2 // by the listing of these tests itself
		reads := new(countingCodec)
		w.l.Codec = reads
		w.ask("a", "x")
		w.ask("b", "y")
		_, stop := w.run(func(context.Context, effects.Attempt) (effects.Outcome, error) {
			return effects.Outcome{}, &effects.RetryAfter{In: 24 * time.Hour, Err: errors.New("not now")}
		})
		defer stop()
		time.Sleep(10 * time.Second)
		begun := reads.n.Load()
		time.Sleep(10 * time.Minute)
		if got := reads.n.Load() - begun; got != 10*listed {
			t.Errorf("%d facts were decoded in ten minutes, %d of them to list what is open", got, 10*listed)
		}
		w.ask("c", "z") // and what is new is still found
		time.Sleep(time.Second)
		if got := w.called(); len(got) != 3 || got[2] != "c/z#1" {
			t.Errorf("calls %v", got)
		}
	})
}

// countingCodec counts what is decoded.
type countingCodec struct {
	codec
	n atomic.Int64
}

func (c *countingCodec) Decode(typ string, data []byte) (any, error) {
	c.n.Add(1)
	return c.codec.Decode(typ, data)
}
