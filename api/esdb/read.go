package esdb

import (
	"context"
	"errors"
	"iter"
	"math"
	"strconv"
	"strings"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/emet-node/emet/domain/es"
)

// query is a request to read, understood.
type query struct {
	all       bool
	stream    es.Stream
	backward  bool
	live      bool // a subscription
	count     uint64
	filter    es.Filter
	filtered  bool
	interval  uint64 // considered events from one checkpoint to the next
	asText    bool
	resolve   bool
	extras    bool        // the client knows the messages that end a read
	from      es.Revision // of a stream; negative backward = the end
	position  uint64      // of the log, on the wire; exclusive where it follows or reads backward
	fromStart bool
	fromEnd   bool
}

// defaultWindow is how many events are considered between two steps of a
// search when the client does not say.
const defaultWindow = 32

// parse understands a request. Errors are InvalidArgument.
func parse(o *streams.ReadReq_Options) (query, error) {
	q := query{backward: o.GetReadDirection() == streams.ReadReq_Options_Backwards, resolve: o.GetResolveLinks()}
	bad := func(format string, a ...any) (query, error) {
		return q, status.Errorf(codes.InvalidArgument, format, a...)
	}
	switch {
	case o.GetUuidOption().GetString_() != nil:
		q.asText = true
	case o.GetUuidOption().GetStructured() == nil:
		return bad("uuid_option is required")
	}
	q.extras = o.GetControlOption().GetCompatibility() >= 1
	switch c := o.GetCountOption().(type) {
	case *streams.ReadReq_Options_Count:
		q.count = c.Count
	case *streams.ReadReq_Options_Subscription:
		q.live = true
	default:
		return bad("count_option is required")
	}
	if q.live && q.backward {
		return bad("a subscription goes forward")
	}
	if err := q.parseFilter(o.GetFilter()); err != nil {
		return q, err
	}
	switch s := o.GetStreamOption().(type) {
	case *streams.ReadReq_Options_Stream:
		return q, q.parseStream(s.Stream)
	case *streams.ReadReq_Options_All:
		return q, q.parseAll(s.All)
	}
	return bad("stream_option is required")
}

func (q *query) parseStream(s *streams.ReadReq_Options_StreamOptions) error {
	q.stream = es.Stream(s.GetStreamIdentifier().GetStreamName())
	if q.stream == "" {
		return status.Error(codes.InvalidArgument, "the stream has no name")
	}
	if q.filtered {
		return status.Error(codes.InvalidArgument, "filters are for $all")
	}
	switch r := s.GetRevisionOption().(type) {
	case *streams.ReadReq_Options_StreamOptions_Revision:
		q.from = revision(r.Revision)
		q.fromEnd = r.Revision == math.MaxUint64
	case *streams.ReadReq_Options_StreamOptions_End:
		q.fromEnd = true
	default:
		q.fromStart = true
	}
	return nil
}

func (q *query) parseAll(a *streams.ReadReq_Options_AllOptions) error {
	q.all = true
	switch p := a.GetAllOption().(type) {
	case *streams.ReadReq_Options_AllOptions_Position:
		q.position = p.Position.GetCommitPosition()
		if p.Position.GetPreparePosition() > q.position {
			return status.Error(codes.InvalidArgument, "the prepare position is beyond the commit position")
		}
		q.fromEnd = q.position >= math.MaxInt64
	case *streams.ReadReq_Options_AllOptions_End:
		q.fromEnd = true
	default:
		q.fromStart = true
	}
	return nil
}

func (q *query) parseFilter(f *streams.ReadReq_Options_FilterOptions) error {
	if f == nil {
		return nil
	}
	var onStream, onType expression
	if x := f.GetStreamIdentifier(); x != nil {
		onStream = x
	}
	if x := f.GetEventType(); x != nil {
		onType = x
	}
	window := uint64(defaultWindow)
	if m, ok := f.GetWindow().(*streams.ReadReq_Options_FilterOptions_Max); ok {
		window = uint64(m.Max)
	}
	q.interval = window * uint64(f.GetCheckpointIntervalMultiplier())
	if q.live && q.interval == 0 {
		return status.Error(codes.InvalidArgument, "the window and the checkpoint interval multiplier of a filter must be above 0")
	}
	q.filtered = true
	var err error
	q.filter, err = filterOf(onStream, onType)
	return err
}

// Read implements the service Streams: reads and subscriptions.
func (s *Server) Read(req *streams.ReadReq, out streams.Streams_ReadServer) error {
	q, err := parse(req.GetOptions())
	if err != nil {
		return err
	}
	r := &reading{query: q, store: s.o.Store, out: out, encode: writer{asText: q.asText}}
	switch {
	case q.live:
		err = r.subscribe(out.Context())
	case q.all:
		err = r.readAll(out.Context())
	default:
		err = r.readStream(out.Context())
	}
	return s.problem(err)
}

// problem turns an error of the store into a status.
func (s *Server) problem(err error) error {
	_, is := status.FromError(err)
	switch {
	case err == nil, is:
		return err
	case errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, "the client left")
	case errors.Is(err, context.DeadlineExceeded):
		return status.Error(codes.DeadlineExceeded, "the deadline passed")
	case errors.Is(err, es.ErrClosed):
		return status.Error(codes.Unavailable, "the log is closed")
	}
	s.log.Error("gRPC door: the log cannot be read", "error", err)
	return status.Error(codes.Internal, "the log cannot be read; the node's own log says more")
}

// reading is one call of Read.
type reading struct {
	query
	store  es.Store
	out    streams.Streams_ReadServer
	encode writer
}

func (r *reading) readStream(ctx context.Context) error {
	info, err := r.store.Info(ctx, r.stream)
	if err != nil {
		return err
	}
	if info.Head == es.NoStream {
		return r.out.Send(&streams.ReadResp{Content: &streams.ReadResp_StreamNotFound_{StreamNotFound: &streams.ReadResp_StreamNotFound{
			StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte(r.stream)},
		}}})
	}
	d, from := es.Forward, r.from
	switch {
	case r.backward && r.fromEnd:
		d, from = es.Backward, -1
	case r.backward:
		d = es.Backward
	case r.fromEnd:
		from = info.Head + 1
	}
	return r.send(r.store.ReadStream(ctx, r.stream, from, d, r.limit()))
}

// readAll reads the log. Forward the position given is the first to be read,
// backward it is behind the first to be read, as positions there point behind
// an event.
func (r *reading) readAll(ctx context.Context) error {
	d, from := es.Forward, es.Position(max(r.position, 1)-1)
	switch {
	case r.backward && r.fromEnd:
		d, from = es.Backward, math.MaxUint64
	case r.backward && r.position <= 1:
		return nil
	case r.backward:
		d, from = es.Backward, es.Position(r.position-2)
	case r.fromEnd:
		return nil
	}
	return r.send(r.store.ReadAll(ctx, from, d, r.filter, r.limit()))
}

func (r *reading) limit() int { return int(min(r.count, math.MaxInt32)) }

func (r *reading) send(events iter.Seq2[es.Event, error]) error {
	if r.count == 0 {
		return nil
	}
	left := r.count
	for e, err := range events {
		if err != nil {
			return err
		}
		if err := r.sendEvent(&e); err != nil {
			return err
		}
		if left--; left == 0 {
			break
		}
	}
	return nil
}

func (r *reading) sendEvent(e *es.Event) error {
	target := r.target(e)
	if target == nil {
		return r.out.SendMsg(r.encode.message(e))
	}
	return r.out.Send(&streams.ReadResp{Content: &streams.ReadResp_Event{Event: &streams.ReadResp_ReadEvent{
		Event: recorded(target, r.asText), Link: recorded(e, r.asText),
		Position: &streams.ReadResp_ReadEvent_CommitPosition{CommitPosition: wirePosition(e.Position)},
	}}})
}

// linkType marks an event that stands for another, "revision@stream".
const linkType = "$>"

// target is the event that a link leads to, nil when e is none or leads
// nowhere.
func (r *reading) target(e *es.Event) *es.Event {
	if !r.resolve || e.Type != linkType {
		return nil
	}
	at, stream, ok := strings.Cut(string(e.Data), "@")
	n, err := strconv.ParseInt(at, 10, 64)
	if !ok || err != nil || n < 0 {
		return nil
	}
	for t, err := range r.store.ReadStream(r.out.Context(), es.Stream(stream), es.Revision(n), es.Forward, 1) {
		if err == nil && t.Revision == es.Revision(n) {
			return &t
		}
	}
	return nil
}

// refused is what every writer is told.
func refused(ctx context.Context, send func(context.Context, metadata.MD) error) error {
	_ = send(ctx, metadata.Pairs("exception", "access-denied"))
	return status.Error(codes.PermissionDenied, "the log can be read here and not be written; what stands in it is the node's own word (an app-key of an operator may append to other streams: emet app-key create --role operator, sent with TLS)")
}
