package esdb

import (
	"errors"
	"fmt"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"github.com/google/uuid"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/emet-node/emet/domain/es"
)

// Read implements the service: it hands out events and takes acknowledgements
// until the client leaves.
func (s *groups) Read(call persistent.PersistentSubscriptions_ReadServer) error {
	first, err := call.Recv()
	if err != nil {
		return err
	}
	o := first.GetOptions()
	if o == nil {
		return status.Error(codes.InvalidArgument, "the first message has the options")
	}
	n := nameOf(o)
	g, err := s.find(call.Context(), n)
	if err != nil {
		return err
	}
	id := uuid.NewString()
	r, err := g.join(int(o.GetBufferSize()))
	if err != nil {
		return s.fail(call.Context(), codes.FailedPrecondition, "maximum-subscribers-reached", n, "has all the subscribers that it may have")
	}
	defer g.leave(r)
	err = call.Send(&persistent.ReadResp{Content: &persistent.ReadResp_SubscriptionConfirmation_{
		SubscriptionConfirmation: &persistent.ReadResp_SubscriptionConfirmation{SubscriptionId: id},
	}})
	if err != nil {
		return err
	}
	go func() { r.end(g.listen(call)) }()
	asText := o.GetUuidOption().GetString_() != nil
	for {
		select {
		case d := <-r.out:
			if err := call.Send(persistentEvent(d, asText)); err != nil {
				return err
			}
		case <-call.Context().Done():
			return status.FromContextError(call.Context().Err()).Err()
		case <-r.ended:
			if why := (&gone{}); errors.As(r.why, &why) {
				return s.fail(call.Context(), why.code, why.exception, n, why.what)
			}
			return r.why
		}
	}
}

// listen takes acknowledgements until there are no more.
func (g *group) listen(call persistent.PersistentSubscriptions_ReadServer) error {
	for {
		m, err := call.Recv()
		if err != nil {
			return err
		}
		switch c := m.GetContent().(type) {
		case *persistent.ReadReq_Ack_:
			ids, err := idsOf(c.Ack.GetIds())
			if err != nil {
				return err
			}
			g.ack(ids)
		case *persistent.ReadReq_Nack_:
			ids, err := idsOf(c.Nack.GetIds())
			if err != nil {
				return err
			}
			if c.Nack.GetAction() == persistent.ReadReq_Nack_Stop {
				g.nack(ids, persistent.ReadReq_Nack_Retry)
				return dropped(g.name())
			}
			g.nack(ids, c.Nack.GetAction())
		default:
			return status.Error(codes.InvalidArgument, "want an acknowledgement")
		}
	}
}

func idsOf(list []*shared.UUID) ([]es.ID, error) {
	out := make([]es.ID, len(list))
	for i, u := range list {
		var err error
		if out[i], err = parseUUID(u); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func persistentEvent(d delivery, asText bool) *persistent.ReadResp {
	e := &d.event
	at := wirePosition(e.Position)
	return &persistent.ReadResp{Content: &persistent.ReadResp_Event{Event: &persistent.ReadResp_ReadEvent{
		Event: &persistent.ReadResp_ReadEvent_RecordedEvent{
			Id: uuidOf(e.ID, asText), StreamIdentifier: &shared.StreamIdentifier{StreamName: []byte(e.Stream)}, StreamRevision: uint64(e.Revision),
			PreparePosition: at, CommitPosition: at, Metadata: systemMetadata(e), CustomMetadata: e.Meta, Data: e.Data,
		},
		Position: &persistent.ReadResp_ReadEvent_CommitPosition{CommitPosition: at},
		Count:    &persistent.ReadResp_ReadEvent_RetryCount{RetryCount: int32(d.retries)},
	}}}
}

func allPosition(commit uint64) string { return fmt.Sprintf("C:%d/P:%d", commit, commit) }

func formatRevision(r es.Revision) string { return fmt.Sprint(int64(r)) }
