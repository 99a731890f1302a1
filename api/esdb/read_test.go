package esdb_test

import (
	"context"
	"math"
	"slices"
	"strings"
	"testing"

	client "github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/emet-node/emet/api/esdb"
	"github.com/emet-node/emet/domain/es"
)

func TestTheLogIsReadInBothDirections(t *testing.T) {
	t.Parallel()
	s := history(t)
	db := connect(t, plain(door(t, esdb.Options{Store: s})))
	want := log(t, s, es.Filter{})
	back := slices.Clone(want)
	slices.Reverse(back)
	at := func(n uint64) client.Position { return client.Position{Commit: n, Prepare: n} }
	for name, c := range map[string]struct {
		o    client.ReadAllOptions
		max  uint64
		want []es.Event
	}{
		"forward":                     {client.ReadAllOptions{From: client.Start{}}, math.MaxUint64, want},
		"forward, some":               {client.ReadAllOptions{From: client.Start{}}, 5, want[:5]},
		"forward from an event":       {client.ReadAllOptions{From: at(11)}, math.MaxUint64, want[10:]},
		"forward from nothing":        {client.ReadAllOptions{From: at(0)}, 1, want[:1]},
		"forward from the end":        {client.ReadAllOptions{From: client.End{}}, 10, nil},
		"backward":                    {client.ReadAllOptions{From: client.End{}, Direction: client.Backwards}, math.MaxUint64, back},
		"backward from an event":      {client.ReadAllOptions{From: at(11), Direction: client.Backwards}, 3, back[len(back)-10:][:3]},
		"backward from the first":     {client.ReadAllOptions{From: at(1), Direction: client.Backwards}, 3, nil},
		"backward from the beginning": {client.ReadAllOptions{From: client.Start{}, Direction: client.Backwards}, 3, nil},
	} {
		r, err := db.ReadAll(t.Context(), c.o, c.max)
		same(t, name, drain(t, r, err), c.want)
	}
}

func TestStreamsAreReadInBothDirections(t *testing.T) {
	t.Parallel()
	s := history(t)
	db := connect(t, plain(door(t, esdb.Options{Store: s})))
	want := log(t, s, es.Filter{Streams: []es.Stream{"offer-1"}})
	back := slices.Clone(want)
	slices.Reverse(back)
	for name, c := range map[string]struct {
		o    client.ReadStreamOptions
		max  uint64
		want []es.Event
	}{
		"forward":               {client.ReadStreamOptions{From: client.Start{}}, math.MaxUint64, want},
		"forward from 4":        {client.ReadStreamOptions{From: client.Revision(4)}, 2, want[4:6]},
		"forward from beyond":   {client.ReadStreamOptions{From: client.Revision(99)}, 2, nil},
		"backward":              {client.ReadStreamOptions{From: client.End{}, Direction: client.Backwards}, math.MaxUint64, back},
		"backward from 4":       {client.ReadStreamOptions{From: client.Revision(4), Direction: client.Backwards}, 2, back[len(back)-5:][:2]},
		"the last one":          {client.ReadStreamOptions{From: client.End{}, Direction: client.Backwards}, 1, back[:1]},
		"the newest by revison": {client.ReadStreamOptions{From: client.Revision(99), Direction: client.Backwards}, 1, back[:1]},
	} {
		r, err := db.ReadStream(t.Context(), "offer-1", c.o, c.max)
		same(t, name, drain(t, r, err), c.want)
	}
	r, err := db.ReadStream(t.Context(), "nobody-1", client.ReadStreamOptions{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Recv(); errorCode(err) != client.ErrorCodeResourceNotFound {
		t.Errorf("stream that does not exist: %v", err)
	}
	sealed, err := db.ReadStream(t.Context(), "batch-R-1", client.ReadStreamOptions{}, 9)
	same(t, "sealed", drain(t, sealed, err), log(t, s, es.Filter{Streams: []es.Stream{"batch-R-1"}}))
}

func TestNobodyWrites(t *testing.T) {
	t.Parallel()
	s := history(t)
	db := connect(t, plain(door(t, esdb.Options{Store: s})))
	before := len(log(t, s, es.Filter{}))
	event := client.EventData{EventID: uuid.New(), EventType: "agreement.terminated.v1", ContentType: client.ContentTypeJson, Data: []byte(`{}`)}
	_, err := db.AppendToStream(t.Context(), "agreement-R-1", client.AppendToStreamOptions{ExpectedRevision: client.Any{}}, event)
	if errorCode(err) != client.ErrorCodeAccessDenied {
		t.Errorf("append: %v", err)
	}
	if _, err := db.DeleteStream(t.Context(), "agreement-R-1", client.DeleteStreamOptions{}); err == nil || !strings.Contains(err.Error(), "PermissionDenied") {
		t.Errorf("delete: %v", err)
	}
	if _, err := db.TombstoneStream(t.Context(), "agreement-R-1", client.TombstoneStreamOptions{}); err == nil || !strings.Contains(err.Error(), "PermissionDenied") {
		t.Errorf("tombstone: %v", err)
	}
	if n := len(log(t, s, es.Filter{})); n != before {
		t.Errorf("%d events, %d before", n, before)
	}
}

// raw speaks the protocol without a client's help.
func raw(t testing.TB, addr string) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestRefusalsCarryTheTrailerThatClientsRead(t *testing.T) {
	t.Parallel()
	c := streams.NewStreamsClient(raw(t, door(t, esdb.Options{Store: history(t)})))
	var md metadata.MD
	_, err := c.Delete(t.Context(), &streams.DeleteReq{}, grpc.Trailer(&md))
	if status.Code(err) != codes.PermissionDenied || !slices.Equal(md.Get("exception"), []string{"access-denied"}) {
		t.Errorf("delete: %v, trailers %v", err, md)
	}
	call, err := c.BatchAppend(t.Context())
	if err == nil {
		_, err = call.Recv()
	}
	if status.Code(err) != codes.PermissionDenied || !slices.Equal(call.Trailer().Get("exception"), []string{"access-denied"}) {
		t.Errorf("batch append: %v, trailers %v", err, call.Trailer())
	}
}

func TestMalformedRequestsAreTold(t *testing.T) {
	t.Parallel()
	c := streams.NewStreamsClient(raw(t, door(t, esdb.Options{Store: history(t)})))
	whole := func() *streams.ReadReq_Options {
		return &streams.ReadReq_Options{
			StreamOption: &streams.ReadReq_Options_All{All: &streams.ReadReq_Options_AllOptions{AllOption: &streams.ReadReq_Options_AllOptions_Start{Start: &shared.Empty{}}}},
			CountOption:  &streams.ReadReq_Options_Count{Count: 1},
			FilterOption: &streams.ReadReq_Options_NoFilter{NoFilter: &shared.Empty{}},
			UuidOption:   &streams.ReadReq_Options_UUIDOption{Content: &streams.ReadReq_Options_UUIDOption_String_{String_: &shared.Empty{}}},
		}
	}
	filter := func(x *streams.ReadReq_Options_FilterOptions) *streams.ReadReq_Options_Filter {
		return &streams.ReadReq_Options_Filter{Filter: x}
	}
	byType := func(regex string) *streams.ReadReq_Options_FilterOptions_EventType {
		return &streams.ReadReq_Options_FilterOptions_EventType{EventType: &streams.ReadReq_Options_FilterOptions_Expression{Regex: regex}}
	}
	live := &streams.ReadReq_Options_Subscription{Subscription: &streams.ReadReq_Options_SubscriptionOptions{}}
	for name, change := range map[string]func(*streams.ReadReq_Options){
		"no stream":         func(o *streams.ReadReq_Options) { o.StreamOption = nil },
		"no count":          func(o *streams.ReadReq_Options) { o.CountOption = nil },
		"no kind of ids":    func(o *streams.ReadReq_Options) { o.UuidOption = nil },
		"backward for ever": func(o *streams.ReadReq_Options) { o.CountOption, o.ReadDirection = live, 1 },
		"pattern that is none": func(o *streams.ReadReq_Options) {
			o.FilterOption = filter(&streams.ReadReq_Options_FilterOptions{Filter: byType("(")})
		},
		"no pattern": func(o *streams.ReadReq_Options) {
			o.FilterOption = filter(&streams.ReadReq_Options_FilterOptions{Filter: byType("")})
		},
		"no checkpoints": func(o *streams.ReadReq_Options) {
			o.CountOption, o.FilterOption = live, filter(&streams.ReadReq_Options_FilterOptions{Filter: byType("x")})
		},
		"prepared after it was committed": func(o *streams.ReadReq_Options) {
			o.GetAll().AllOption = &streams.ReadReq_Options_AllOptions_Position{Position: &streams.ReadReq_Options_Position{CommitPosition: 1, PreparePosition: 2}}
		},
		"a filter on a stream": func(o *streams.ReadReq_Options) {
			o.StreamOption = &streams.ReadReq_Options_Stream{Stream: &streams.ReadReq_Options_StreamOptions{StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte("a-1")}}}
			o.FilterOption = filter(&streams.ReadReq_Options_FilterOptions{Filter: byType("x")})
		},
	} {
		o := whole()
		change(o)
		call, err := c.Read(t.Context(), &streams.ReadReq{Options: o})
		if err == nil {
			_, err = call.Recv()
		}
		if status.Code(err) != codes.InvalidArgument {
			t.Errorf("%s: %v", name, err)
		}
	}
	call, err := c.Read(t.Context(), &streams.ReadReq{Options: whole()})
	if err == nil {
		_, err = call.Recv()
	}
	if err != nil {
		t.Errorf("unchanged: %v", err)
	}
}

func TestDiscoveryLeadsBackToTheSameDoor(t *testing.T) {
	t.Parallel()
	s := history(t)
	db := connect(t, "esdb+discover://"+door(t, esdb.Options{Store: s})+"?tls=false")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := db.ReadAll(ctx, client.ReadAllOptions{From: client.Start{}}, 3)
	same(t, "after discovery", drain(t, r, err), log(t, s, es.Filter{})[:3])
	if v, err := db.GetServerVersion(); err != nil || v.Major != 24 {
		t.Errorf("version %v, %v", v, err)
	}
}
