package effects_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/domain/es"
)

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
	mu   sync.Mutex
	at   map[string]es.Position
	n    int
	full bool // the disk
}

func (m *marks) Checkpoint(_ context.Context, name string) (es.Position, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at[name], nil
}

func (m *marks) SetCheckpoint(_ context.Context, name string, p es.Position) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.n++; m.full {
		return errors.New("no space left on device")
	}
	if m.at == nil {
		m.at = map[string]es.Position{}
	}
	m.at[name] = p
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

// deaf is a store of which one stream cannot be read a number of times, as when
// it is on a server that is away.
type deaf struct {
	es.Store
	stream es.Stream
	times  int
}

func (d *deaf) ReadStream(ctx context.Context, s es.Stream, from es.Revision, dir es.Direction, limit int) iter.Seq2[es.Event, error] {
	if s != d.stream || d.times == 0 {
		return d.Store.ReadStream(ctx, s, from, dir, limit)
	}
	d.times--
	return func(yield func(es.Event, error) bool) { yield(es.Event{}, errors.New("connection refused")) }
}

// A command whose stream cannot be read was not refused.
func TestSagasRepeatWhatCouldNotBeRead(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		w.ask("a", "1")
		l := &es.Log{Store: &deaf{Store: w.l.Store, stream: "job-a", times: 3}, Codec: codec{}}
		stop := w.sagas(&marks{}, effects.Router{"job": es.NewAggregate(l, "job", rules)})
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

// A disk without space for a checkpoint does not stop a saga: it goes on to
// do what ends obligations, and saves again when there is space.
func TestAFullDiskDoesNotStopASaga(t *testing.T) {
	inBubble(t, func(t *testing.T, w *world) {
		m := &marks{full: true}
		w.ask("a", "1")
		stop := w.sagas(m, w.router())
		time.Sleep(10 * time.Second)
		w.ask("a", "2")
		time.Sleep(10 * time.Second)
		w.want("a", "{Name:1}", "{Name:1 Text:}", "{Name:2}", "{Name:2 Text:}")
		if got, _ := m.Checkpoint(t.Context(), "saga/finisher"); got != 0 || m.n == 0 {
			t.Errorf("saved %d after %d tries", got, m.n)
		}
		m.mu.Lock()
		m.full = false
		m.mu.Unlock()
		w.ask("a", "3")
		time.Sleep(10 * time.Second)
		if got, _ := m.Checkpoint(t.Context(), "saga/finisher"); got == 0 {
			t.Error("it is not saved when there is space again")
		}
		stop()
	})
}
