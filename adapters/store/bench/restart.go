package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/emet-node/emet/adapters/store/segment"
	"github.com/emet-node/emet/domain/es"
)

const (
	manyStreams = 1_000_000
	together    = 100     // streams in one append
	alone       = 300_000 // events of a log whose appends have one event each
	starts      = 3
)

// large measures what depends on the length of a log: scanning, starting after
// an unclean stop, memory. then is given the log, to measure more.
func large(ctx context.Context, dir string, w io.Writer, o Options) error {
	home := filepath.Join(dir, "store")
	if err := small(ctx, filepath.Join(dir, "small"), w); err != nil {
		return err
	}
	s, err := generate(ctx, home, o.Events, together, 16)
	if err != nil {
		return err
	}
	killed := filepath.Join(dir, "killed")
	err = asKilled(home, killed)
	if err == nil {
		err = scan(ctx, s, home, "header_scan_per_s", w)
	}
	if err == nil && o.Then != nil {
		err = o.Then(ctx, s, home)
	}
	if err = errors.Join(err, s.Close()); err != nil {
		return err
	}
	return restart(killed, w)
}

// small measures scanning where every append has one event only, as most of a
// node's have.
func small(ctx context.Context, dir string, w io.Writer) error {
	defer os.RemoveAll(dir) //nolint:errcheck // a left-over is no failure
	s, err := generate(ctx, dir, alone, 1, 256)
	if err != nil {
		return err
	}
	return errors.Join(scan(ctx, s, dir, "header_scan_1_per_s", w), s.Close())
}

// generate writes a log of n events, one after the other in up to a million
// streams, so many streams in one append, and returns the store, still open.
func generate(ctx context.Context, dir string, n, together, writers int) (*segment.Store, error) {
	s, err := segment.Open(dir, segment.Options{})
	if err != nil {
		return nil, err
	}
	data := make([]byte, 100)
	var g errgroup.Group
	for w := range writers {
		g.Go(func() error {
			for at := w; at < n/together; at += writers {
				writes := make([]es.Write, together)
				for i := range writes {
					number := at*together + i
					stream := es.Stream(fmt.Sprintf("agreement-R-%064x", number%manyStreams))
					writes[i] = es.Write{Stream: stream, Expected: es.Any, Events: []es.NewEvent{
						{ID: es.EventID(stream, "bench", number), Type: "agreement.approval_requested.v1", Data: data, Meta: data[:40]},
					}}
				}
				if _, err := s.Append(ctx, nil, writes...); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// asKilled makes a copy of an open store as a kill would leave it. Files that
// will not change any more are linked.
func asKilled(from, to string) error {
	if err := os.MkdirAll(filepath.Join(to, "seg"), 0o700); err != nil {
		return err
	}
	names, err := filepath.Glob(filepath.Join(from, "seg", "*.[ei]*"))
	if err != nil {
		return err
	}
	last := ""
	for _, n := range names {
		if strings.HasSuffix(n, ".elog") {
			last = max(last, n)
		}
	}
	for _, n := range append(names, filepath.Join(from, "STORE")) {
		rel, err := filepath.Rel(from, n)
		if err != nil {
			return err
		}
		if n == last {
			err = copyFile(n, filepath.Join(to, rel))
		} else {
			err = os.Link(n, filepath.Join(to, rel))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, b, 0o600)
}

// restart opens a store that was not closed, and tells how much memory it takes.
func restart(dir string, w io.Writer) error {
	var took, used []float64
	var heap, size uint64
	for range starts {
		before := heapNow()
		begun, spent := time.Now(), ProcessorTime()
		s, err := segment.Open(dir, segment.Options{})
		took = append(took, time.Since(begun).Seconds()*1e3)
		used = append(used, (ProcessorTime()-spent).Seconds()*1e3)
		if err != nil {
			return err
		}
		heap = max(heap, heapNow()-min(before, heapNow()))
		size, _ = s.Root()
		if err := s.Close(); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "bench store/restart_10m_ms value=%.0f unit=ms events=%d unclean_first=%.0f processor_ms=%.0f\nbench store/streams_1m_mb value=%.1f unit=MB streams=%d events=%d\n",
		median(took[1:]), size, took[0], median(used), float64(heap)/1e6, min(size, manyStreams), size)
	return err
}

func heapNow() uint64 {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// scan looks at the headers of all events, none of which a filter lets through,
// and compares with reading the same bytes and computing their checksums in
// pieces of the size of an event. Both count the processor time they take.
func scan(ctx context.Context, s *segment.Store, dir, name string, w io.Writer) error {
	head, err := s.Head(ctx)
	if err != nil {
		return err
	}
	names, err := filepath.Glob(filepath.Join(dir, "seg", "*.elog"))
	if err != nil {
		return err
	}
	total, err := written(names)
	if err != nil {
		return err
	}
	step := int(total / int64(max(head, 1))) //nolint:gosec // far below 2^63
	var rates, ratios []float64
	for range 5 {
		begun := ProcessorTime()
		for _, err := range s.Range(ctx, 0, head, es.Filter{Types: []string{"none"}}) {
			if err != nil {
				return err
			}
		}
		mine := ProcessorTime() - begun
		begun = ProcessorTime()
		if err := checksums(names, step); err != nil {
			return err
		}
		raw := ProcessorTime() - begun
		rates = append(rates, float64(head)/mine.Seconds())
		ratios = append(ratios, raw.Seconds()/mine.Seconds())
	}
	_, err = fmt.Fprintf(w, "bench store/%s value=%.0f unit=ev/s ratio=%.2f of=read_and_crc32c per=core\n", name, median(rates), median(ratios))
	return err
}

func checksums(names []string, step int) error {
	var sum uint32
	table, buf := crc32.MakeTable(crc32.Castagnoli), make([]byte, 256<<10)
	for _, n := range names {
		f, err := os.Open(n)
		if err != nil {
			return err
		}
		for {
			got, err := io.ReadFull(f, buf)
			if len(bytes.TrimLeft(buf[:got], "\x00")) == 0 {
				break // nothing was written there yet
			}
			for b := buf[:got]; len(b) > 0; b = b[min(step, len(b)):] {
				sum = crc32.Update(sum, table, b[:min(step, len(b))])
			}
			if err != nil {
				break // the end
			}
		}
		f.Close()
	}
	if sum == 0 { // as good as never
		return errors.New("nothing was read")
	}
	return nil
}

// written is how many bytes of the segments are in use.
func written(names []string) (total int64, err error) {
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			return 0, err
		}
		total += int64(len(bytes.TrimRight(b, "\x00")))
	}
	return total, nil
}
