package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/emet-node/emet/domain/es"
)

// History records what clients of a store did and were told, to be held against
// a model of three streams that change at once.
type History struct {
	mu    sync.Mutex
	begun time.Time
	ops   []porcupine.Operation
	tags  int
	calm  bool // clients neither read nor expect anything
}

// NewHistory begins a history.
func NewHistory() *History { return &History{begun: time.Now()} }

const linearStreams = 3

func linearStream(i int) es.Stream { return es.Stream(fmt.Sprintf("linear-%d", i)) }

// what a client asked.
type asked struct {
	tag      int // of an append, 0 = a read
	write    [linearStreams]bool
	expected [linearStreams]es.Revision
	read     int
}

// what it was told.
type told struct {
	unknown, conflict bool
	count, last       int // of the stream that was read
	first             es.Position
}

// standing is a state of the model.
type standing struct {
	count, last [linearStreams]int
	head        es.Position
}

var linearModel = porcupine.NondeterministicModel{
	Init:  func() []any { return []any{standing{}} },
	Step:  func(state, in, out any) []any { return step(state.(standing), in.(asked), out.(told)) }, //nolint:forcetypeassert // nothing else is recorded
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(in, out any) string {
		return fmt.Sprintf("%+v -> %+v", in, out)
	},
}

func step(s standing, in asked, out told) []any {
	if in.tag == 0 {
		if out.unknown || out.count == s.count[in.read] && out.last == s.last[in.read] {
			return []any{s}
		}
		return nil
	}
	next, fits := s, true
	for i := range linearStreams {
		if in.expected[i] != es.Any && in.expected[i] != es.Revision(s.count[i]-1) {
			fits = false // also of a stream that is only checked
		}
		if in.write[i] {
			next.count[i]++
			next.last[i] = in.tag
			next.head++
		}
	}
	switch {
	case out.unknown && fits:
		return []any{s, next}
	case out.unknown, out.conflict && !fits:
		return []any{s}
	case !out.conflict && fits && out.first == s.head:
		return []any{next}
	}
	return nil
}

func (h *History) tag() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tags++
	return h.tags
}

func (h *History) note(client int, in asked, call time.Time, out told) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{
		ClientId: client, Input: in, Call: call.Sub(h.begun).Nanoseconds(), Output: out, Return: time.Since(h.begun).Nanoseconds(),
	})
}

// Client asks n random things, one after the other, until the store ends.
func (h *History) Client(ctx context.Context, s es.Store, client, n int, r *rand.Rand) {
	for range n {
		in, call := asked{read: r.IntN(linearStreams)}, time.Now()
		if r.IntN(3) == 0 && !h.calm {
			out, err := readOne(ctx, s, in.read)
			if err != nil {
				return
			}
			h.note(client, in, call, out)
			continue
		}
		in.tag = h.tag()
		out, err := h.appendOne(ctx, s, &in, r)
		failed := err != nil && !errors.Is(err, es.ErrConflict)
		if !failed || in.tag != 0 {
			h.note(client, in, call, out)
		}
		if failed {
			return
		}
	}
}

func readOne(ctx context.Context, s es.Store, i int) (out told, err error) {
	for e, err := range s.ReadStream(ctx, linearStream(i), 0, es.Forward, 0) {
		if err != nil {
			return out, err
		}
		out.count++
		if _, err := fmt.Sscan(string(e.Data), &out.last); err != nil {
			return out, err
		}
	}
	return out, nil
}

func (h *History) appendOne(ctx context.Context, s es.Store, in *asked, r *rand.Rand) (out told, err error) {
	var checks []es.Check
	var writes []es.Write
	for i := range linearStreams {
		in.expected[i] = es.Any
		if r.IntN(2) == 0 && !h.calm {
			info, err := s.Info(ctx, linearStream(i))
			if err != nil {
				return told{unknown: true}, err
			}
			in.expected[i] = info.Head
		}
		if in.write[i] = r.IntN(2) == 0; in.write[i] {
			e := es.NewEvent{ID: es.EventID(linearStream(i), "linear", in.tag), Type: "t.happened.v1", Data: fmt.Append(nil, in.tag), Meta: []byte("{}")}
			writes = append(writes, es.Write{Stream: linearStream(i), Expected: in.expected[i], Events: []es.NewEvent{e}})
		} else {
			checks = append(checks, es.Check{Stream: linearStream(i), Expected: in.expected[i]})
		}
	}
	if len(writes) == 0 && h.calm {
		return h.appendOne(ctx, s, in, r)
	}
	if len(writes) == 0 {
		in.tag = 0
		return readOne(ctx, s, in.read)
	}
	receipt, err := s.Append(ctx, checks, writes...)
	return told{conflict: errors.Is(err, es.ErrConflict), unknown: err != nil && !errors.Is(err, es.ErrConflict), first: receipt.First}, err
}

// Check says whether there is an order in which one client alone would have been
// told the same. Appends whose outcome is unknown may have happened at
// any time since, or not at all.
func (h *History) Check(t testing.TB) {
	t.Helper()
	if err := h.Err(); err != nil {
		t.Fatal(err)
	}
}

// Err is [History.Check] as an error.
func (h *History) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	end := time.Since(h.begun).Nanoseconds()
	for i, op := range h.ops {
		if out := op.Output.(told); out.unknown { //nolint:forcetypeassert // nothing else is recorded
			h.ops[i].Return = end
			h.ops[i].ClientId = 1000 + i // its client may have gone on
		}
	}
	switch got := porcupine.CheckOperationsTimeout(linearModel.ToModel(), h.ops, 5*time.Minute); got {
	case porcupine.Ok:
		return nil
	default:
		return fmt.Errorf("%d operations are not linearizable: %v", len(h.ops), got)
	}
}

// linearizable lets 1 to 64 clients work at once. What 64 do is all appends that
// cannot fail: the order of operations that change nothing is too much to search.
func linearizable(t *testing.T, s es.Store) {
	h := NewHistory()
	for round, clients := range []int{1, 4, 8, 64} {
		h.calm = clients == 64
		var all sync.WaitGroup
		for c := range clients {
			all.Go(func() {
				h.Client(t.Context(), s, c, 48/clients+2, rand.New(rand.NewPCG(uint64(round), uint64(c)))) //nolint:gosec // chosen by the seed
			})
		}
		all.Wait()
	}
	h.Check(t)
}

// unlinearizable shows that the check can fail: it is given a history with a stale
// read.
func unlinearizable(t *testing.T, s es.Store) {
	h := NewHistory()
	h.Client(t.Context(), s, 0, 30, rand.New(rand.NewPCG(1, 1))) //nolint:gosec // any will do
	h.note(0, asked{read: 0}, time.Now(), told{})
	if h.Err() == nil {
		t.Error("a stale read is not noticed")
	}
}
