package activities

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

// OpenBatch is a batch that was accepted and is not closed.
type OpenBatch struct{ ActivityID, BatchID string }

// Follower mirrors every open batch of the requestor's side from its provider,
// from the moment it is accepted until it is closed, whoever is listening.
type Follower struct {
	Log        *es.Log
	Activities *es.Aggregate[activity.Command, activity.Event, activity.State]
	Batches    *es.Aggregate[batch.Command, batch.Event, batch.State]
	Peers      effects.Peers
	Blobs      BlobStore
	// OpenBatches lists what has to be followed after a restart.
	OpenBatches func(ctx context.Context) ([]OpenBatch, error)
	// GiveUp is how long a provider may be out of reach before its running
	// batches count as aborted; the client can then rent elsewhere.
	GiveUp time.Duration
	Logger *slog.Logger

	mu     sync.Mutex
	active map[OpenBatch]bool
}

// acceptedTypes names the fact that starts the following of a batch.
const acceptedType = "batch.accepted.v1"

// Run follows batches until ctx ends.
func (f *Follower) Run(ctx context.Context) error {
	f.active = make(map[OpenBatch]bool)
	var wg sync.WaitGroup
	defer wg.Wait()
	head, err := f.Log.Store.Head(ctx)
	if err != nil {
		return err
	}
	open, err := f.OpenBatches(ctx)
	if err != nil {
		return fmt.Errorf("open batches: %w", err)
	}
	for _, b := range open {
		f.begin(ctx, &wg, b)
	}
	var after *es.Position
	if head > 0 {
		p := head - 1
		after = &p
	}
	sub := f.Log.Store.Subscribe(ctx, after, es.Filter{Types: []string{acceptedType}, StreamPrefixes: []string{batch.Category + "-R-"}})
	defer sub.Close() //nolint:errcheck // nothing is written
	for {
		m, err := sub.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if m.Event == nil {
			continue
		}
		r, err := f.Log.Decode(ctx, *m.Event)
		if err != nil {
			return err
		}
		if e, ok := r.Data.(batch.Accepted); ok {
			f.begin(ctx, &wg, OpenBatch{e.ActivityID, e.BatchID})
		}
	}
}

func (f *Follower) begin(ctx context.Context, wg *sync.WaitGroup, b OpenBatch) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.active[b] {
		return
	}
	f.active[b] = true
	wg.Go(func() {
		f.follow(ctx, b)
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.active, b)
	})
}

// follow mirrors one batch, through any number of connections.
func (f *Follower) follow(ctx context.Context, b OpenBatch) {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	p := &pulse{last: time.Now()}
	wg.Go(func() { f.endWithActivity(ctx, cancel, b) })
	if f.GiveUp > 0 {
		wg.Go(func() { f.feel(ctx, cancel, b, p) })
	}
	next := int64(0)
	for pause := 100 * time.Millisecond; ctx.Err() == nil; {
		seen, closed, err := f.mirror(ctx, b, next, p)
		if closed || ctx.Err() != nil {
			return
		}
		if seen > next {
			next, pause = seen, 100*time.Millisecond
		}
		if no, refused := effects.RefusalOf(err); refused && (no.Code == peer.NotFound || no.Code == peer.Forbidden) {
			f.abort(ctx, b, "the provider does not know the batch any more: "+no.Text)
			return
		}
		f.Logger.Info("batch is followed again", "activity", b.ActivityID, "batch", b.BatchID, "from", next, "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, 3*time.Second)
	}
}

// maxTold is how much a provider may tell of one batch, also of what is not
// taken: its word costs our disk.
const maxTold = 256 << 20

// pulse is when a provider was last heard.
type pulse struct {
	told int64 // bytes; only its mirror counts

	mu   sync.Mutex
	last time.Time
}

func (p *pulse) beat() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last = time.Now()
}

func (p *pulse) silence() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return time.Since(p.last)
}

// feel gives a batch up when its provider was not heard for too long. A command
// may run for hours and say nothing, and a connection may look alive for long
// after the other end is gone: a provider that is silent is asked how it is.
func (f *Follower) feel(ctx context.Context, stop context.CancelFunc, b OpenBatch, p *pulse) {
	step := min(f.GiveUp/4, callTime)
	tick := time.NewTicker(step)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if p.silence() < step {
			continue
		}
		if f.answers(ctx, b, min(f.GiveUp/2, callTime)) {
			p.beat()
		}
		if p.silence() >= f.GiveUp && ctx.Err() == nil {
			f.abort(ctx, b, fmt.Sprintf("the provider was out of reach for %s", f.GiveUp))
			stop()
			return
		}
	}
}

// answers says whether a provider answers at all, be it a no.
func (f *Follower) answers(ctx context.Context, b OpenBatch, patience time.Duration) bool {
	s, _, err := f.Activities.Load(ctx, activity.StreamID(identity.Requestor, b.ActivityID))
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err = f.Peers.Call(ctx, s.Requestor, s.Provider, peer.GetActivityState{ActivityID: s.PeerID()})
	_, refused := effects.RefusalOf(err)
	return err == nil || refused
}

// endWithActivity closes the batch when its activity is over.
func (f *Follower) endWithActivity(ctx context.Context, stop context.CancelFunc, b OpenBatch) {
	id := activity.StreamID(identity.Requestor, b.ActivityID)
	s, err := f.Activities.Await(ctx, id, activity.State.IsEnded)
	if err != nil {
		return
	}
	// What the provider still streams of the end is worth a moment, and more
	// when no client waits for it.
	moment := 200 * time.Millisecond
	if told, _, err := f.Batches.Load(ctx, batch.StreamID(identity.Requestor, b.ActivityID, b.BatchID)); err == nil && told.Over() {
		moment = max(f.GiveUp, moment)
	}
	select {
	case <-ctx.Done():
		return
	case <-time.After(moment):
	}
	reason := s.Reason
	if reason == "" {
		reason = "the activity was destroyed"
	}
	f.abort(ctx, b, reason)
	stop()
}

func (f *Follower) abort(ctx context.Context, b OpenBatch, why string) {
	id := batch.StreamID(identity.Requestor, b.ActivityID, b.BatchID)
	_, err := f.Batches.Do(ctx, id, batch.Close{At: time.Now().UTC(), By: effects.Own(), Message: why, Outcome: batch.Aborted},
		es.Meta{Key: b.BatchID + "/abort", Actor: es.ActorEffect, Grade: es.GradeSelf, Correlation: f.correlation(ctx, b)})
	if err != nil && ctx.Err() == nil {
		f.Logger.Warn("batch could not be closed", "batch", b.BatchID, "error", err)
	}
}

func (f *Follower) correlation(ctx context.Context, b OpenBatch) string {
	s, _, err := f.Batches.Load(ctx, batch.StreamID(identity.Requestor, b.ActivityID, b.BatchID))
	if err != nil {
		return ""
	}
	return s.AgreementID
}

// mirror reads one stream of batch events. It returns the number of the next
// event it wants and whether the batch is closed.
func (f *Follower) mirror(ctx context.Context, b OpenBatch, from int64, p *pulse) (next int64, closed bool, err error) {
	next = from
	s, _, err := f.Activities.Load(ctx, activity.StreamID(identity.Requestor, b.ActivityID))
	if err != nil {
		return next, false, err
	}
	m := effects.Because(ctx, f.Log.Store, es.Meta{
		Correlation: s.AgreementID, Actor: es.ActorPeer, Identity: string(s.Requestor), Peer: string(s.Provider), Grade: es.GradeSession,
	}, es.StreamOf(batch.Category, batch.StreamID(identity.Requestor, b.ActivityID, b.BatchID)), acceptedType)
	for msg, err := range f.Peers.Stream(ctx, s.Requestor, s.Provider, peer.FollowBatch{ActivityID: s.PeerID(), BatchID: b.BatchID, After: from - 1}) {
		if err != nil {
			return next, false, err
		}
		p.beat()
		e, ok := asEvent(msg)
		if p.told += int64(len(e.Fact)); p.told > maxTold {
			f.abort(ctx, b, fmt.Sprintf("the provider tells more than %d MiB of it", maxTold>>20))
			return next, true, nil
		}
		if !ok || e.Seq >= 0 && e.Seq != next {
			return next, false, fmt.Errorf("batch %s: event %d came where %d was due", b.BatchID, e.Seq, next)
		}
		if e.Seq < 0 {
			continue
		}
		m.Key = fmt.Sprintf("%s/%d", b.BatchID, e.Seq)
		if closed, err = f.record(ctx, b, s.Provider, e, m); err != nil || closed {
			return next, closed, err
		}
		next++
	}
	return next, false, errors.New("the provider ended the stream")
}

func asEvent(m peer.Message) (peer.BatchEvent, bool) {
	switch m := m.(type) {
	case peer.BatchEvent:
		return m, true
	case *peer.BatchEvent:
		return *m, true
	}
	return peer.BatchEvent{}, false
}

// record writes down what the provider says happened, in our own batch.
func (f *Follower) record(ctx context.Context, b OpenBatch, provider identity.NodeID, e peer.BatchEvent, m es.Meta) (closed bool, err error) {
	fact, err := f.Log.Codec.Decode(e.Type, e.Fact)
	if err != nil {
		return false, fmt.Errorf("batch %s: event %d: %w", b.BatchID, e.Seq, err)
	}
	cmd, ok := retell(fact, identity.Caller{Actor: es.ActorPeer, Node: provider, Grade: es.GradeSession})
	if !ok {
		return false, fmt.Errorf("batch %s: event %d: a %s cannot come from a provider", b.BatchID, e.Seq, e.Type)
	}
	if cmd, err = f.aside(b, cmd); err != nil {
		return false, err
	}
	s, err := f.Batches.Do(ctx, batch.StreamID(identity.Requestor, b.ActivityID, b.BatchID), cmd, m)
	return s.IsClosed(), err
}

// aside puts a large piece of output beside the log. What a provider says is
// beside its own log is of no use here.
func (f *Follower) aside(b OpenBatch, c batch.Command) (batch.Command, error) {
	out, ok := c.(batch.AddOutput)
	if !ok {
		return c, nil
	}
	out.Blob = nil
	if len(out.Bytes) > inlineOutput {
		sum, n, err := f.Blobs.Put(piece(b.ActivityID, out.Bytes))
		if err != nil {
			return nil, err
		}
		out.Blob, out.Bytes = &batch.Blob{Bytes: n, SHA256: sum}, nil
	}
	return out, nil
}

// retell makes the command that states the same as a provider's fact.
func retell(fact any, by identity.Caller) (batch.Command, bool) {
	switch e := fact.(type) {
	case batch.CommandStarted:
		return batch.StartCommand{At: e.At, By: by, Command: e.Command, Index: e.Index, Replay: e.Replay}, true
	case batch.CommandOutput:
		return batch.AddOutput{
			At: e.At, Blob: e.Blob, By: by, Bytes: e.Bytes, Format: e.Format, Index: e.Index,
			Offset: e.Offset, Stream: e.Stream, Streamed: e.Streamed,
		}, true
	case batch.TransferFinished:
		return batch.FinishTransfer{At: e.At, By: by, Bytes: e.Bytes, From: e.From, To: e.To, Index: e.Index, Retries: e.Retries, SHA3: e.SHA3}, true
	case batch.CommandFinished:
		return batch.FinishCommand{
			At: e.At, By: by, Code: e.Code, Fuel: e.Fuel, Index: e.Index,
			Message: e.Message, Rusage: e.Rusage, Signal: e.Signal,
		}, true
	case batch.Closed:
		return batch.Close{At: e.At, By: by, Message: e.Message, Outcome: e.Outcome}, true
	}
	return nil, false
}
