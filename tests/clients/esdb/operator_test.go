package esdb

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
)

// operated returns the connection string with an operator's key in it.
func operated(t *testing.T, n *node.Node) string {
	t.Helper()
	key, err := n.AppKey(t.Context(), n.Identity(0), node.AppKey{Name: "ops", Role: identity.RoleOperator})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range n.Views() { // that of app-keys is one of them
		if err := v.Fresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	u, err := url.Parse(n.GRPCURL())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("ops", key)
	return u.String()
}

func append1(ctx context.Context, db *client.Client, stream, typ string) error {
	_, err := db.AppendToStream(ctx, stream, client.AppendToStreamOptions{ExpectedRevision: client.Any{}}, client.EventData{
		EventID: uuid.New(), EventType: typ, ContentType: client.ContentTypeJson, Data: []byte(`{"said":"by hand"}`),
	})
	return err
}

func TestAnOperatorsKeyAppendsToStreamsOfItsOwn(t *testing.T) {
	t.Parallel()
	n := running(t, true)
	c, err := client.ParseConnectionString(operated(t, n))
	if err != nil {
		t.Fatal(err)
	}
	c.Logger = client.NoopLogging()
	db, err := client.NewClient(c)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // in a test
	if err := append1(t.Context(), db, "note-1", "note.taken.v1"); err != nil {
		t.Fatal(err)
	}
	got := logOf(t, n, es.Filter{Streams: []es.Stream{"note-1"}})
	if len(got) != 1 || !strings.Contains(string(got[0].Meta), `"actor":"operator","appKey":`) || !strings.Contains(string(got[0].Meta), string(n.Identity(0))) {
		t.Fatalf("in the log: %+v", got)
	}
	before := len(logOf(t, n, es.Filter{}))
	// every stream and every type that the node itself has written, and more
	var streams, types []string
	for _, e := range logOf(t, n, es.Filter{}) {
		if c := e.Stream.Category(); c != "note" && c != "year" && c != "secret" {
			streams, types = append(streams, string(e.Stream)), append(types, e.Type)
		}
	}
	for _, s := range append(streams, "agreement-R-1", "bill-P-1", "wallet-1-0x1", "network-1", "job-1", "$log", "$$note-1") {
		if err := append1(t.Context(), db, s, "note.taken.v1"); !denied(err) {
			t.Errorf("stream %s: %v", s, err)
		}
	}
	for _, typ := range append(types, "agreement.approved.v1", "bill.paid.v9", "$log.opened.v1") {
		if err := append1(t.Context(), db, "note-1", typ); !denied(err) {
			t.Errorf("type %s: %v", typ, err)
		}
	}
	if after := len(logOf(t, n, es.Filter{})); after != before || len(slices.Compact(types)) == 0 {
		t.Errorf("%d events, %d before; %d types were tried", after, before, len(types))
	}
	for _, v := range n.Views() {
		if err := errors.Join(v.Fresh(t.Context()), v.Rebuild(t.Context())); err != nil {
			t.Errorf("view %s: %v", v.Name(), err)
		}
	}
}

func denied(err error) bool {
	var e *client.Error
	return errors.As(err, &e) && e.Code() == client.ErrorCodeAccessDenied
}

func TestPublishedNodeClientsAppendAsOperators(t *testing.T) {
	t.Parallel()
	n := running(t, true)
	door := operated(t, n)
	for _, pkg := range Packages {
		before := len(logOf(t, n, es.Filter{Streams: []es.Stream{"mine-1"}}))
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		lines, err := Read(ctx, pkg, door, nil, Step{"refusal"})
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		if e := Find(lines, "refusal")[0].Error; e != "" {
			t.Errorf("%s: %s", pkg, e)
		}
		if after := len(logOf(t, n, es.Filter{Streams: []es.Stream{"mine-1"}})); after != before+1 {
			t.Errorf("%s: the stream has %d events, %d before", pkg, after, before)
		}
	}
}
