package esdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/emet-node/emet/domain/es"
)

func trailer(ctx context.Context, md metadata.MD) error { return grpc.SetTrailer(ctx, md) }

// binarySubject marks content of clients that is no JSON. Only a log that
// clients write has it.
const binarySubject = "binary"

// Append implements the service Streams. A node's log takes it from an operator
// only, for streams that are not the node's.
func (s *Server) Append(in streams.Streams_AppendServer) error {
	who, ok := s.author(in.Context())
	if !ok {
		hearOut(in)
		return refused(in.Context(), trailer)
	}
	first, err := in.Recv()
	if err != nil {
		return err
	}
	o := first.GetOptions()
	w := es.Write{Stream: es.Stream(o.GetStreamIdentifier().GetStreamName()), Expected: expectedOf(o)}
	for size := 0; ; {
		m, err := in.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		e, err := proposed(in.Context(), m.GetProposedMessage())
		if err != nil {
			hearOut(in)
			return err
		}
		w.Events = append(w.Events, e)
		if err := who.room(w.Stream, len(w.Events), &size, e); err != nil {
			hearOut(in)
			return appendProblem(in.Context(), err)
		}
	}
	r, err := s.write(in.Context(), who, w)
	var wrong *es.WrongExpectedRevision
	switch {
	case errors.As(err, &wrong):
		return in.SendAndClose(&streams.AppendResp{Result: &streams.AppendResp_WrongExpectedVersion_{WrongExpectedVersion: conflict(wrong)}})
	case err != nil:
		return appendProblem(in.Context(), err)
	}
	success := &streams.AppendResp_Success{PositionOption: &streams.AppendResp_Success_NoPosition{NoPosition: &shared.Empty{}}}
	if len(w.Events) > 0 {
		at := wirePosition(r.Last)
		success.PositionOption = &streams.AppendResp_Success_Position{Position: &streams.AppendResp_Position{CommitPosition: at, PreparePosition: at}}
	}
	success.CurrentRevisionOption = &streams.AppendResp_Success_NoStream{NoStream: &shared.Empty{}}
	if r.Heads[0] >= 0 {
		success.CurrentRevisionOption = &streams.AppendResp_Success_CurrentRevision{CurrentRevision: uint64(r.Heads[0])}
	}
	return in.SendAndClose(&streams.AppendResp{Result: &streams.AppendResp_Success_{Success: success}})
}

// room refuses an append as soon as it is too large, since all of it is held
// until its end. size is what the events before weigh.
func (a *author) room(stream es.Stream, events int, size *int, e es.NewEvent) error {
	if events > es.MaxAppendEvents {
		return fmt.Errorf("more than %d events in one append: %w", es.MaxAppendEvents, es.ErrTooLarge)
	}
	most := es.MaxAppendBytes
	if a != nil {
		most = maxOperatorAppend
	}
	if *size += len(e.Data) + len(e.Meta); *size > most {
		return &tooMuch{most, fmt.Sprintf("an append to %s has more than the %d bytes that this door takes at once", stream, most)}
	}
	return nil
}

// hearOut lets a client finish what it says: the Go client takes an early
// answer for a lost connection.
func hearOut(in streams.Streams_AppendServer) {
	for range es.MaxAppendEvents + 1 {
		if _, err := in.Recv(); err != nil {
			return
		}
	}
}

// write appends; without events it only compares the revision.
func (s *Server) write(ctx context.Context, who *author, w es.Write) (es.Receipt, error) {
	w, err := s.allowed(who, w)
	if err != nil {
		return es.Receipt{}, err
	}
	if len(w.Events) > 0 {
		return s.o.Store.Append(ctx, nil, w)
	}
	info, err := s.o.Store.Info(ctx, w.Stream)
	if err == nil && w.Expected != es.Any && w.Expected != info.Head && (w.Expected != es.StreamExists || info.Head < 0) {
		err = &es.WrongExpectedRevision{Stream: w.Stream, Expected: w.Expected, Actual: info.Head}
	}
	return es.Receipt{Heads: []es.Revision{info.Head}}, err
}

func appendProblem(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, es.ErrTooLarge):
		_ = trailer(ctx, metadata.Pairs("exception", "maximum-append-size-exceeded", "maximum-append-size", strconv.Itoa(limitOf(err))))
		return status.Error(codes.InvalidArgument, err.Error())
	case errors.Is(err, errNotYours):
		_ = trailer(ctx, metadata.Pairs("exception", "access-denied"))
		return status.Error(codes.PermissionDenied, err.Error())
	case errors.Is(err, errNoFact), errors.Is(err, es.ErrIDConflict):
		return status.Error(codes.InvalidArgument, err.Error())
	}
	return status.Error(codes.Internal, err.Error())
}

// limitOf is the limit that an append broke, in bytes.
func limitOf(err error) int {
	var much *tooMuch
	if errors.As(err, &much) {
		return much.limit
	}
	return es.MaxAppendBytes
}

type revisionOption interface {
	GetRevision() uint64
	GetNoStream() *shared.Empty
	GetAny() *shared.Empty
	GetStreamExists() *shared.Empty
}

func expectedOf(o revisionOption) es.Revision {
	switch {
	case o.GetNoStream() != nil:
		return es.NoStream
	case o.GetAny() != nil:
		return es.Any
	case o.GetStreamExists() != nil:
		return es.StreamExists
	}
	return revision(o.GetRevision())
}

// message is what both kinds of append propose.
type message interface {
	GetId() *shared.UUID
	GetMetadata() map[string]string
	GetCustomMetadata() []byte
	GetData() []byte
}

func proposed(ctx context.Context, m message) (es.NewEvent, error) {
	md := m.GetMetadata()
	for _, key := range []string{keyType, keyContent} {
		if md[key] == "" {
			_ = trailer(ctx, metadata.Pairs("exception", "missing-required-metadata-property", "required-metadata-properties", keyType+","+keyContent))
			return es.NewEvent{}, status.Errorf(codes.InvalidArgument, "an event has no %s", key)
		}
	}
	id, err := parseUUID(m.GetId())
	e := es.NewEvent{ID: id, Type: md[keyType], Data: m.GetData(), Meta: m.GetCustomMetadata()}
	if md[keyContent] != contentJSON {
		e.Subject = binarySubject
	}
	return e, err
}

// conflict fills in both generations of the same fields.
func conflict(w *es.WrongExpectedRevision) *streams.AppendResp_WrongExpectedVersion {
	out, none := &streams.AppendResp_WrongExpectedVersion{}, &shared.Empty{}
	if w.Actual < 0 {
		out.CurrentRevisionOption = &streams.AppendResp_WrongExpectedVersion_CurrentNoStream{CurrentNoStream: none}
		out.CurrentRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_NoStream_20_6_0{NoStream_20_6_0: none}
	} else {
		out.CurrentRevisionOption = &streams.AppendResp_WrongExpectedVersion_CurrentRevision{CurrentRevision: uint64(w.Actual)}
		out.CurrentRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_CurrentRevision_20_6_0{CurrentRevision_20_6_0: uint64(w.Actual)}
	}
	switch w.Expected {
	case es.Any:
		out.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedAny{ExpectedAny: none}
		out.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_Any_20_6_0{Any_20_6_0: none}
	case es.NoStream:
		out.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedNoStream{ExpectedNoStream: none}
	case es.StreamExists:
		out.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedStreamExists{ExpectedStreamExists: none}
		out.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_StreamExists_20_6_0{StreamExists_20_6_0: none}
	default:
		out.ExpectedRevisionOption = &streams.AppendResp_WrongExpectedVersion_ExpectedRevision{ExpectedRevision: uint64(w.Expected)}
		out.ExpectedRevisionOption_20_6_0 = &streams.AppendResp_WrongExpectedVersion_ExpectedRevision_20_6_0{ExpectedRevision_20_6_0: uint64(w.Expected)}
	}
	return out
}

// Delete implements the service Streams: always refused, as nothing is deleted
// from a log.
func (s *Server) Delete(ctx context.Context, _ *streams.DeleteReq) (*streams.DeleteResp, error) {
	return nil, refused(ctx, trailer)
}

// Tombstone implements the service Streams: always refused.
func (s *Server) Tombstone(ctx context.Context, _ *streams.TombstoneReq) (*streams.TombstoneResp, error) {
	return nil, refused(ctx, trailer)
}
