package segment_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/store/segment"
	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
)

// gate is a disk whose syncs of segments wait until they are let through.
type gate struct {
	vfs.FS
	mu      sync.Mutex
	writes  int // of segments
	waiting chan struct{}
	pass    chan error
	shut    bool
}

func newGate() *gate {
	g := &gate{waiting: make(chan struct{}, 100), pass: make(chan error)}
	g.FS = &vfs.Faulty{FS: vfs.NewCrash(4096), Fail: func(op vfs.Op, name string) error {
		if !strings.HasSuffix(name, ".elog") {
			return nil
		}
		g.mu.Lock()
		shut := g.shut
		if op == vfs.OpWrite {
			g.writes++
		}
		g.mu.Unlock()
		if op != vfs.OpSync || !shut {
			return nil
		}
		g.waiting <- struct{}{}
		return <-g.pass
	}}
	return g
}

func (g *gate) set(shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = shut
}

func (g *gate) count() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.writes
}

func numbered(i int) es.Write {
	s := es.Stream(fmt.Sprintf("s-%d", i))
	return es.Write{Stream: s, Expected: es.NoStream, Events: []es.NewEvent{{ID: es.EventID(s, "n", i), Type: "t.happened.v1", Data: make([]byte, 5000)}}} // more than a page
}

type answer struct {
	receipt es.Receipt
	err     error
}

func appending(s es.Store, w es.Write) <-chan answer {
	out := make(chan answer, 1)
	go func() {
		r, err := s.Append(context.Background(), nil, w)
		out <- answer{r, err}
	}()
	return out
}

// inFlight opens a store with one append on its way to the disk.
func inFlight(t *testing.T) (*gate, *segment.Store, <-chan answer) {
	t.Helper()
	g := newGate()
	s, err := segment.Open("/store", segment.Options{FS: g.FS, HandOver: 1, Idle: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	g.set(true)
	first := appending(s, numbered(0))
	<-g.waiting
	return g, s, first
}

// gathered waits until the writer has taken all appends made before. The outcome
// of one that it has taken is unknown to a caller who does not wait for it.
func gathered(t *testing.T, s es.Store) {
	t.Helper()
	for i := 1000; ; i++ {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		_, err := s.Append(ctx, nil, numbered(i))
		cancel()
		if errors.Is(err, es.ErrCommitUnknown) {
			return
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
	}
}

// TestWhatIsInFlightIsKnown appends, while a batch is on its way to the disk,
// the same once more and something that contradicts it: both must wait for it.
func TestWhatIsInFlightIsKnown(t *testing.T) {
	t.Parallel()
	g, s, first := inFlight(t)
	again, next := appending(s, numbered(0)), appending(s, numbered(1))
	conflict := numbered(0)
	conflict.Events[0].ID = es.EventID("s-0", "other", 0)
	wrong := appending(s, conflict)
	gathered(t, s)
	select {
	case a := <-again:
		t.Fatalf("answered before it is durable: %+v", a)
	case a := <-wrong:
		t.Fatalf("answered by what is not durable: %+v", a)
	default:
	}
	g.set(false)
	g.pass <- nil
	a, b, c, d := <-first, <-again, <-next, <-wrong
	if a.err != nil || b.err != nil || a.receipt.First != 0 || b.receipt.First != 0 || !a.receipt.Recorded.Equal(b.receipt.Recorded) {
		t.Errorf("first %+v, again %+v", a, b)
	}
	if c.err != nil || c.receipt.First == 0 {
		t.Errorf("the next: %+v", c)
	}
	var revision *es.WrongExpectedRevision
	if !errors.As(d.err, &revision) || revision.Actual != 0 {
		t.Errorf("conflict: %+v", d)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestNothingIsWrittenAfterAFailedBatch lets the batch in flight fail while the
// next is gathered: it would leave a gap.
func TestNothingIsWrittenAfterAFailedBatch(t *testing.T) {
	t.Parallel()
	g, s, first := inFlight(t)
	next := appending(s, numbered(1))
	gathered(t, s)
	writes := g.count()
	g.set(false)
	g.pass <- errors.New("input/output error")
	for _, c := range []<-chan answer{first, next} {
		if a := <-c; !errors.Is(a.err, es.ErrCommitUnknown) && !errors.Is(a.err, es.ErrDegraded) {
			t.Errorf("answer %+v", a)
		}
	}
	if g.count() != writes {
		t.Error("something was written after the failure")
	}
	if h, err := s.Head(t.Context()); err != nil || h != 0 {
		t.Errorf("head %d, %v", h, err)
	}
	_ = s.Close() // it is broken
}

// stubborn is a file system that opens files past the page cache and then cannot
// write to them.
type stubborn struct {
	*vfs.Crash
	tried int
}

type stubbornFile struct {
	vfs.File
	of *stubborn
}

func (f stubbornFile) WriteAt([]byte, int64) (int, error) {
	f.of.tried++
	return 0, syscall.EINVAL
}

func (s *stubborn) OpenDirect(name string) (vfs.File, error) {
	f, err := s.Open(name)
	return stubbornFile{f, s}, err
}

// TestWithoutWritesPastThePageCache goes on as with any file.
func TestWithoutWritesPastThePageCache(t *testing.T) {
	t.Parallel()
	disk := &stubborn{Crash: vfs.NewCrash(4096)}
	s, err := segment.Open("/store", segment.Options{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if r, err := s.Append(t.Context(), nil, numbered(i)); err != nil || r.First != es.Position(i) {
			t.Fatalf("append %d: %+v, %v", i, r, err)
		}
	}
	if disk.tried != 1 {
		t.Errorf("tried %d times", disk.tried)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := segment.VerifyFS(disk.Crash, "/store"); err != nil || r.Events != 3 || len(r.Damage) > 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestReadersFollowALogPastThePageCache reads every event as soon as it is
// there, from the tail in memory and, of what is older, from the file.
func TestReadersFollowALogPastThePageCache(t *testing.T) {
	t.Parallel()
	s, err := segment.Open(t.TempDir(), segment.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // nothing more is written
	want := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 5000) }
	for i := range 600 {
		w := numbered(i)
		w.Events[0].Data = want(i)
		if _, err := s.Append(t.Context(), nil, w); err != nil {
			t.Fatal(err)
		}
		for _, p := range []int{0, i / 2, i} {
			for e, err := range s.ReadAll(t.Context(), es.Position(p), es.Forward, es.Filter{}, 1) {
				if err != nil || !bytes.Equal(e.Data, want(p)) {
					t.Fatalf("event %d after %d: %v", p, i, err)
				}
			}
		}
	}
}
