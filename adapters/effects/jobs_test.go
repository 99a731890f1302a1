package effects_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/es"
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
	case "job.asked.v0", "job.asked.v1":
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
