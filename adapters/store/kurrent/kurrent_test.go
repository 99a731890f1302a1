package kurrent_test

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"iter"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/store/kurrent"
	"github.com/emet-node/emet/adapters/store/kurrent/kurrenttest"
	"github.com/emet-node/emet/adapters/store/storetest"
	"github.com/emet-node/emet/api/esdb/esdbtest"
	"github.com/emet-node/emet/domain/es"
)

// server is an EventStoreDB for a test: our own door over a log in memory that
// clients may write, or the operator's in EMET_TEST_KURRENT.
func server(t testing.TB) string {
	t.Helper()
	if url := os.Getenv("EMET_TEST_KURRENT"); url != "" {
		return url
	}
	return own(t, kurrenttest.New())
}

func own(t testing.TB, s es.Store) string {
	t.Helper()
	return "kurrent://" + esdbtest.Serve(t, s) + "?tls=false"
}

const patience = 2 * time.Minute

func newLog() (id [16]byte) {
	_, _ = rand.Read(id[:]) // never fails
	return id
}

func open(t testing.TB, o kurrent.Options) *kurrent.Store {
	t.Helper()
	if o.LogID == ([16]byte{}) {
		o.LogID = newLog()
	}
	s, err := kurrent.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// TestConformance runs against an operator's server with
//
//	EMET_TEST_KURRENT='esdb://127.0.0.1:2113?tls=false' go test ./adapters/store/kurrent
func TestConformance(t *testing.T) {
	t.Parallel()
	url := server(t)
	var ids sync.Map
	outlines := t.TempDir()
	at := func(t testing.TB, id [16]byte) es.Store {
		s := open(t, kurrent.Options{URL: url, LogID: id, Patience: patience, Outline: filepath.Join(outlines, hex.EncodeToString(id[:]))})
		ids.Store(es.Store(s), id)
		return s
	}
	again := storetest.Reopening(func(t testing.TB, old es.Store) es.Store {
		id, _ := ids.Load(old)
		if err := old.(*kurrent.Store).Close(); err != nil {
			t.Fatal(err)
		}
		return at(t, id.([16]byte))
	})
	storetest.Run(t, func(t testing.TB) es.Store { return at(t, newLog()) }, again, storetest.EventBytes(kurrent.MaxEventBytes))
}

// reads counts the events that a server is asked for.
type reads struct {
	es.Store
	n atomic.Int64
}

func (r *reads) ReadStream(ctx context.Context, s es.Stream, from es.Revision, d es.Direction, limit int) iter.Seq2[es.Event, error] {
	return func(yield func(es.Event, error) bool) {
		for e, err := range r.Store.ReadStream(ctx, s, from, d, limit) {
			r.n.Add(1)
			if !yield(e, err) {
				return
			}
		}
	}
}

func TestAStartReadsWhatCameSinceTheOutline(t *testing.T) {
	t.Parallel()
	backend := &reads{Store: kurrenttest.New()}
	o := kurrent.Options{URL: own(t, backend), LogID: newLog(), Patience: patience, Links: []string{}, Outline: filepath.Join(t.TempDir(), "outline")}
	write := func(o kurrent.Options, from, to int) {
		s := open(t, o)
		for i := from; i < to; i++ {
			e := es.NewEvent{ID: es.EventID("a-1", "k", i), Type: "t.v1", Data: []byte("{}"), Meta: []byte("{}")}
			if _, err := s.Append(t.Context(), nil, es.Write{Stream: "a-1", Expected: es.Revision(i - 1), Events: []es.NewEvent{e}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	write(o, 0, 100)
	without := o
	without.Outline = ""
	write(without, 100, 110)
	backend.n.Store(0)
	s := open(t, o)
	if size, _ := s.Root(); size != 110 || backend.n.Load() > 12 {
		t.Errorf("%d events, %d were read to know that", size, backend.n.Load())
	}
	if err := s.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}
