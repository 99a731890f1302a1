package esdb

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/es"
)

const patience = 5 * time.Minute

// running is a node with a door and a history: its own, and what stands for a
// busy year.
func running(t *testing.T, secure bool) *node.Node {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	n, err := node.Open(ctx, node.Options{
		Dir: t.TempDir(), Version: "test", Logger: slog.New(slog.DiscardHandler), Listen: "127.0.0.1:0", GRPC: "127.0.0.1:0", GRPCTLS: secure,
		Identities: []node.Identity{{Alias: "me", AppKeys: []node.AppKey{{Name: "client"}}}},
	})
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- n.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, n.Close()); err != nil {
			t.Errorf("node: %v", err)
		}
	})
	for i := range 300 {
		write(t, n, es.Stream(fmt.Sprintf("year-%d", i%7)), "year.passed.v1", fmt.Sprint(i), "")
	}
	write(t, n, "secret-1", "secret.kept.v1", "sealed", "activity/1")
	return n
}

// write adds an event that this build does not know, as a later one might.
func write(t *testing.T, n *node.Node, stream es.Stream, typ, key, subject string) {
	t.Helper()
	e := es.NewEvent{
		ID: es.EventID(stream, key, 0), Type: typ, Data: fmt.Appendf(nil, `{"key":%q}`, key), Subject: subject,
		Meta: fmt.Appendf(nil, `{"$causationId":"6f9619ff-8b86-d011-b42d-00c04fc964ff","$correlationId":%q,"key":%q}`, stream.Key(), key),
	}
	if subject != "" {
		if err := n.Log.Sealer.Seal(t.Context(), stream, &e); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := n.Store.Append(t.Context(), nil, es.Write{Stream: stream, Expected: es.Any, Events: []es.NewEvent{e}}); err != nil {
		t.Fatal(err)
	}
}

func logOf(t *testing.T, n *node.Node, f es.Filter) (out []es.Event) {
	t.Helper()
	for e, err := range n.Store.ReadAll(t.Context(), 0, es.Forward, f, 0) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// same holds what a client saw against the log.
func same(t *testing.T, what string, got []Seen, want []es.Event) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s: %d events, want %d", what, len(got), len(want))
		return
	}
	for i, g := range got {
		w := want[i]
		created, err := time.Parse(time.RFC3339, g.Created)
		at := fmt.Sprint(uint64(w.Position) + 1)
		if err != nil || g.ID != w.ID.String() || g.Type != w.Type || g.Stream != string(w.Stream) || g.Revision != fmt.Sprint(int64(w.Revision)) ||
			g.Position != at || g.Prepare != at || g.JSON != (w.Subject == "") || w.Recorded.Sub(created).Abs() >= time.Second {
			t.Errorf("%s: event %d:\n got %+v\nwant %+v", what, i, g, w)
			return
		}
	}
}

func TestPublishedNodeClientsReadTheLog(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		n := running(t, secure)
		for _, pkg := range Packages {
			t.Run(fmt.Sprintf("%s, TLS %v", strings.Split(pkg, "/")[1], secure), func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				lines, err := Read(ctx, pkg, n.GRPCURL(), nil,
					Step{"all"}, Step{"all", map[string]any{"backward": true, "max": 10}}, Step{"stream", map[string]any{"name": "year-3"}},
					Step{"stream", map[string]any{"name": "secret-1", "backward": true}}, Step{"refusal"}, Step{"missing"},
					Step{"filtered", map[string]any{"on": "type", "prefix": "year."}}, Step{"filtered", map[string]any{"on": "stream", "prefix": "appkey-"}})
				if err != nil {
					t.Fatal(err)
				}
				want := logOf(t, n, es.Filter{})
				newest := slices.Clone(want[len(want)-10:])
				slices.Reverse(newest)
				for _, l := range lines {
					if l.Error != "" && l.Step != "refusal" && l.Step != "missing" {
						t.Fatalf("%s: %s", l.Step, l.Error)
					}
				}
				all, stream := Find(lines, "all"), Find(lines, "stream")
				same(t, "log", all[0].Events, want)
				same(t, "log backward", all[1].Events, newest)
				year := logOf(t, n, es.Filter{Streams: []es.Stream{"year-3"}})
				same(t, "stream", stream[0].Events, year)
				sealed := logOf(t, n, es.Filter{Streams: []es.Stream{"secret-1"}})
				same(t, "sealed", stream[1].Events, sealed)
				if s := stream[1].Events[0]; s.Data != hex.EncodeToString(sealed[0].Data) || bytes.Contains(sealed[0].Data, []byte("sealed")) {
					t.Errorf("sealed content %q", s.Data)
				}
				if s := stream[0].Events[0]; s.Data != string(year[0].Data) || s.Correlation != "3" || s.Causation != "6f9619ff-8b86-d011-b42d-00c04fc964ff" {
					t.Errorf("content and causes: %+v", s)
				}
				if pkg != Packages[0] { // that one sends filters with subscriptions only
					filtered := Find(lines, "filtered")
					same(t, "types", filtered[0].Events, logOf(t, n, es.Filter{TypePrefixes: []string{"year."}}))
					same(t, "streams", filtered[1].Events, logOf(t, n, es.Filter{StreamPrefixes: []string{"appkey-"}}))
				}
				if e := Find(lines, "refusal")[0].Error; e != "AccessDeniedError" {
					t.Errorf("append: %q", e)
				}
				if e := Find(lines, "missing")[0].Error; e != "StreamNotFoundError" {
					t.Errorf("stream that is not there: %q", e)
				}
			})
		}
	}
}

func TestPublishedNodeClientsFollowTheLog(t *testing.T) {
	t.Parallel()
	for _, pkg := range Packages {
		for what, c := range map[string]struct {
			step   map[string]any
			filter es.Filter
		}{
			"log":     {map[string]any{}, es.Filter{}},
			"stream":  {map[string]any{"name": "year-5"}, es.Filter{Streams: []es.Stream{"year-5"}}},
			"types":   {map[string]any{"on": "type", "prefix": "year.e"}, es.Filter{TypePrefixes: []string{"year.e"}}},
			"streams": {map[string]any{"on": "stream", "prefix": "year-5"}, es.Filter{StreamPrefixes: []string{"year-5"}}},
		} {
			t.Run(strings.Split(pkg, "/")[1]+", "+what, func(t *testing.T) {
				t.Parallel()
				n := running(t, false)
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				defer cancel()
				c.step["until"] = "year.ended.v1"
				later := sync.OnceFunc(func() {
					write(t, n, "other-1", "other.v1", "x", "")
					write(t, n, "year-5", "year.ended.v1", "end", "")
				})
				lines, err := Read(ctx, pkg, n.GRPCURL(), func(l Line) {
					if l.Step == "live" {
						later()
					}
				}, Step{"follow", c.step})
				if err != nil {
					t.Fatal(err)
				}
				var got []Seen
				for _, l := range Find(lines, "event") {
					got = append(got, l.Seen)
				}
				same(t, what, got, logOf(t, n, c.filter))
				if len(Find(lines, "live")) != 1 || len(Find(lines, "left")) != 1 {
					t.Error("it did not catch up or not leave")
				}
				if _, filtered := c.step["prefix"]; filtered && len(Find(lines, "checkpoint")) == 0 {
					t.Error("no checkpoint")
				}
			})
		}
	}
}

func TestPublishedNodeClientsShareAStream(t *testing.T) {
	t.Parallel()
	for _, pkg := range Packages {
		t.Run(strings.Split(pkg, "/")[1], func(t *testing.T) {
			t.Parallel()
			n := running(t, false)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			want := logOf(t, n, es.Filter{Streams: []es.Stream{"year-6"}})
			lines, err := Read(ctx, pkg, n.GRPCURL(), nil, Step{"share", map[string]any{"name": "year-6", "count": len(want)}})
			if err != nil {
				t.Fatal(err)
			}
			times := map[string]int{}
			for _, l := range Find(lines, "shared") {
				times[l.ID]++
			}
			for i, e := range want {
				if times[e.ID.String()] != 1+i%2 {
					t.Errorf("event %d was handed out %d times", i, times[e.ID.String()])
				}
			}
		})
	}
}

func TestTheGoClientReplaysAndFollowsTheLog(t *testing.T) {
	t.Parallel()
	n := running(t, true)
	c, err := client.ParseConnectionString(n.GRPCURL())
	if err != nil {
		t.Fatal(err)
	}
	c.Logger = client.NoopLogging()
	db, err := client.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // in a test
	in, err := db.ReadAll(t.Context(), client.ReadAllOptions{From: client.Start{}}, math.MaxUint64)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	want, i := logOf(t, n, es.Filter{}), 0
	for ; ; i++ {
		e, err := in.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if g := e.OriginalEvent(); es.ID(g.EventID) != want[i].ID || string(g.Data) != string(want[i].Data) || g.Position.Commit != uint64(i)+1 {
			t.Fatalf("event %d: %+v, want %+v", i, g, want[i])
		}
	}
	if i != len(want) {
		t.Errorf("%d events, want %d", i, len(want))
	}
	sub, err := db.SubscribeToAll(t.Context(), client.SubscribeToAllOptions{From: client.Position{Commit: 5, Prepare: 5}})
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close() //nolint:errcheck // in a test
	for next := uint64(6); ; {
		m := sub.Recv()
		switch {
		case m.SubscriptionDropped != nil:
			t.Fatal(m.SubscriptionDropped.Error)
		case m.CaughtUp != nil:
			write(t, n, "year-1", "year.ended.v1", "end", "")
		case m.EventAppeared != nil:
			e := m.EventAppeared.OriginalEvent()
			if e.Position.Commit != next {
				t.Fatalf("position %d after %d", e.Position.Commit, next-1)
			}
			if next++; e.EventType == "year.ended.v1" {
				return
			}
		}
	}
}

// The key of the connection string is an auditor's: it is worth nothing after
// it was dropped, and another's is worth nothing here.
func TestOnlyAnAuditorsKeyOpensTheDoor(t *testing.T) {
	t.Parallel()
	n := running(t, true)
	good := n.GRPCURL()
	manager, err := n.AppKey(t.Context(), n.Identity(0), node.AppKey{Name: "client"})
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(good)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]string{"manager": manager, "nobody": "0123"} {
		u.User = url.UserPassword("auditor", key)
		for _, pkg := range Packages {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			lines, err := Read(ctx, pkg, u.String(), nil, Step{"all"})
			cancel()
			if err == nil || len(Find(lines, "failed")) != 1 || len(Find(lines, "all")) != 0 {
				t.Errorf("%s of %s got %v, %v", name, pkg, lines, err)
			}
		}
	}
}

// A key of that name which is there already is not made an auditor's.
func TestTheDoorDoesNotTakeAnotherKey(t *testing.T) {
	t.Parallel()
	n, err := node.Open(t.Context(), node.Options{
		Dir: t.TempDir(), Version: "test", Logger: slog.New(slog.DiscardHandler), Listen: "127.0.0.1:0", GRPC: "127.0.0.1:0",
		Identities: []node.Identity{{Alias: "me", AppKeys: []node.AppKey{{Name: "grpc"}}}},
	})
	if err == nil || !strings.Contains(err.Error(), "emet app-key drop grpc") {
		t.Errorf("got %v", err)
	}
	if err == nil {
		_ = n.Close()
	}
}
