package esdb_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/api/esdb"
	"github.com/emet-node/emet/domain/es"
)

const patience = 2 * time.Minute

// door serves a store and returns host:port.
func door(t testing.TB, o esdb.Options) string {
	t.Helper()
	s, err := esdb.New(o)
	if err != nil {
		t.Fatal(err)
	}
	l, err := esdb.Listen("127.0.0.1:0", false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return l.Addr().String()
}

// connect returns the official Go client for a connection string.
func connect(t testing.TB, url string) *client.Client {
	t.Helper()
	c, err := client.ParseConnectionString(url)
	if err != nil {
		t.Fatal(err)
	}
	c.Logger = client.NoopLogging()
	db, err := client.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func plain(addr string) string { return "esdb://" + addr + "?tls=false" }

// history fills a store: offers, a deal, and something sealed.
func history(t testing.TB) *memory.Store {
	t.Helper()
	s := memory.New()
	for i := range 30 {
		add(t, s, es.Stream(fmt.Sprintf("offer-%d", i%3)), "offer.made.v1", fmt.Sprint("o", i))
	}
	add(t, s, "agreement-R-1", "agreement.created.v1", "a0")
	add(t, s, "agreement-R-1", "agreement.approval_requested.v1", "a1")
	add(t, s, "batch-R-1", "batch.exec_requested.v1", "b0")
	return s
}

func add(t testing.TB, s es.Store, stream es.Stream, typ, name string) {
	t.Helper()
	e := es.NewEvent{
		ID: es.EventID(stream, name, 0), Type: typ, Data: fmt.Appendf(nil, `{"name":%q}`, name),
		Meta: fmt.Appendf(nil, `{"$causationId":"6f9619ff-8b86-d011-b42d-00c04fc964ff","$correlationId":%q,"key":"k"}`, stream.Key()),
	}
	if stream.Category() == "batch" {
		e.Subject, e.Data = "activity/1", []byte{0, 1, 0xff}
	}
	if _, err := s.Append(t.Context(), nil, es.Write{Stream: stream, Expected: es.Any, Events: []es.NewEvent{e}}); err != nil {
		t.Fatal(err)
	}
}

// drain reads everything that a read yields.
func drain(t testing.TB, r *client.ReadStream, err error) []*client.RecordedEvent {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out []*client.RecordedEvent
	for {
		e, err := r.Recv()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e.OriginalEvent())
	}
}

// log is what the store itself says.
func log(t testing.TB, s es.Store, f es.Filter) []es.Event {
	t.Helper()
	var out []es.Event
	for e, err := range s.ReadAll(t.Context(), 0, es.Forward, f, 0) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// same holds what a client saw against the log.
func same(t testing.TB, what string, got []*client.RecordedEvent, want []es.Event) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d events, want %d", what, len(got), len(want))
	}
	for i, g := range got {
		w := want[i]
		content := "application/json"
		if w.Subject != "" {
			content = "application/octet-stream"
		}
		at := uint64(w.Position) + 1
		if es.ID(g.EventID) != w.ID || g.EventType != w.Type || g.StreamID != string(w.Stream) || g.EventNumber != uint64(w.Revision) ||
			g.Position != (client.Position{Commit: at, Prepare: at}) || !g.CreatedDate.Equal(w.Recorded) || g.ContentType != content ||
			!slices.Equal(g.Data, w.Data) || !slices.Equal(g.UserMetadata, w.Meta) {
			t.Fatalf("%s: event %d:\n got %+v\nwant %+v", what, i, g, w)
		}
	}
}

func errorCode(err error) client.ErrorCode {
	var e *client.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return -1
}
