package segment_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/store/segment"
	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
)

// ledger is what the writers were told, kept outside of the store.
type ledger struct {
	mu    sync.Mutex
	acked map[es.ID]es.Position
	tried []es.Write // the outcome of which is unknown
}

func newLedger() *ledger { return &ledger{acked: make(map[es.ID]es.Position)} }

func randomWrite(r *rand.Rand, name string) es.Write {
	w := es.Write{Stream: es.Stream(fmt.Sprintf("s-%d", r.IntN(4))), Expected: es.Any}
	for i := range 1 + r.IntN(3) {
		data := make([]byte, r.IntN(1500))
		for j := range data {
			data[j] = byte(r.Uint32())
		}
		w.Events = append(w.Events, es.NewEvent{ID: es.EventID(w.Stream, name, i), Type: "t.happened.v1", Data: data})
	}
	return w
}

// append writes w and notes the answer. It returns false when the store ended.
func (l *ledger) append(s es.Store, w es.Write) bool {
	r, err := s.Append(context.Background(), nil, w)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.tried = append(l.tried, w)
		return false
	}
	for i, e := range w.Events {
		l.acked[e.ID] = r.First + es.Position(i)
	}
	return true
}

// compare holds a store against what was acknowledged.
func (l *ledger) compare(s es.Store) error {
	seen := make(map[es.ID]es.Position)
	next := es.Position(0)
	for e, err := range s.ReadAll(context.Background(), 0, es.Forward, es.Filter{}, 0) {
		if err != nil {
			return err
		}
		if e.Position != next {
			return fmt.Errorf("position %d, want %d", e.Position, next)
		}
		if p, ok := seen[e.ID]; ok {
			return fmt.Errorf("event %s is at %d and at %d", e.ID, p, e.Position)
		}
		seen[e.ID] = e.Position
		next++
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, p := range l.acked {
		if got, ok := seen[id]; !ok || got != p {
			return fmt.Errorf("acknowledged event at position %d: found %v at %d", p, ok, got)
		}
	}
	return nil
}

// check is compare, for those who give up.
func (l *ledger) check(t testing.TB, s es.Store) {
	t.Helper()
	if err := l.compare(s); err != nil {
		t.Fatal(err)
	}
}

// again appends once more what had no answer; now it must be there once.
func (l *ledger) again(s es.Store) error {
	tried := l.tried
	l.tried = nil
	for _, w := range tried {
		if !l.append(s, w) {
			return fmt.Errorf("a retry of %s was refused", w.Stream)
		}
	}
	return l.compare(s)
}

func (l *ledger) retry(t testing.TB, s es.Store) {
	t.Helper()
	if err := l.again(s); err != nil {
		t.Fatal(err)
	}
}

// session writes until the store ends or n appends are done.
func (l *ledger) session(s es.Store, r *rand.Rand, round, n int) {
	var writers sync.WaitGroup
	for w := range 3 {
		mine := rand.New(rand.NewPCG(r.Uint64(), 0)) //nolint:gosec // chosen by the seed
		writers.Go(func() {
			for i := range n {
				if !l.append(s, randomWrite(mine, fmt.Sprintf("%d.%d.%d", round, w, i))) {
					return
				}
			}
		})
	}
	writers.Wait()
}

// TestEveryFailingCallIsSurvived fails the n-th change of the file system, for
// every n, then drops what was not synced.
func TestEveryFailingCallIsSurvived(t *testing.T) {
	t.Parallel()
	for n := 1; ; n++ {
		r := rand.New(rand.NewPCG(uint64(n), 3)) //nolint:gosec // a seed that can be repeated
		disk, l := vfs.NewCrash(4096), newLedger()
		var mu sync.Mutex
		calls := 0
		failing := errors.New("input/output error")
		faulty := &vfs.Faulty{FS: disk, Fail: func(op vfs.Op, name string) error {
			mu.Lock()
			defer mu.Unlock()
			if calls++; calls == n {
				return fmt.Errorf("%s %s: %w", op, name, failing)
			}
			return nil
		}}
		s, err := segment.Open("/store", segment.Options{SegmentBytes: 16 << 10, HandOver: n % 2, Idle: time.Hour, FS: faulty})
		if err != nil && !errors.Is(err, failing) {
			t.Fatalf("call %d: %v", n, err)
		}
		if err == nil {
			l.session(s, r, 0, 10)
			_ = s.Close()
		}
		survived := disk.PowerLoss(r)
		s, err = segment.Open("/store", segment.Options{SegmentBytes: 16 << 10, FS: survived})
		if err != nil {
			t.Fatalf("call %d: reopen: %v", n, err)
		}
		l.check(t, s)
		l.retry(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if calls < n {
			return // there is no n-th call
		}
	}
}

func TestAfterAFailedSyncTheStoreIsReadOnly(t *testing.T) {
	t.Parallel()
	var broken bool
	var mu sync.Mutex
	faulty := &vfs.Faulty{FS: vfs.NewCrash(4096), Fail: func(op vfs.Op, _ string) error {
		mu.Lock()
		defer mu.Unlock()
		if broken && op == vfs.OpSync {
			return errors.New("input/output error")
		}
		return nil
	}}
	s, err := segment.Open("/store", segment.Options{SegmentBytes: 16 << 10, Idle: time.Hour, FS: faulty})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()                  //nolint:errcheck // it is broken
	r := rand.New(rand.NewPCG(1, 1)) //nolint:gosec // any will do
	before, err := s.Append(t.Context(), nil, randomWrite(r, "a"))
	if err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	broken = true
	mu.Unlock()
	if _, err := s.Append(t.Context(), nil, randomWrite(r, "b")); !errors.Is(err, es.ErrCommitUnknown) {
		t.Errorf("append whose sync failed: %v", err)
	}
	mu.Lock()
	broken = false
	mu.Unlock()
	if _, err := s.Append(t.Context(), nil, randomWrite(r, "c")); !errors.Is(err, es.ErrDegraded) {
		t.Errorf("append after that: %v", err)
	}
	if h, err := s.Head(t.Context()); err != nil || h != before.Last+1 {
		t.Errorf("head %d, %v; want %d: what is not durable must not be seen", h, err, before.Last+1)
	}
	if s.Failed() == nil {
		t.Error("the store does not tell that it failed")
	}
}
