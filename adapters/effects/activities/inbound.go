package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	dactivity "github.com/emet-node/emet/domain/activity"
	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/activity/script"
	"github.com/emet-node/emet/domain/activity/unit"
	"github.com/emet-node/emet/domain/activity/usage"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/peer"
)

// LocalFiles are the files that clients of this node publish.
type LocalFiles interface {
	Metadata(ctx context.Context, owner identity.NodeID, fileID string) (size int64, err error)
	Chunk(ctx context.Context, owner identity.NodeID, fileID string, offset, size int64) ([]byte, error)
	Upload(ctx context.Context, owner identity.NodeID, fileID string, offset int64, content []byte) error
	UploadFinished(ctx context.Context, owner identity.NodeID, fileID, sha3Hex string) error
}

// Inbound answers what requestors ask of our exe-units, and what providers ask
// of our clients' files.
type Inbound struct {
	*Units
	LocalFiles LocalFiles
	// AliveOf lists the living activities of an agreement, seen in the whole log.
	AliveOf func(ctx context.Context, agreementID string) ([]string, error)

	once    sync.Once
	scripts effects.Pace // bytes, per activity
	samples effects.Pace // per activity
}

const longestWait = 5 * time.Minute

// How much a requestor's scripts may make this node write down. A command
// leaves some facts behind, however short it is.
const (
	scriptRate, scriptBurst = 32 << 10, 8 << 20 // bytes, of one activity
	commandWeight           = 1 << 10
	// A sample is written down by the exe-unit, for good.
	samplesPerSecond, sampleBurst = 1, 10
)

func (in *Inbound) limit() {
	in.once.Do(func() {
		in.scripts.Rate, in.scripts.Burst = scriptRate, scriptBurst
		in.samples.Rate, in.samples.Burst = samplesPerSecond, sampleBurst
	})
}

// paced refuses scripts that come faster than any work needs them.
func (in *Inbound) paced(activityID, script string, commands int) error {
	in.limit()
	if wait := in.scripts.Take(activityID, float64(len(script)+commandWeight*(1+commands))); wait > 0 {
		return effects.Busy(wait, "too many scripts of this activity")
	}
	return nil
}

// Answers is the table of what is answered.
func (in *Inbound) Answers() effects.Inbound {
	return effects.Inbound{
		Calls: map[string]effects.Call{
			peer.CreateActivity{}.Kind():     effects.Typed(in.create),
			peer.DestroyActivity{}.Kind():    effects.Typed(in.destroy),
			peer.GetActivityState{}.Kind():   effects.Typed(in.state),
			peer.GetActivityUsage{}.Kind():   effects.Typed(in.usage),
			peer.Exec{}.Kind():               effects.Typed(in.exec),
			peer.FileMetadata{}.Kind():       effects.Typed(in.fileMetadata),
			peer.FileChunk{}.Kind():          effects.Typed(in.fileChunk),
			peer.FileUpload{}.Kind():         effects.Typed(in.fileUpload),
			peer.FileUploadFinished{}.Kind(): effects.Typed(in.fileUploadFinished),
		},
		Streams: map[string]effects.Stream{peer.FollowBatch{}.Kind(): in.follow},
	}
}

// create makes the activity and answers when its exe-unit is initialised.
func (in *Inbound) create(ctx context.Context, from peer.Caller, m peer.CreateActivity) (peer.Message, error) {
	t, err := in.Terms(ctx, m.AgreementID)
	if errors.Is(err, market.ErrNotFound) || err == nil && (t.Requestor != from.Node || t.Provider != from.To) { // strangers do not learn which agreements there are
		return nil, peer.Refuse(peer.NotFound, "agreement %s is not known here", m.AgreementID)
	}
	if err != nil {
		return nil, err
	}
	id := activity.StreamID(identity.Provider, m.RequestID)
	if err := in.make(ctx, from, t, m, id); err != nil {
		return nil, refusal(err)
	}
	wait, cancel := context.WithTimeout(ctx, min(time.Duration(m.TimeoutMS)*time.Millisecond, longestWait))
	defer cancel()
	s, err := in.Activities.Await(wait, id, activity.State.Settled)
	switch {
	case s.Settled() && (s.Ended || s.Failure != ""):
		return nil, peer.Refuse(peer.Failed, "Activity %s was abruptly terminated. Reason: %s, message: %s", m.RequestID, or(s.Reason, "<unspecified>"), or(s.Failure+s.ErrorMessage, "<none>"))
	case err != nil && ctx.Err() == nil:
		return nil, peer.Refuse(peer.Busy, "the exe-unit of activity %s is not ready yet", m.RequestID)
	case err != nil:
		return nil, err
	}
	return peer.ActivityCreated{ActivityID: m.RequestID}, nil
}

// make records the activity. Two requests at once are looked at one after the
// other, so that the second sees what became of the first.
func (in *Inbound) make(ctx context.Context, from peer.Caller, t Terms, m peer.CreateActivity, id string) error {
	in.creating.Lock()
	defer in.creating.Unlock()
	if err := in.roomFor(ctx, m.RequestID); err != nil {
		return err
	}
	alive, err := in.aliveOther(ctx, m)
	if err != nil {
		return err
	}
	_, err = in.Activities.Do(ctx, id, activity.Create{
		ActivityID: m.RequestID, AgreementID: m.AgreementID, AgreementState: t.State, Alive: alive, By: effects.FromPeer(from),
		Provider: t.Provider, Requestor: t.Requestor, RequestorPubKey: m.RequestorPubKey,
	}, effects.Following(ctx, in.Log.Store, effects.PeerMeta(from, m.AgreementID, "create/"+m.RequestID),
		agreement.StreamOf(identity.Provider, m.AgreementID)))
	return err
}

// roomFor refuses one more activity than the machine is meant to carry.
func (in *Inbound) roomFor(ctx context.Context, activityID string) error {
	alive, err := in.Made(ctx)
	if err != nil || len(alive) < in.maxAlive() || slices.Contains(alive, activityID) {
		return err
	}
	in.refused.Add(1)
	return effects.Busy(time.Minute, "too many activities run here")
}

// aliveOther names a living activity of the agreement other than the wanted
// one: there is one at a time.
func (in *Inbound) aliveOther(ctx context.Context, m peer.CreateActivity) (string, error) {
	alive, err := in.AliveOf(ctx, m.AgreementID)
	if err != nil {
		return "", err
	}
	for _, id := range alive {
		if id != m.RequestID {
			return id, nil
		}
	}
	return "", nil
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func (in *Inbound) destroy(ctx context.Context, from peer.Caller, m peer.DestroyActivity) (peer.Message, error) {
	s, err := in.mine(ctx, from, m.ActivityID)
	if err != nil {
		return nil, err
	}
	if s.Ended {
		return peer.Ack{}, nil
	}
	id := activity.StreamID(identity.Provider, m.ActivityID)
	_, err = in.Activities.Do(ctx, id, activity.RequestDestruction{
		By: effects.FromPeer(from), Cause: activity.ByRequestor, TimeoutMS: m.TimeoutMS,
	}, effects.Following(ctx, in.Log.Store, effects.PeerMeta(from, s.AgreementID, "destroy/"+m.ActivityID),
		es.StreamOf(activity.Category, id)))
	if err != nil {
		return nil, refusal(err)
	}
	wait, cancel := context.WithTimeout(ctx, min(time.Duration(m.TimeoutMS)*time.Millisecond, longestWait))
	defer cancel()
	if s, err = in.Activities.Await(wait, id, activity.State.IsEnded); s.Ended {
		return peer.Ack{}, nil
	}
	if ctx.Err() == nil {
		return nil, peer.Refuse(peer.Busy, "activity %s is still ending", m.ActivityID)
	}
	return nil, err
}

// mine loads an activity for its requestor, who asks the one that provides it;
// nobody else learns anything.
func (in *Inbound) mine(ctx context.Context, from peer.Caller, activityID string) (activity.State, error) {
	s, _, err := in.Activities.Load(ctx, activity.StreamID(identity.Provider, activityID))
	if err != nil {
		return s, err
	}
	if s.ID == "" || s.Requestor != from.Node || s.Provider != from.To {
		return s, peer.Refuse(peer.NotFound, "activity %s is not known here", activityID)
	}
	return s, nil
}

func (in *Inbound) state(ctx context.Context, from peer.Caller, m peer.GetActivityState) (peer.Message, error) {
	s, err := in.mine(ctx, from, m.ActivityID)
	if err != nil {
		return nil, err
	}
	return peer.ActivityState{State: string(s.Pair.Current), Pending: string(s.Pair.Pending), Reason: s.Reason, ErrorMessage: s.ErrorMessage}, nil
}

func (in *Inbound) usage(ctx context.Context, from peer.Caller, m peer.GetActivityUsage) (peer.Message, error) {
	if _, err := in.mine(ctx, from, m.ActivityID); err != nil {
		return nil, err
	}
	in.limit()
	if conn, err := in.conn(ctx, m.ActivityID); err == nil && in.samples.Take(m.ActivityID, 1) == 0 {
		if e, err := conn.Sample(ctx); err == nil {
			if b, ok := sampled(e); ok {
				return peer.ActivityUsage{AtUnix: e.At.Unix(), Vector: b.Vector}, nil
			}
		}
	}
	u, _, err := in.Usage.Load(ctx, usage.StreamID(identity.Provider, m.ActivityID))
	if err != nil {
		return nil, err
	}
	answer := peer.ActivityUsage{Vector: u.Vector}
	if !u.At.IsZero() {
		answer.AtUnix = u.At.Unix()
	}
	return answer, nil
}

// exec takes a script: recorded first, handed to the exe-unit second, so that
// one which was taken is never lost.
func (in *Inbound) exec(ctx context.Context, from peer.Caller, m peer.Exec) (peer.Message, error) {
	s, err := in.mine(ctx, from, m.ActivityID)
	if err != nil {
		return nil, err
	}
	id := batch.StreamID(identity.Provider, m.ActivityID, m.BatchID)
	b, _, err := in.Batches.Load(ctx, id)
	if err != nil {
		return nil, err
	}
	// It was taken, and only the answer got lost: to say so needs no exe-unit.
	if b.Begun() && b.Script == m.Script {
		return peer.Ack{}, nil
	}
	if s.Ended {
		return nil, peer.Refuse(peer.InvalidState, "%v: activity %s is terminated", ErrNoUnit, m.ActivityID)
	}
	steps, err := script.Parse(m.Script)
	if err != nil {
		return nil, peer.Refuse(peer.BadRequest, "%v", err)
	}
	if err := in.paced(m.ActivityID, m.Script, len(steps)); err != nil {
		return nil, err
	}
	if _, err := in.conn(ctx, m.ActivityID); err != nil {
		return nil, noUnit(err)
	}
	b, err = in.Batches.Do(ctx, id, batch.Accept{
		ActivityID: m.ActivityID, AgreementID: s.AgreementID, BatchID: m.BatchID, By: effects.FromPeer(from),
		Provider: s.Provider, Requestor: s.Requestor, Script: m.Script,
	}, effects.Following(ctx, in.Log.Store, effects.PeerMeta(from, s.AgreementID, "exec/"+m.BatchID),
		es.StreamOf(activity.Category, activity.StreamID(identity.Provider, m.ActivityID))))
	if err != nil {
		return nil, refusal(err)
	}
	if b.Script != m.Script { // the id was said before, the script was not
		return nil, refusal(&batch.ExistsError{BatchID: m.BatchID})
	}
	if b.Begun() { // it ran or runs, and the answer got lost
		return peer.Ack{}, nil
	}
	if err := in.Exec(ctx, m.ActivityID, m.BatchID, m.Script); err != nil {
		if errors.Is(err, unit.ErrLost) || errors.Is(err, errNotYet) || ctx.Err() != nil {
			return nil, peer.Refuse(peer.Busy, "the exe-unit of activity %s did not answer", m.ActivityID)
		}
		_, _ = in.Batches.Do(ctx, id, batch.Close{At: time.Now().UTC(), By: effects.Own(), Message: err.Error(), Outcome: batch.Aborted},
			es.Meta{Key: m.BatchID + "/refused", Correlation: s.AgreementID, Actor: es.ActorEffect, Grade: es.GradeSelf})
		return nil, peer.Refuse(peer.Failed, "%v", err)
	}
	return peer.Ack{}, nil
}

// noUnit tells the peer that there is no exe-unit, or none yet.
func noUnit(err error) error {
	if errors.Is(err, errNotYet) {
		return peer.Refuse(peer.Busy, "%v", err)
	}
	return peer.Refuse(peer.Failed, "%v", err)
}

// follow streams the facts of a batch from one on, until it is closed. Both
// sides then hold the same facts.
func (in *Inbound) follow(ctx context.Context, from peer.Caller, msg peer.Message) iter.Seq2[peer.Message, error] {
	return func(yield func(peer.Message, error) bool) {
		var m peer.FollowBatch
		switch v := msg.(type) {
		case peer.FollowBatch:
			m = v
		case *peer.FollowBatch:
			m = *v
		}
		if _, err := in.mine(ctx, from, m.ActivityID); err != nil {
			yield(nil, err)
			return
		}
		if err := in.tellBatchFacts(ctx, m, yield); err != nil {
			yield(nil, err)
		}
	}
}

func (in *Inbound) tellBatchFacts(ctx context.Context, m peer.FollowBatch, yield func(peer.Message, error) bool) error {
	stream := es.StreamOf(batch.Category, batch.StreamID(identity.Provider, m.ActivityID, m.BatchID))
	if info, err := in.Log.Store.Info(ctx, stream); err != nil {
		return err
	} else if info.Head == es.NoStream {
		return peer.Refuse(peer.NotFound, "batch %s is not known here", m.BatchID)
	}
	for rev := es.Revision(min(max(m.After, -1), math.MaxInt64-2) + 2); ; { // revision 0 is the acceptance, event 0 is revision 1
		head, err := in.Log.Store.Head(ctx)
		if err != nil {
			return err
		}
		s, last, err := in.Batches.Load(ctx, stream.Key())
		if err != nil {
			return err
		}
		if s.IsClosed() && rev > last {
			return nil // it was all told before
		}
		for r, err := range in.Log.ReadStream(ctx, stream, rev) {
			if err != nil {
				return err
			}
			e, err := in.wire(r)
			if err != nil {
				return err
			}
			if !yield(e, nil) {
				return nil
			}
			if _, closed := r.Data.(batch.Closed); closed {
				return nil
			}
			rev = r.Revision + 1
		}
		if err := in.Log.Wait(ctx, head, es.Filter{Streams: []es.Stream{stream}}); err != nil {
			return err
		}
	}
}

// wire makes a batch fact self-contained: content beside the log goes with it.
func (in *Inbound) wire(r es.Recorded) (peer.BatchEvent, error) {
	e := peer.BatchEvent{Fact: json.RawMessage(r.Event.Data), Seq: int64(r.Revision) - 1, Type: r.Type}
	out, ok := r.Data.(batch.CommandOutput)
	if !ok || out.Blob == nil {
		return e, nil
	}
	f, err := in.Blobs.Open(out.Blob.SHA256)
	if err != nil {
		return e, fmt.Errorf("output of batch %s: %w", out.BatchID, err)
	}
	defer f.Close() //nolint:errcheck // only read
	if out.Bytes, err = io.ReadAll(f); err != nil {
		return e, err
	}
	out.Blob = nil
	e.Fact, err = es.CanonicalJSON(out)
	return e, err
}

func (in *Inbound) fileMetadata(ctx context.Context, from peer.Caller, m peer.FileMetadata) (peer.Message, error) {
	size, err := in.LocalFiles.Metadata(ctx, from.To, m.FileID)
	return peer.FileMetadataIs{Size: size}, refusal(err)
}

func (in *Inbound) fileChunk(ctx context.Context, from peer.Caller, m peer.FileChunk) (peer.Message, error) {
	b, err := in.LocalFiles.Chunk(ctx, from.To, m.FileID, m.Offset, m.Size)
	return peer.FileChunkIs{Content: b, Offset: m.Offset}, refusal(err)
}

func (in *Inbound) fileUpload(ctx context.Context, from peer.Caller, m peer.FileUpload) (peer.Message, error) {
	return peer.Ack{}, refusal(in.LocalFiles.Upload(ctx, from.To, m.FileID, m.Offset, m.Content))
}

func (in *Inbound) fileUploadFinished(ctx context.Context, from peer.Caller, m peer.FileUploadFinished) (peer.Message, error) {
	return peer.Ack{}, refusal(in.LocalFiles.UploadFinished(ctx, from.To, m.FileID, m.Hash))
}

// refusal turns a no of the rules into one for the peer. Whatever else went
// wrong is for the node's log.
func refusal(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := effects.RefusalOf(err); ok {
		return err
	}
	var (
		notApproved *activity.NotApprovedError
		occupied    *activity.OccupiedError
		exists      *batch.ExistsError
	)
	switch {
	case errors.Is(err, identity.ErrForbidden):
		return peer.Refuse(peer.Forbidden, "%v", err)
	case errors.As(err, &notApproved):
		return peer.Refuse(peer.InvalidState, "%v", err)
	case errors.As(err, &occupied), errors.As(err, &exists), errors.Is(err, activity.ErrTaken), errors.Is(err, script.ErrScript),
		errors.Is(err, dactivity.ErrID), errors.Is(err, batch.ErrScript), errors.Is(err, es.ErrTooLarge):
		return peer.Refuse(peer.BadRequest, "%v", err)
	}
	return err
}
