package esdb

import (
	"context"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"github.com/google/uuid"

	"github.com/emet-node/emet/domain/es"
)

// subscribe follows the log or one stream: first a confirmation, then all
// there is, once the word that this was all, and then what comes.
func (r *reading) subscribe(ctx context.Context) error {
	head, err := r.store.Head(ctx)
	if err != nil {
		return err
	}
	err = r.out.Send(&streams.ReadResp{Content: &streams.ReadResp_Confirmation{Confirmation: &streams.ReadResp_SubscriptionConfirmation{
		SubscriptionId: uuid.NewString(),
	}}})
	if err != nil {
		return err
	}
	if r.all {
		return r.follow(ctx, r.afterAll(head), r.filter, nil)
	}
	after, err := r.catchUpStream(ctx, head)
	if err != nil {
		return err
	}
	skip := func(e *es.Event) bool { return !r.fromStart && !r.fromEnd && e.Revision <= r.from }
	return r.follow(ctx, after, es.Filter{Streams: []es.Stream{r.stream}}, skip)
}

// afterAll is the position that a subscription to the log starts behind.
func (r *reading) afterAll(head es.Position) *es.Position {
	switch {
	case r.fromEnd && head > 0:
		p := head - 1
		return &p
	case r.fromEnd, r.fromStart, r.position == 0:
		return nil
	}
	p := es.Position(r.position - 1)
	return &p
}

// catchUpStream sends what the stream holds by now, so that the log need not
// be searched for it, and returns up to where that was.
func (r *reading) catchUpStream(ctx context.Context, head es.Position) (after *es.Position, err error) {
	if head > 0 {
		p := head - 1
		after = &p
	}
	if r.fromEnd {
		return after, nil
	}
	from := r.from + 1
	if r.fromStart {
		from = 0
	}
	for e, err := range r.store.ReadStream(ctx, r.stream, from, es.Forward, 0) {
		if err != nil {
			return nil, err
		}
		if err := r.sendEvent(&e); err != nil {
			return nil, err
		}
		if after == nil || e.Position > *after {
			p := e.Position
			after = &p
		}
	}
	return after, nil
}

// follow sends what comes after a position. Subscriptions with a filter hear
// now and then how far was looked.
func (r *reading) follow(ctx context.Context, after *es.Position, f es.Filter, skip func(*es.Event) bool) error {
	sub := r.store.Subscribe(ctx, after, f)
	defer sub.Close() //nolint:errcheck // nothing is written
	var told uint64   // position on the wire up to which the client knows that all was considered
	if after != nil {
		told = wirePosition(*after)
	}
	caughtUp := false
	for {
		m, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		var at uint64
		switch {
		case m.Event != nil:
			if skip != nil && skip(m.Event) {
				continue
			}
			at = wirePosition(m.Event.Position)
			err = r.sendEvent(m.Event)
		case m.Checkpoint != nil:
			at = wirePosition(*m.Checkpoint)
		case !caughtUp:
			caughtUp = true
			err = r.out.Send(&streams.ReadResp{Content: &streams.ReadResp_CaughtUp_{CaughtUp: &streams.ReadResp_CaughtUp{}}})
		}
		if err == nil && r.filtered && at >= told+r.interval {
			told = at
			err = r.checkpoint(at)
		}
		if err != nil {
			return err
		}
	}
}

func (r *reading) checkpoint(at uint64) error {
	return r.out.Send(&streams.ReadResp{Content: &streams.ReadResp_Checkpoint_{Checkpoint: &streams.ReadResp_Checkpoint{
		CommitPosition: at, PreparePosition: at,
	}}})
}
