package esdb_test

import (
	"encoding/json"
	"errors"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/api/esdb"
	"github.com/emet-node/emet/domain/es"
)

// operated is a door to which "ops" may append and "audit" may not.
func operated(t *testing.T, s es.Store) func(key string) *client.Client {
	t.Helper()
	c, ca, err := esdb.Certificate(filepath.Join(t.TempDir(), "grpc"), "127.0.0.1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	addr := door(t, esdb.Options{
		Store: s, TLS: c, MayRead: func(secret string) bool { return secret == "audit" },
		MayAppend: func(secret string) (es.Meta, bool) {
			return es.Meta{Actor: es.ActorOperator, AppKey: "k1", Grade: es.GradeSelf}, secret == "ops"
		},
		Reserved: func(s es.Stream, typ string) error {
			if s.Category() == "offer" || strings.HasPrefix(typ, "offer.") {
				return errors.New("offers are the node's")
			}
			return nil
		},
	})
	return func(key string) *client.Client {
		u := url.URL{Scheme: "esdb", Host: addr, User: url.UserPassword("x", key), RawQuery: "tls=true&tlsCAFile=" + url.QueryEscape(ca)}
		return connect(t, u.String())
	}
}

func note(data, meta string) client.EventData {
	return client.EventData{EventID: uuid.New(), EventType: "note.taken.v1", ContentType: client.ContentTypeJson, Data: []byte(data), Metadata: []byte(meta)}
}

func TestAnOperatorAppends(t *testing.T) {
	t.Parallel()
	s := history(t)
	db := operated(t, s)("ops")
	before, _ := s.Head(t.Context())
	events := []client.EventData{note(`{"b":1.0,"a":"é"}`, `{"$correlationId":"deal","mine":{"z":1}}`), note(`[]`, "")}
	for range 2 { // the second time it is a repetition
		r, err := db.AppendToStream(t.Context(), "note-1", client.AppendToStreamOptions{ExpectedRevision: client.NoStream{}}, events...)
		if err != nil {
			t.Fatal(err)
		}
		if r.NextExpectedVersion != 1 || r.CommitPosition != uint64(before)+2 {
			t.Fatalf("answer %+v", r)
		}
	}
	got := log(t, s, es.Filter{Streams: []es.Stream{"note-1"}})
	if len(got) != 2 || string(got[0].Data) != `{"b":1.0,"a":"é"}` || got[0].Subject != "" {
		t.Fatalf("in the log: %+v", got)
	}
	var m es.Meta
	if err := json.Unmarshal(got[0].Meta, &m); err != nil {
		t.Fatal(err)
	}
	if m.Actor != es.ActorOperator || m.AppKey != "k1" || m.Grade != es.GradeSelf || m.Correlation != "deal" || string(m.Extra["mine"]) != `{"z":1}` {
		t.Errorf("metadata %s", got[0].Meta)
	}
	if want := `{"actor":"operator","appKey":"k1","grade":"self"}`; string(got[1].Meta) != want {
		t.Errorf("metadata %s, want %s", got[1].Meta, want)
	}
	_, err := db.AppendToStream(t.Context(), "note-1", client.AppendToStreamOptions{ExpectedRevision: client.NoStream{}}, note(`{}`, ""))
	if errorCode(err) != client.ErrorCodeWrongExpectedVersion {
		t.Errorf("at a wrong revision: %v", err)
	}
}

func TestWhatAnOperatorMustNotAppend(t *testing.T) {
	t.Parallel()
	s := history(t)
	as := operated(t, s)
	ops := as("ops")
	typed := func(typ string) client.EventData { e := note(`{}`, ""); e.EventType = typ; return e }
	binary := note("\x00", "")
	binary.ContentType = client.ContentTypeBinary
	named := note(`{}`, "")
	named.EventID = uuid.UUID(es.EventID("note-1", "key", 0))
	big := note(`"`+strings.Repeat("a", es.MaxFactBytes)+`"`, "")
	many := make([]client.EventData, 5)
	for i := range many {
		many[i] = note(`"`+strings.Repeat("a", 240<<10)+`"`, "")
	}
	for name, c := range map[string]struct {
		db     *client.Client
		stream string
		events []client.EventData
		want   codes.Code
		says   string
	}{
		"an auditor":        {as("audit"), "note-1", []client.EventData{note(`{}`, "")}, codes.PermissionDenied, "--role operator"},
		"own stream":        {ops, "offer-1", []client.EventData{note(`{}`, "")}, codes.PermissionDenied, "offers are the node's"},
		"own type":          {ops, "note-1", []client.EventData{note(`{}`, ""), typed("offer.published.v1")}, codes.PermissionDenied, "offers are the node's"},
		"system stream":     {ops, "$log-1", []client.EventData{note(`{}`, "")}, codes.PermissionDenied, "begin with $"},
		"system type":       {ops, "note-1", []client.EventData{typed("$log.opened.v1")}, codes.PermissionDenied, "begin with $"},
		"no category":       {ops, "note", []client.EventData{note(`{}`, "")}, codes.InvalidArgument, "<category>-<id>"},
		"binary":            {ops, "note-1", []client.EventData{binary}, codes.InvalidArgument, "application/json"},
		"no JSON":           {ops, "note-1", []client.EventData{note(`{`, "")}, codes.InvalidArgument, "application/json"},
		"not UTF-8":         {ops, "note-1", []client.EventData{note("\"\xff\"", "")}, codes.InvalidArgument, "UTF-8"},
		"an id of the node": {ops, "note-1", []client.EventData{named}, codes.InvalidArgument, "version 5"},
		"forged metadata":   {ops, "note-1", []client.EventData{note(`{}`, `{"peer":"0x1"}`)}, codes.InvalidArgument, `"peer"`},
		"system metadata":   {ops, "note-1", []client.EventData{note(`{}`, `{"$emet":{}}`)}, codes.InvalidArgument, `"$emet"`},
		"no object":         {ops, "note-1", []client.EventData{note(`{}`, `[1]`)}, codes.InvalidArgument, "JSON object"},
		"bad cause":         {ops, "note-1", []client.EventData{note(`{}`, `{"$causationId":"x"}`)}, codes.InvalidArgument, "metadata"},
		"large event":       {ops, "note-1", []client.EventData{big}, codes.InvalidArgument, "at most 262144"},
		"large append":      {ops, "note-1", many, codes.InvalidArgument, "1048576"},
	} {
		_, err := c.db.AppendToStream(t.Context(), c.stream, client.AppendToStreamOptions{ExpectedRevision: client.Any{}}, c.events...)
		if got := codeOf(err); got != c.want || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, %v; want %v, %q", name, got, err, c.want, c.says)
		}
	}
	if _, err := ops.DeleteStream(t.Context(), "note-1", client.DeleteStreamOptions{}); codeOf(err) != codes.PermissionDenied {
		t.Errorf("delete: %v", err)
	}
	if _, err := ops.TombstoneStream(t.Context(), "note-1", client.TombstoneStreamOptions{}); codeOf(err) != codes.PermissionDenied {
		t.Errorf("tombstone: %v", err)
	}
	if n := len(log(t, s, es.Filter{})); n != len(log(t, history(t), es.Filter{})) {
		t.Errorf("the log has %d events now", n)
	}
}

// codeOf finds the status in what the client makes of it.
func codeOf(err error) codes.Code {
	var e *client.Error
	if errors.As(err, &e) && e.Code() == client.ErrorCodeAccessDenied {
		return codes.PermissionDenied
	}
	return status.Code(err)
}

// In plain text the process is known by its user, and that is not enough to
// append: a guest that broke out would have it too.
func TestWithoutAKeyNobodyAppends(t *testing.T) {
	t.Parallel()
	s := memory.New()
	addr := door(t, esdb.Options{Store: s, MayAppend: func(string) (es.Meta, bool) { return es.Meta{}, true }})
	_, err := connect(t, plain(addr)).AppendToStream(t.Context(), "note-1", client.AppendToStreamOptions{ExpectedRevision: client.Any{}}, note(`{}`, ""))
	if codeOf(err) != codes.PermissionDenied {
		t.Errorf("got %v", err)
	}
	if head, _ := s.Head(t.Context()); head != 0 {
		t.Errorf("the log has %d events", head)
	}
}
