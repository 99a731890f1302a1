package activities

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	dactivity "github.com/emet-node/emet/domain/activity"
	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

const (
	callTime     = 5 * time.Second        // one try at a request that should be answered at once
	createTime   = 10 * time.Second       // one try at a request for which an exe-unit is started
	execTime     = 3 * time.Second        // one try at an exec; more than a provider waits for its exe-unit
	execLeast    = 500 * time.Millisecond // that an exec is tried for, also if its client would not wait
	lastPatience = 60 * time.Second       // a provider that does not confirm an end by then is given up on
	retrySoon    = 300 * time.Millisecond
	retryThen    = 2 * time.Second // instead, when soon is over
	soon         = 10 * time.Second
)

// Unreachable is the refusal code of a peer that could not be asked in time.
const Unreachable = "unreachable"

// Requestor carries out the intents of the requestor's side.
type Requestor struct {
	Activities *es.Aggregate[activity.Command, activity.Event, activity.State]
	Batches    *es.Aggregate[batch.Command, batch.Event, batch.State]
	Peers      effects.Peers
}

// Create asks the provider for an activity. The request carries the
// activity's id, so that asking again is the same request.
func (r *Requestor) Create(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
	e := a.Intent.Data.(activity.CreationRequested)
	order := func(c activity.Command) effects.Outcome {
		return effects.Outcome{Order: es.Order{Category: activity.Category, ID: activity.StreamID(identity.Requestor, e.ActivityID), Command: c}, Peer: string(e.Provider)}
	}
	patience := time.Duration(e.TimeoutMS) * time.Millisecond
	left := time.Until(a.Intent.Recorded.Add(patience))
	if left <= 0 && a.N > 1 {
		r.giveUp(e)
		return order(activity.FailCreation{By: effects.Own(), Code: Unreachable, Message: "the provider did not answer in time"}), nil
	}
	// An answer can get lost: the provider is asked again while there is time,
	// and says each time when it needs longer.
	try := min(max(left/2, time.Second), createTime)
	ctx, cancel := context.WithTimeout(ctx, try+time.Second)
	defer cancel()
	got, err := effects.Answer[peer.ActivityCreated](ctx, r.Peers, e.Requestor, e.Provider, peer.CreateActivity{
		AgreementID: e.AgreementID, RequestID: e.ActivityID, RequestorPubKey: e.RequestorPubKey, TimeoutMS: try.Milliseconds(),
	})
	if err == nil && dactivity.CheckID(got.ActivityID) != nil {
		return order(activity.FailCreation{By: effects.Own(), Code: string(peer.BadRequest), Message: "the provider answered with an activity id that is none"}), nil
	}
	if err == nil {
		return order(activity.ConfirmCreation{By: effects.Own(), ProviderID: got.ActivityID}), nil
	}
	if no, ok := effects.RefusalOf(err); ok && !no.Passing() {
		return order(activity.FailCreation{By: effects.Own(), Code: string(no.Code), Message: no.Text}), nil
	}
	return effects.Outcome{}, &effects.RetryAfter{In: retrySoon, Err: err}
}

// giveUp tells the provider, if it can be told, that an activity which it may
// have created is not wanted any more. The end of the agreement would do the
// same later.
func (r *Requestor) giveUp(e activity.CreationRequested) {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), callTime)
		defer cancel()
		_, _ = r.Peers.Call(ctx, e.Requestor, e.Provider, peer.DestroyActivity{ActivityID: e.ActivityID, TimeoutMS: callTime.Milliseconds()})
	}()
}

// Destroy asks the provider to end an activity.
func (r *Requestor) Destroy(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
	e := a.Intent.Data.(activity.DestructionRequested)
	id := a.Intent.Stream.Key()
	s, _, err := r.Activities.Load(ctx, id)
	if err != nil {
		return effects.Outcome{}, err
	}
	done := func(reason, message string) effects.Outcome {
		return effects.Outcome{Peer: string(s.Provider), Order: es.Order{Category: activity.Category, ID: id, Command: activity.ConfirmDestruction{
			By: effects.Own(), Reason: reason, ErrorMessage: message,
		}}}
	}
	if s.Ended || !s.Exists {
		return done(e.Reason, ""), nil
	}
	patience := max(time.Duration(e.TimeoutMS)*time.Millisecond, callTime)
	call, cancel := context.WithTimeout(ctx, patience+time.Second)
	defer cancel()
	_, err = r.Peers.Call(call, s.Requestor, s.Provider, peer.DestroyActivity{ActivityID: s.PeerID(), TimeoutMS: patience.Milliseconds()})
	no, refused := effects.RefusalOf(err)
	switch {
	case err == nil:
		return done(e.Reason, ""), nil
	case refused && (no.Code == peer.NotFound || no.Code == peer.InvalidState):
		return done("the provider does not know the activity any more", no.Text), nil
	case time.Since(a.Intent.Recorded) > max(patience, lastPatience):
		return done("the provider did not confirm the end", err.Error()), nil
	}
	return effects.Outcome{}, &effects.RetryAfter{In: time.Second, Err: err}
}

// Exec hands a script to the provider's exe-unit, within the time that its
// client gave. After that nothing is sent any more, but for one case: who goes
// on for a node that died does not know what that sent, and asks once again.
func (r *Requestor) Exec(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
	e := a.Intent.Data.(batch.ExecRequested)
	order := func(c batch.Command) effects.Outcome {
		return effects.Outcome{Peer: string(e.Provider), Order: es.Order{Category: batch.Category, ID: batch.StreamID(identity.Requestor, e.ActivityID, e.BatchID), Command: c}}
	}
	s, _, err := r.Activities.Load(ctx, activity.StreamID(identity.Requestor, e.ActivityID))
	if err != nil {
		return effects.Outcome{}, err
	}
	if s.Ended {
		return order(batch.RefuseExec{By: effects.Own(), Code: "abandoned", Message: ErrNoUnit.Error() + ": the activity ended before the script was delivered"}), nil
	}
	patience := max(time.Duration(e.TimeoutMS)*time.Millisecond, execLeast)
	end := a.Intent.Recorded.Add(patience)
	late := func(why string) effects.Outcome {
		return order(batch.RefuseExec{By: effects.Own(), Code: Unreachable, Message: fmt.Sprintf("the provider did not take the script within %v%s", patience, why)})
	}
	try := execTime
	if left := time.Until(end); left > 0 {
		try = min(try, left)
	} else if a.N > 1 || !a.Resumed {
		return late(""), nil
	}
	call, cancel := context.WithTimeout(ctx, try)
	defer cancel()
	_, err = r.Peers.Call(call, e.Requestor, e.Provider, peer.Exec{ActivityID: s.PeerID(), BatchID: e.BatchID, Script: e.Script})
	if err == nil {
		return order(batch.ConfirmExec{By: effects.Own()}), nil
	}
	if no, ok := effects.RefusalOf(err); ok && !no.MayPass() {
		return order(batch.RefuseExec{By: effects.Own(), Code: string(no.Code), Message: no.Text}), nil
	}
	left := time.Until(end)
	if left <= retrySoon {
		return late(": " + err.Error()), nil
	}
	pause := retrySoon
	if patience-left > soon {
		pause = retryThen
	}
	return effects.Outcome{}, &effects.RetryAfter{In: min(pause, left-retrySoon), Err: err}
}

// Refresh asks the provider how a living activity is and records what changed.
func (r *Requestor) Refresh(ctx context.Context, activityID string) error {
	id := activity.StreamID(identity.Requestor, activityID)
	s, rev, err := r.Activities.Load(ctx, id)
	if err != nil || s.Ended || !s.Exists {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	got, err := effects.Answer[peer.ActivityState](ctx, r.Peers, s.Requestor, s.Provider, peer.GetActivityState{ActivityID: s.PeerID()})
	if err != nil {
		return fmt.Errorf("state of activity %s: %w", activityID, err)
	}
	got.Reason, got.ErrorMessage = said(got.Reason), said(got.ErrorMessage)
	pair := activity.Pair{Current: activity.Phase(got.State), Pending: activity.Phase(got.Pending)}
	if pair == s.Pair && got.Reason == s.Reason && got.ErrorMessage == s.ErrorMessage {
		return nil
	}
	_, err = r.Activities.Do(ctx, id, activity.ObserveState{
		By: effects.Own(), Pair: pair, Reason: got.Reason, ErrorMessage: got.ErrorMessage,
	}, es.Meta{
		Key: fmt.Sprintf("observe/%d/%s/%s/%s", rev, pair.Current, pair.Pending, got.Reason), Correlation: s.AgreementID,
		Actor: es.ActorPeer, Identity: string(s.Requestor), Peer: string(s.Provider), Grade: es.GradeSession,
	})
	return err
}

// maxSaid is how much of a provider's words about a state is kept: they cost our
// disk, each time that they change.
const maxSaid = 1 << 10

func said(s string) string { return strings.ToValidUTF8(s[:min(len(s), maxSaid)], "") }

// errUsage says that a provider's counters are none.
var errUsage = errors.New("the provider's usage is not a list of numbers")

// Usage asks the provider for the counters of a living activity.
func (r *Requestor) Usage(ctx context.Context, activityID string) (peer.ActivityUsage, error) {
	s, _, err := r.Activities.Load(ctx, activity.StreamID(identity.Requestor, activityID))
	if err != nil {
		return peer.ActivityUsage{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	got, err := effects.Answer[peer.ActivityUsage](ctx, r.Peers, s.Requestor, s.Provider, peer.GetActivityUsage{ActivityID: s.PeerID()})
	if err != nil || got.Vector == "" {
		return got, err
	}
	var vector []float64
	if json.Unmarshal([]byte(got.Vector), &vector) != nil || vector == nil || len(got.Vector) > maxVector {
		return peer.ActivityUsage{}, errUsage
	}
	return got, nil
}

const maxVector = 64 << 10 // bytes
