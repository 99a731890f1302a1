package esdb

import (
	"context"
	"errors"
	"io"
	"slices"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/genproto/googleapis/rpc/code"
	pstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/emet-node/emet/domain/es"
)

// maxOpenBatches bounds appends of one call that were begun and not ended.
const maxOpenBatches = 64

// BatchAppend implements the service Streams: many appends over one call, each
// in one or several pieces. A node's log takes it as it takes Append.
func (s *Server) BatchAppend(in streams.Streams_BatchAppendServer) error {
	who, ok := s.author(in.Context())
	if !ok {
		return refused(in.Context(), trailer)
	}
	open := map[string]*batch{}
	for {
		m, err := in.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		id := m.GetCorrelationId().String()
		b, known := open[id]
		if !known {
			if len(open) == maxOpenBatches {
				return status.Error(codes.ResourceExhausted, "too many appends are open")
			}
			b = &batch{options: m.GetOptions()}
			open[id] = b
		}
		for _, p := range m.GetProposedMessages() {
			e, err := proposed(in.Context(), p)
			if err != nil {
				return err
			}
			b.events = append(b.events, e)
			if err := who.room(es.Stream(b.options.GetStreamIdentifier().GetStreamName()), len(b.events), &b.size, e); err != nil {
				return appendProblem(in.Context(), err)
			}
		}
		if !m.GetIsFinal() {
			continue
		}
		delete(open, id)
		answer := s.batch(in.Context(), who, b)
		answer.CorrelationId = m.GetCorrelationId()
		if err := in.Send(answer); err != nil {
			return err
		}
	}
}

// batch is one append that arrives in pieces.
type batch struct {
	options *streams.BatchAppendReq_Options
	events  []es.NewEvent
	size    int // bytes of them
}

func (b *batch) expected() es.Revision {
	switch e := b.options.GetExpectedStreamPosition().(type) {
	case *streams.BatchAppendReq_Options_StreamPosition:
		return revision(e.StreamPosition)
	case *streams.BatchAppendReq_Options_NoStream:
		return es.NoStream
	case *streams.BatchAppendReq_Options_StreamExists:
		return es.StreamExists
	}
	return es.Any
}

func (s *Server) batch(ctx context.Context, who *author, b *batch) *streams.BatchAppendResp {
	w := es.Write{Stream: es.Stream(b.options.GetStreamIdentifier().GetStreamName()), Expected: b.expected(), Events: slices.Clip(b.events)}
	out := &streams.BatchAppendResp{StreamIdentifier: b.options.GetStreamIdentifier()}
	switch w.Expected {
	case es.Any:
		out.ExpectedStreamPosition = &streams.BatchAppendResp_Any{Any: &emptypb.Empty{}}
	case es.NoStream:
		out.ExpectedStreamPosition = &streams.BatchAppendResp_NoStream{NoStream: &emptypb.Empty{}}
	case es.StreamExists:
		out.ExpectedStreamPosition = &streams.BatchAppendResp_StreamExists{StreamExists: &emptypb.Empty{}}
	default:
		out.ExpectedStreamPosition = &streams.BatchAppendResp_StreamPosition{StreamPosition: uint64(w.Expected)}
	}
	r, err := s.write(ctx, who, w)
	if err != nil {
		out.Result = &streams.BatchAppendResp_Error{Error: batchError(err)}
		return out
	}
	success := &streams.BatchAppendResp_Success{
		CurrentRevisionOption: &streams.BatchAppendResp_Success_NoStream{NoStream: &emptypb.Empty{}},
		PositionOption:        &streams.BatchAppendResp_Success_NoPosition{NoPosition: &emptypb.Empty{}},
	}
	if r.Heads[0] >= 0 {
		success.CurrentRevisionOption = &streams.BatchAppendResp_Success_CurrentRevision{CurrentRevision: uint64(r.Heads[0])}
	}
	if len(w.Events) > 0 {
		at := wirePosition(r.Last)
		success.PositionOption = &streams.BatchAppendResp_Success_Position{Position: &shared.AllStreamPosition{CommitPosition: at, PreparePosition: at}}
	}
	out.Result = &streams.BatchAppendResp_Success_{Success: success}
	return out
}

func batchError(err error) *pstatus.Status {
	var wrong *es.WrongExpectedRevision
	switch {
	case errors.As(err, &wrong):
		return statusOf(code.Code_ALREADY_EXISTS, err, batchConflict(wrong))
	case errors.Is(err, es.ErrTooLarge):
		return statusOf(code.Code_INVALID_ARGUMENT, err, &shared.MaximumAppendSizeExceeded{MaxAppendSize: uint32(limitOf(err))})
	case errors.Is(err, errNotYours):
		return statusOf(code.Code_PERMISSION_DENIED, err, &shared.AccessDenied{})
	case errors.Is(err, errNoFact), errors.Is(err, es.ErrIDConflict):
		return statusOf(code.Code_INVALID_ARGUMENT, err, &shared.Unknown{})
	}
	return statusOf(code.Code_INTERNAL, err, &shared.Unknown{})
}

func statusOf(c code.Code, err error, detail proto.Message) *pstatus.Status {
	d, bad := anypb.New(detail)
	if bad != nil {
		d = &anypb.Any{}
	}
	return &pstatus.Status{Code: int32(c), Message: err.Error(), Details: []*anypb.Any{d}}
}

func batchConflict(w *es.WrongExpectedRevision) *shared.WrongExpectedVersion {
	out, none := &shared.WrongExpectedVersion{}, &emptypb.Empty{}
	if w.Actual < 0 {
		out.CurrentStreamRevisionOption = &shared.WrongExpectedVersion_CurrentNoStream{CurrentNoStream: none}
	} else {
		out.CurrentStreamRevisionOption = &shared.WrongExpectedVersion_CurrentStreamRevision{CurrentStreamRevision: uint64(w.Actual)}
	}
	switch w.Expected {
	case es.Any:
		out.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedAny{ExpectedAny: none}
	case es.NoStream:
		out.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedNoStream{ExpectedNoStream: none}
	case es.StreamExists:
		out.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedStreamExists{ExpectedStreamExists: none}
	default:
		out.ExpectedStreamPositionOption = &shared.WrongExpectedVersion_ExpectedStreamPosition{ExpectedStreamPosition: uint64(w.Expected)}
	}
	return out
}
