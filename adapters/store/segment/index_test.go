package segment

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
)

// lines collects what is logged.
type lines struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(b)
}

func (l *lines) has(what string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.String(), what)
}

func openOn(t testing.TB, disk vfs.FS, logger *slog.Logger) *Store {
	t.Helper()
	s, err := Open(flipDir, Options{SegmentBytes: 8 << 10, FS: disk, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// history is everything that can be asked of a store.
func history(t testing.TB, s *Store) string {
	t.Helper()
	var b strings.Builder
	streams := make(map[es.Stream]bool)
	for e, err := range s.ReadAll(t.Context(), 0, es.Forward, es.Filter{}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%d %s %d %s %x\n", e.Position, e.Stream, e.Revision, e.ID, e.Leaf)
		streams[e.Stream] = true
	}
	for i := range 4 { // also one that is not there
		stream := es.Stream(fmt.Sprintf("s-%d", i))
		info, err := s.Info(t.Context(), stream)
		fmt.Fprintf(&b, "%s %d %v\n", stream, info.Head, err)
		for _, d := range []es.Direction{es.Forward, es.Backward} {
			for e, err := range s.ReadStream(t.Context(), stream, -1, d, 0) {
				if err != nil {
					t.Fatal(err)
				}
				fmt.Fprintf(&b, " %d", e.Position)
			}
		}
	}
	_, root := s.Root()
	return b.String() + root.String()
}

// sameAnswers says whether appends are judged as before: repeated ones get their
// receipt, ids cannot mean something else, and streams go on where they stood.
func sameAnswers(t testing.TB, s *Store, events []es.Event) error {
	t.Helper()
	for _, e := range events {
		w := es.Write{Stream: e.Stream, Expected: es.Any, Events: []es.NewEvent{e.NewEvent}}
		r, err := s.Append(t.Context(), nil, w)
		if err != nil || r.First != e.Position {
			return fmt.Errorf("repeating position %d: %+v, %w", e.Position, r, err)
		}
		w.Events[0].Data = append([]byte("x"), w.Events[0].Data...)
		if _, err := s.Append(t.Context(), nil, w); !errors.Is(err, es.ErrIDConflict) {
			return fmt.Errorf("position %d said differently: %w", e.Position, err)
		}
	}
	stale := es.Write{Stream: "s-0", Expected: es.NoStream, Events: []es.NewEvent{{ID: es.ID{9}, Type: "t"}}}
	if _, err := s.Append(t.Context(), nil, stale); !errors.Is(err, es.ErrConflict) {
		return fmt.Errorf("a stream that is there: %w", err)
	}
	return nil
}

func readAll(t testing.TB, s *Store) (out []es.Event) {
	t.Helper()
	for e, err := range s.ReadAll(t.Context(), 0, es.Forward, es.Filter{}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func indexFiles(t testing.TB, disk vfs.FS) (out []string) {
	t.Helper()
	names, err := disk.ReadDir(path.Join(flipDir, segDir))
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.HasSuffix(n, indexSuffix) {
			out = append(out, path.Join(flipDir, segDir, n))
		}
	}
	return out
}

func TestEverySealedSegmentHasAnIndex(t *testing.T) {
	t.Parallel()
	disk := storeOf(t, 30)
	names, err := listSegments(disk, flipDir)
	if err != nil || len(names) < 3 {
		t.Fatal(names, err)
	}
	if got := indexFiles(t, disk); len(got) != len(names)-1 {
		t.Errorf("%d segments, indexes %v", len(names), got)
	}
	var log lines
	s := openOn(t, disk, slog.New(slog.NewTextHandler(&log, nil)))
	defer s.Close() //nolint:errcheck // thrown away
	if log.Len() > 0 {
		t.Errorf("a start with all indexes says %s", log.String())
	}
	if err := sameAnswers(t, s, readAll(t, s)); err != nil {
		t.Error(err)
	}
}

func TestAMissingIndexIsMadeAnew(t *testing.T) {
	t.Parallel()
	disk := storeOf(t, 30)
	s := openOn(t, disk, nil)
	want, events := history(t, s), readAll(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range indexFiles(t, disk) {
		mine := copyDisk(t, disk)
		before, err := vfs.ReadFile(mine, name)
		if err != nil {
			t.Fatal(err)
		}
		if err := mine.Remove(name); err != nil {
			t.Fatal(err)
		}
		var log lines
		s := openOn(t, mine, slog.New(slog.NewTextHandler(&log, nil)))
		if got := history(t, s); got != want {
			t.Errorf("without %s:\n%s\nwant\n%s", name, got, want)
		}
		if err := sameAnswers(t, s, events); err != nil {
			t.Errorf("without %s: %v", name, err)
		}
		if !log.has("read again") {
			t.Errorf("without %s nothing is said", name)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if after, err := vfs.ReadFile(mine, name); err != nil || !bytes.Equal(after, before) {
			t.Errorf("%s is not what it was: %v", name, err)
		}
	}
}

// TestEveryFlippedBitOfAnIndexIsHarmless flips one bit in each byte of the
// indexes, all bits of what is not zero: history and answers stay the same.
func TestEveryFlippedBitOfAnIndexIsHarmless(t *testing.T) {
	t.Parallel()
	disk := storeOf(t, 30)
	s := openOn(t, disk, nil)
	want, events := history(t, s), readAll(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range indexFiles(t, disk)[:2] {
		t.Run(path.Base(name), func(t *testing.T) {
			t.Parallel()
			b, err := vfs.ReadFile(disk, name)
			if err != nil {
				t.Fatal(err)
			}
			for at, x := range b {
				if x == 0 && at%31 != 0 {
					continue
				}
				mine := copyDisk(t, disk)
				f, err := mine.OpenWrite(name)
				if err != nil {
					t.Fatal(err)
				}
				bit := int64(at)*8 + int64(at*5%8)
				flip(t, f, bit)
				s := openOn(t, mine, nil)
				if got := history(t, s); got != want {
					t.Fatalf("bit %d:\n%s\nwant\n%s", bit, got, want)
				}
				if err := sameAnswers(t, s, events); err != nil {
					t.Fatalf("bit %d: %v", bit, err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestAnIndexDamagedWhileTheStoreIsOpen lets pages rot after they were checked.
func TestAnIndexDamagedWhileTheStoreIsOpen(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 1))
		disk := storeOf(t, 30)
		var log lines
		s := openOn(t, disk, slog.New(slog.NewTextHandler(&log, nil)))
		want, events := history(t, s), readAll(t, s)
		for _, name := range indexFiles(t, disk) {
			f, err := disk.OpenWrite(name)
			if err != nil {
				t.Fatal(err)
			}
			size, err := f.Size()
			if err != nil {
				t.Fatal(err)
			}
			for off := int64(0); off < size; off += pageBytes {
				flip(t, f, (off+r.Int64N(pageBytes))*8)
			}
		}
		if got := history(t, s); got != want {
			t.Fatalf("seed %d:\n%s\nwant\n%s", seed, got, want)
		}
		if err := sameAnswers(t, s, events); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !log.has("made anew") {
			t.Errorf("seed %d: nothing is said", seed)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if report, err := VerifyFS(disk, flipDir); err != nil || len(report.WrongIndexes) > 0 {
			t.Errorf("seed %d: it is not mended: %+v, %v", seed, report, err)
		}
	}
}

func TestVerifyFindsAnIndexThatLies(t *testing.T) {
	t.Parallel()
	disk := storeOf(t, 30)
	names := indexFiles(t, disk)
	f, err := disk.OpenWrite(names[0])
	if err != nil {
		t.Fatal(err)
	}
	flip(t, f, 8*pageBytes*3)
	if report, err := VerifyFS(disk, flipDir); err != nil || len(report.Damage) > 0 || len(report.WrongIndexes) != 1 {
		t.Errorf("%+v, %v", report, err)
	}
}

func TestTheScrubFindsRotBeneathAnIndex(t *testing.T) {
	t.Parallel()
	disk := storeOf(t, 30)
	names, err := listSegments(disk, flipDir)
	if err != nil {
		t.Fatal(err)
	}
	f, err := disk.OpenWrite(path.Join(flipDir, segDir, names[0]))
	if err != nil {
		t.Fatal(err)
	}
	flip(t, f, (headerBytes+frameHead+40)*8)
	s := openOn(t, disk, nil)
	for deadline := time.Now().Add(2 * time.Minute); s.Failed() == nil; {
		if time.Now().After(deadline) {
			t.Fatal("it was not found")
		}
		time.Sleep(time.Millisecond)
	}
	var d *Damage
	if !errors.As(s.Failed(), &d) || d.Offset != headerBytes || d.FirstPosition != 0 || d.LastPosition != 0 {
		t.Errorf("found %v", s.Failed())
	}
	if _, err := s.Append(t.Context(), nil, es.Write{Stream: "a-1", Expected: es.Any, Events: []es.NewEvent{{ID: es.ID{1}, Type: "t"}}}); !errors.Is(err, es.ErrDegraded) {
		t.Errorf("append to a damaged log: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(flipDir, Options{SegmentBytes: 8 << 10, FS: disk}); !errors.Is(err, es.ErrCorrupt) {
		t.Errorf("the next start: %v", err)
	}
}
