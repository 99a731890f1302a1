// Package bench measures the segment engine against the physical limit of the
// disk in the same run: as many records of the same size as its frames have,
// written in groups with one fdatasync each into a file that was filled before.
// Machines and neighbours differ; only the ratio says something.
package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emet-node/emet/adapters/store/segment"
	"github.com/emet-node/emet/adapters/store/sqlite"
	"github.com/emet-node/emet/domain/es"
)

const (
	eventBytes = 400
	rounds     = 21
	slice      = 100 * time.Millisecond // of one measurement; a round has three
)

// Run prints one line per figure:
//
//	bench store/append_1 value=<ev/s> unit=ev/s ratio=<x> of=raw_fdatasync record_bytes=<n>
//	bench store/append_256_vs_sqlite value=<ev/s> unit=ev/s ratio=<x> of=sqlite_full
//
// Appends take less than 10 s a figure. Everything is written below dir.
func Run(ctx context.Context, dir string, w io.Writer, o Options) error {
	for _, c := range []struct {
		name            string
		writers, record int
	}{
		{"append_1", 1, frameBytes()},
		{"append_16", 16, frameBytes()},
		{"append_256", 256, frameBytes()},
		{"append_256_to_payload", 256, eventBytes}, // as if the log wrote nothing but what it was given
	} {
		rate, ratio, err := measure(ctx, dir, c.writers, c.record)
		if err != nil {
			return fmt.Errorf("bench store/%s: %w", c.name, err)
		}
		if _, err := fmt.Fprintf(w, "bench store/%s value=%.0f unit=ev/s ratio=%.2f of=raw_fdatasync record_bytes=%d\n", c.name, rate, ratio, c.record); err != nil {
			return err
		}
	}
	rate, ratio, err := againstSQLite(ctx, dir, 256)
	if err != nil {
		return fmt.Errorf("bench store/append_256_vs_sqlite: %w", err)
	}
	_, err = fmt.Fprintf(w, "bench store/append_256_vs_sqlite value=%.0f unit=ev/s ratio=%.2f of=sqlite_full\n", rate, ratio)
	if err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(dir, "bench-large-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // a left-over is no failure
	if o.Events == 0 {
		o.Events = 1_000_000
	}
	if err := large(ctx, tmp, w, o); err != nil {
		return fmt.Errorf("bench of a log of %d events: %w", o.Events, err)
	}
	return nil
}

// againstSQLite alternates SQLite with synchronous=FULL, engine, SQLite and
// returns the medians. SQLite has the same group commit in front of it.
func againstSQLite(ctx context.Context, dir string, writers int) (rate, ratio float64, err error) {
	tmp, err := os.MkdirTemp(dir, "bench-store-")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // a left-over is no failure
	s, err := segment.Open(filepath.Join(tmp, "store"), segment.Options{})
	if err != nil {
		return 0, 0, err
	}
	defer s.Close() //nolint:errcheck // thrown away
	other, err := sqlite.Open(ctx, filepath.Join(tmp, "log.sqlite"), sqlite.Options{})
	if err != nil {
		return 0, 0, err
	}
	defer other.Close() //nolint:errcheck // thrown away
	return alternate(ctx, writers, engineAppend(other, writers), engineAppend(s, writers))
}

// Options of [Run].
type Options struct {
	// Events are in the log that is scanned and started with, 0 = a million. Ten
	// million take 6 GB and some minutes.
	Events int
	// Then is given that log, and its directory, to measure more. nil = nothing.
	Then func(ctx context.Context, s *segment.Store, dir string) error
}

// measure alternates raw, engine, raw and returns the medians.
func measure(ctx context.Context, dir string, writers, recordBytes int) (rate, ratio float64, err error) {
	tmp, err := os.MkdirTemp(dir, "bench-store-")
	if err != nil {
		return 0, 0, err
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // a left-over is no failure
	s, err := segment.Open(filepath.Join(tmp, "store"), segment.Options{})
	if err != nil {
		return 0, 0, err
	}
	defer s.Close() //nolint:errcheck // thrown away
	raw, err := newRaw(filepath.Join(tmp, "raw"), recordBytes)
	if err != nil {
		return 0, 0, err
	}
	defer raw.close()
	return alternate(ctx, writers, raw.append, engineAppend(s, writers))
}

// alternate measures other, engine, other and returns the engine's rate and how
// many times that of the other it is.
func alternate(ctx context.Context, writers int, other, engine func(context.Context, int) error) (rate, ratio float64, err error) {
	rates, ratios := make([]float64, 0, rounds), make([]float64, 0, rounds)
	if _, err := drive(ctx, writers, engine); err != nil { // the first segments are small
		return 0, 0, err
	}
	for range rounds {
		before, err1 := drive(ctx, writers, other)
		mine, err2 := drive(ctx, writers, engine)
		after, err3 := drive(ctx, writers, other)
		if err := errors.Join(err1, err2, err3); err != nil {
			return 0, 0, err
		}
		rates, ratios = append(rates, mine), append(ratios, 2*mine/(before+after))
	}
	return median(rates), median(ratios), nil
}

func median(x []float64) float64 {
	slices.Sort(x)
	return x[len(x)/2]
}

// drive lets writers append one after the other for a while and returns the
// records per second.
func drive(ctx context.Context, writers int, one func(ctx context.Context, writer int) error) (float64, error) {
	var count atomic.Int64
	var failed atomic.Pointer[error]
	var all sync.WaitGroup
	begin := time.Now()
	for w := range writers {
		all.Go(func() {
			own, done := context.WithCancel(ctx) // as each request has
			defer done()
			for time.Since(begin) < slice {
				if err := one(own, w); err != nil {
					failed.Store(&err)
					return
				}
				count.Add(1)
			}
		})
	}
	all.Wait()
	took := time.Since(begin).Seconds()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return float64(count.Load()) / took, nil
}

// engineAppend appends one event per call, each writer to its own stream at
// the revision it knows.
func engineAppend(s es.Store, writers int) func(context.Context, int) error {
	writes := make([]es.Write, writers)
	for w := range writes {
		writes[w] = write(streamOf(w), es.NoStream, es.ID{0: byte(w), 1: byte(w >> 8), 15: 1})
	}
	return func(ctx context.Context, w int) error {
		next := &writes[w]
		_, err := s.Append(ctx, nil, writes[w:w+1]...)
		next.Expected++
		binary.LittleEndian.PutUint64(next.Events[0].ID[4:], uint64(next.Expected+1))
		return err
	}
}

func streamOf(writer int) es.Stream { return es.Stream(fmt.Sprintf("agreement-R-%064x", writer)) }

var data, meta = make([]byte, eventBytes-100), make([]byte, 100)

func write(stream es.Stream, expected es.Revision, id es.ID) es.Write {
	return es.Write{Stream: stream, Expected: expected, Events: []es.NewEvent{
		{ID: id, Type: "agreement.approval_requested.v1", Data: data, Meta: meta},
	}}
}

// frameBytes is what each append here takes in the log of the segment engine.
func frameBytes() int { return segment.FrameBytes(write(streamOf(0), es.NoStream, es.ID{})) }
