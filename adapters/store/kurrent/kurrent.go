package kurrent

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"sync"
	"time"

	"github.com/emet-node/emet/adapters/store/front"
	"github.com/emet-node/emet/domain/es"
)

// Options of a store.
type Options struct {
	// URL is the connection string: kurrent://, kurrentdb:// or esdb://, with
	// the options of the official clients.
	URL string
	// LogID names the log. One that the server does not have begins empty.
	LogID [16]byte
	// Links are the beginnings of our streams that get links on the server;
	// nil = agreements and bills, empty = none.
	Links []string
	// Patience is how long a write or a page of a read is tried, 0 = 30 s.
	Patience time.Duration
	// Outline is a file that keeps where everything is, so that a start reads
	// only what came since; "" = none. It may be deleted.
	Outline  string
	ReadOnly bool
	Now      func() time.Time // nil = time.Now
	Logger   *slog.Logger     // nil = none
}

// Store is an [es.Store] on a server. Create it with [Open].
type Store struct {
	*front.Store
	table *table
	stop  context.CancelFunc
	links sync.WaitGroup
}

var _ es.Store = (*Store)(nil)

// MaxEventBytes is what an event may weigh here: the largest record of a server
// is 16 MiB, with everything around the content.
const MaxEventBytes = 15 << 20

var linked = []string{"agreement-", "bill-"}

// StreamOf is the stream of a log on the server.
func StreamOf(logID [16]byte) string { return "emet-" + hex.EncodeToString(logID[:]) }

// Open reads where everything is and opens the log for writing. It cannot tell
// whether another node has it open; the first one to write after the other
// learns it and stops.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Patience == 0 {
		o.Patience = 30 * time.Second
	}
	if o.Links == nil {
		o.Links = linked
	}
	conn, err := dial(o.URL, o.Logger)
	if err != nil {
		return nil, err
	}
	run := make([]byte, 8)
	_, _ = rand.Read(run) // never fails
	t := &table{conn: conn, stream: StreamOf(o.LogID), writer: hex.EncodeToString(run), patience: o.Patience}
	f, err := front.Open(ctx, t, func(from es.Position) iter.Seq2[front.Row, error] { return t.rows(ctx, from) }, front.Options{
		Name: "kurrent", Outline: o.Outline, LogID: o.LogID, Now: o.Now, MaxBatch: 512 << 10, MaxEvent: MaxEventBytes, ReadOnly: o.ReadOnly,
		Final: final,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open log %s at %s: %w", t.stream, Redact(o.URL), err), t.Close())
	}
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s := &Store{Store: f, table: t, stop: cancel}
	if len(o.Links) > 0 && !o.ReadOnly {
		p := &links{store: f, table: t, prefixes: o.Links, log: o.Logger}
		s.links.Go(func() { p.run(background) })
	}
	return s, nil
}

// rows yields everything there is from a position on.
func (t *table) rows(ctx context.Context, from es.Position) iter.Seq2[front.Row, error] {
	return func(yield func(front.Row, error) bool) {
		for r, err := range t.fresh(ctx, from) {
			if !yield(r.Row, err) {
				return
			}
		}
	}
}

// Close lets the appends under way finish and leaves the server.
func (s *Store) Close() error {
	s.stop()
	s.links.Wait()
	return s.Store.Close()
}
