package kurrent_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"github.com/emet-node/emet/adapters/store/kurrent"
	"github.com/emet-node/emet/adapters/store/kurrent/kurrenttest"
	"github.com/emet-node/emet/domain/es"
)

var errServer = errors.New("the server is not well")

func write(name string) es.Write {
	return es.Write{Stream: "a-1", Expected: es.Any, Events: []es.NewEvent{
		{ID: es.EventID("a-1", name, 0), Type: "a.said.v1", Data: fmt.Appendf(nil, `{"name":%q}`, name), Meta: []byte(`{"$correlationId":"c","key":"k"}`)},
	}}
}

func must(t *testing.T, s es.Store, names ...string) {
	t.Helper()
	for _, n := range names {
		if _, err := s.Append(t.Context(), nil, write(n)); err != nil {
			t.Fatalf("append %s: %v", n, err)
		}
	}
}

// wantLog compares what a new reader of the server finds.
func wantLog(t *testing.T, url string, id [16]byte, want ...string) {
	t.Helper()
	s := open(t, kurrent.Options{URL: url, LogID: id, ReadOnly: true})
	var got []string
	for e, err := range s.ReadAll(t.Context(), 0, es.Forward, es.Filter{}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(e.Data))
	}
	for i, n := range want {
		want[i] = fmt.Sprintf(`{"name":%q}`, n)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the server has %v, want %v", got, want)
	}
}

func TestTheSecondWriterStopsTheFirst(t *testing.T) {
	t.Parallel()
	url, id := server(t), newLog()
	first := open(t, kurrent.Options{URL: url, LogID: id, Links: []string{}})
	must(t, first, "a")
	second := open(t, kurrent.Options{URL: url, LogID: id, Links: []string{}})
	must(t, second, "b")
	if _, err := first.Append(t.Context(), nil, write("c")); err == nil || errors.Is(err, es.ErrConflict) {
		t.Errorf("append after another writer: %v", err)
	}
	if first.Failed() == nil {
		t.Error("the first writer goes on")
	}
	if _, err := first.Append(t.Context(), nil, write("d")); !errors.Is(err, es.ErrDegraded) {
		t.Errorf("the next append: %v", err)
	}
	must(t, second, "e")
	wantLog(t, url, id, "a", "b", "e")
}

// An answer is lost, before or after the write was carried out.
func TestALostAnswerIsLookedUp(t *testing.T) {
	t.Parallel()
	for _, carryOut := range []bool{true, false} {
		t.Run(fmt.Sprint("carried out ", carryOut), func(t *testing.T) {
			t.Parallel()
			srv, id := kurrenttest.New(), newLog()
			url := own(t, srv)
			s := open(t, kurrent.Options{URL: url, LogID: id, Links: []string{}})
			must(t, s, "a")
			fail := 3
			srv.Fault(func(es.Write) (bool, error) {
				if fail--; fail < 0 {
					return true, nil
				}
				return carryOut, errServer
			})
			must(t, s, "b", "c")
			if s.Failed() != nil {
				t.Errorf("failed: %v", s.Failed())
			}
			wantLog(t, url, id, "a", "b", "c")
		})
	}
}

// Nothing is known of a write for longer than its caller's patience: the caller
// hears that, and its retry gets what became of the write.
func TestAnUnknownOutcomeIsSettledByTheNextAppend(t *testing.T) {
	t.Parallel()
	srv, id := kurrenttest.New(), newLog()
	url := own(t, srv)
	s := open(t, kurrent.Options{URL: url, LogID: id, Patience: 5 * time.Second, Links: []string{}})
	must(t, s, "a")
	var lost []es.Write
	var mu sync.Mutex
	srv.Fault(func(w es.Write) (bool, error) {
		mu.Lock()
		defer mu.Unlock()
		lost = append(lost, w)
		return false, errServer
	})
	if _, err := s.Append(t.Context(), nil, write("b")); !errors.Is(err, es.ErrCommitUnknown) {
		t.Fatalf("append: %v", err)
	}
	srv.Fault(nil)
	mu.Lock()
	late := lost[0]
	mu.Unlock()
	if _, err := srv.Append(t.Context(), nil, late); err != nil { // it was under way all the time
		t.Fatal(err)
	}
	r, err := s.Append(t.Context(), nil, write("b"))
	if err != nil || r.First != 1 {
		t.Errorf("retry: %+v, %v", r, err)
	}
	must(t, s, "c")
	wantLog(t, url, id, "a", "b", "c")
}

func TestAServerThatForgetsIsNotWrittenTo(t *testing.T) {
	t.Parallel()
	id := newLog()
	srv := kurrenttest.New()
	s := open(t, kurrent.Options{URL: own(t, srv), LogID: id, Patience: patience, Links: []string{}})
	must(t, s, "a", "b")
	srv.Fault(func(w es.Write) (bool, error) {
		return false, &es.WrongExpectedRevision{Stream: w.Stream, Expected: w.Expected, Actual: 0}
	})
	if _, err := s.Append(t.Context(), nil, write("c")); err == nil || s.Failed() == nil {
		t.Errorf("append: %v, failed: %v", err, s.Failed())
	}
}

func TestMetadataComesBackByteForByte(t *testing.T) {
	t.Parallel()
	srv := kurrenttest.New()
	s := open(t, kurrent.Options{URL: own(t, srv), Links: []string{}})
	metas := []string{
		``, `{}`, `{ }`, `{"a":1}`, `{"a":{"b":[1,2]},"$correlationId":"x"}`, ` {"a":1}`, `{"a":1} `, `null`, `7`, `[]`, `{`, "\x00\xff", `{"$emet":{"stream":"no"}}`, `{"a":"}"}`,
	}
	for i, m := range metas {
		w := write(fmt.Sprint(i))
		w.Events[0].Meta, w.Events[0].Subject = []byte(m), []string{"", "peer/1"}[i%2]
		if _, err := s.Append(t.Context(), nil, w); err != nil {
			t.Fatal(err)
		}
	}
	again := open(t, kurrent.Options{URL: own(t, srv), LogID: s.LogID(), Links: []string{}}) // not from memory
	i := 0
	for e, err := range again.ReadAll(t.Context(), 0, es.Forward, es.Filter{}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if string(e.Meta) != metas[i] {
			t.Errorf("metadata %q came back as %q", metas[i], e.Meta)
		}
		i++
	}
	n, root := s.Root()
	if m, r := again.Root(); m != n || r != root || i != len(metas) {
		t.Errorf("%d events with root %s, were %d with %s", m, r, n, root)
	}
	if err := again.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

// browse connects with the official client.
func browse(t *testing.T, url string) *client.Client {
	t.Helper()
	c, err := client.ParseConnectionString("esdb" + url[len("kurrent"):])
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

func linked(t *testing.T, db *client.Client, stream string) (out []*client.ResolvedEvent) {
	t.Helper()
	in, err := db.ReadStream(t.Context(), stream, client.ReadStreamOptions{From: client.Start{}, ResolveLinkTos: true}, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	for {
		e, err := in.Recv()
		var missing *client.Error
		if errors.Is(err, io.EOF) || errors.As(err, &missing) && missing.Code() == client.ErrorCodeResourceNotFound {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
}

func TestLinksLeadToTheEvents(t *testing.T) {
	t.Parallel()
	srv := kurrenttest.New()
	url := own(t, srv)
	db := browse(t, url)
	s := open(t, kurrent.Options{URL: url})
	deal := es.Stream("agreement-R-" + uuid.NewString())
	say := func(s es.Store, stream es.Stream, name string) {
		w := write(name)
		w.Stream = stream
		if _, err := s.Append(t.Context(), nil, w); err != nil {
			t.Fatal(err)
		}
	}
	await := func(n int) []*client.ResolvedEvent {
		for begun := time.Now(); ; time.Sleep(5 * time.Millisecond) {
			if got := linked(t, db, string(deal)); len(got) == n || time.Since(begun) > patience {
				return got
			}
		}
	}
	say(s, deal, "a")
	say(s, "offer-1", "b")
	say(s, deal, "c")
	check := func(names ...string) {
		t.Helper()
		got := await(len(names))
		if len(got) != len(names) {
			t.Fatalf("%d links, want %d", len(got), len(names))
		}
		for i, e := range got {
			if !bytes.Equal(e.Event.Data, fmt.Appendf(nil, `{"name":%q}`, names[i])) || e.Link == nil || e.Link.StreamID != string(deal) || e.Event.StreamID != kurrent.StreamOf(s.LogID()) {
				t.Errorf("link %d: %+v", i, e)
			}
		}
	}
	check("a", "c")
	if got := linked(t, db, "offer-1"); len(got) != 0 {
		t.Errorf("%d links to offers", len(got))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, kurrent.Options{URL: url, LogID: s.LogID()})
	say(s, deal, "d")
	check("a", "c", "d")
}

func TestConnectionStrings(t *testing.T) {
	t.Parallel()
	for text, is := range map[string]bool{
		"kurrent://h:1?tls=false": true, "kurrentdb://h": true, "kurrentdb+discover://h": true, "kdb://h": true, "esdb://u:p@h:2113": true, "esdb+discover://h": true,
		"http://h": false, "sqlite:x": false, "segment": false, "": false, "kurrent:h": false,
	} {
		if kurrent.IsURL(text) != is {
			t.Errorf("%q: %v", text, !is)
		}
	}
	if got := kurrent.Redact("kurrent://admin:changeit@h:2113?tls=true"); got != "kurrent://admin:xxxxx@h:2113?tls=true" {
		t.Errorf("redacted: %s", got)
	}
	if _, err := kurrent.Open(t.Context(), kurrent.Options{URL: "http://h"}); err == nil {
		t.Error("http was opened")
	}
	if _, err := kurrent.Open(t.Context(), kurrent.Options{URL: "kurrent://127.0.0.1:1?tls=false&maxDiscoverAttempts=1", Patience: 200 * time.Millisecond}); err == nil {
		t.Error("nobody was there and it opened")
	}
}
