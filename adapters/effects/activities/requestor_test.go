package activities_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/adapters/effects/activities"
	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/peer"
	"github.com/emet-node/emet/eventschemas"
)

// saying is a peer that answers everything with an error, or does not answer.
type saying struct {
	err   error
	ack   bool
	calls int
}

func (s *saying) Call(ctx context.Context, _, _ identity.NodeID, _ peer.Message) (peer.Message, error) {
	s.calls++
	switch {
	case s.ack:
		return peer.Ack{}, nil
	case s.err == nil:
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return nil, s.err
}

func (s *saying) Stream(context.Context, identity.NodeID, identity.NodeID, peer.Message) iter.Seq2[peer.Message, error] {
	return nil
}

// Only a no is a no: a provider in trouble is asked again while there is time.
func TestAScriptIsRefusedOnlyByANo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		code string // of the refusal that is recorded, "" = tried again
	}{
		"a no":                  {peer.Refuse(peer.InvalidState, "the activity is terminated"), string(peer.InvalidState)},
		"busy":                  {peer.Refuse(peer.Busy, "later"), ""},
		"it failed":             {peer.Refuse(peer.Failed, "the exe-unit is gone"), string(peer.Failed)},
		"its disk":              {peer.Trouble("no space left on device"), ""},
		"an old node's trouble": {peer.Refuse(peer.Internal, "no space left on device"), ""},
		"unreachable":           {peer.ErrUnreachable, ""},
		"lost on the way":       {errors.New("connection reset"), ""},
	} {
		out, err := buyer(t, &saying{err: c.err}).Exec(t.Context(), script(5000, time.Now(), effects.Attempt{N: 1}))
		no, refused := out.Order.Command.(batch.RefuseExec)
		if refused != (c.code != "") || no.Code != c.code {
			t.Errorf("%s: recorded %+v, %v", name, out.Order.Command, err)
		}
		if again := new(effects.RetryAfter); c.code == "" && !errors.As(err, &again) {
			t.Errorf("%s: not tried again: %v", name, err)
		}
	}
}

func buyer(t *testing.T, peers effects.Peers) *activities.Requestor {
	st := memory.New()
	t.Cleanup(func() { _ = st.Close() })
	log := &es.Log{Store: st, Codec: eventschemas.New()}
	return &activities.Requestor{Activities: es.NewAggregate(log, activity.Category, activity.Rules), Peers: peers}
}

// script makes a an attempt at a script that was asked for at some time.
func script(timeoutMS int64, at time.Time, a effects.Attempt) effects.Attempt {
	a.Intent = es.Recorded{Event: es.Event{Recorded: at}, Data: batch.ExecRequested{ActivityID: "a", BatchID: "b", Script: "[]", TimeoutMS: timeoutMS}}
	return a
}

// A script is tried for as long as its client said, and never sent after that.
func TestAScriptIsNotSentWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		timeout time.Duration
		err     error
		end     time.Duration // when it is refused
		tries   int
	}{
		{time.Second, nil, time.Second, 1},                                                     // one answer is waited for all the time
		{10 * time.Second, nil, 10 * time.Second, 4},                                           // or four
		{time.Second, peer.ErrUnreachable, 700 * time.Millisecond, 4},                          // no more than the last pause too early
		{0, peer.ErrUnreachable, 200 * time.Millisecond, 2},                                    // a quick try is two
		{0, nil, 500 * time.Millisecond, 1},                                                    //
		{5 * time.Minute, peer.Trouble("its disk"), 5*time.Minute - 300*time.Millisecond, 180}, // patience grows
	} {
		synctest.Test(t, func(t *testing.T) {
			says := &saying{err: c.err}
			b, begun := buyer(t, says), time.Now()
			for n := 1; ; n++ {
				out, err := b.Exec(t.Context(), script(c.timeout.Milliseconds(), begun, effects.Attempt{N: n}))
				var again *effects.RetryAfter
				if errors.As(err, &again) {
					time.Sleep(again.In)
					continue
				}
				no, refused := out.Order.Command.(batch.RefuseExec)
				took := time.Since(begun)
				if err != nil || !refused || no.Code != activities.Unreachable || took < c.end || took > c.end+100*time.Millisecond || says.calls < c.tries || says.calls > c.tries+2 {
					t.Errorf("%v, %v: %+v, %v after %v and %d tries", c.timeout, c.err, out.Order.Command, err, took, says.calls)
				}
				return
			}
		})
	}
}

// Who comes late does not send at all, unless a node that died may have done.
func TestOnlyWhoGoesOnAsksLate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		n       int
		resumed bool
		calls   int
	}{{1, false, 0}, {2, false, 0}, {1, true, 1}, {2, true, 0}} {
		says := &saying{err: peer.ErrUnreachable}
		out, err := buyer(t, says).Exec(t.Context(), script(5000, time.Now().Add(-time.Minute), effects.Attempt{N: c.n, Resumed: c.resumed}))
		if no, ok := out.Order.Command.(batch.RefuseExec); err != nil || !ok || no.Code != activities.Unreachable || says.calls != c.calls {
			t.Errorf("%+v: %+v, %v after %d calls", c, out.Order.Command, err, says.calls)
		}
	}
	says := &saying{ack: true}
	out, err := buyer(t, says).Exec(t.Context(), script(5000, time.Now().Add(-time.Minute), effects.Attempt{N: 1, Resumed: true}))
	if _, ok := out.Order.Command.(batch.ConfirmExec); err != nil || !ok {
		t.Errorf("a script that was taken before: %+v, %v", out.Order.Command, err)
	}
}

// A provider that cannot now is asked again while there is time; one whose
// exe-unit did not start is not.
func TestACreationIsRefusedOnlyByANo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		age  time.Duration
		code string // of the refusal that is recorded, "" = tried again
	}{
		"a no":                  {peer.Refuse(peer.InvalidState, "the agreement is terminated"), 0, string(peer.InvalidState)},
		"busy":                  {peer.Refuse(peer.Busy, "later"), 0, ""},
		"it failed":             {peer.Refuse(peer.Failed, "the exe-unit did not start"), 0, string(peer.Failed)},
		"its disk":              {peer.Trouble("no space left on device"), 0, ""},
		"an old node's failure": {peer.Refuse(peer.Internal, "Activity was abruptly terminated"), 0, string(peer.Internal)},
		"unreachable":           {peer.ErrUnreachable, 0, ""},
		"its disk for too long": {peer.Trouble("no space left on device"), time.Minute, activities.Unreachable},
	} {
		r := &activities.Requestor{Peers: &saying{err: c.err}}
		intent := es.Recorded{Event: es.Event{Recorded: time.Now().Add(-c.age)}, Data: activity.CreationRequested{ActivityID: "a", TimeoutMS: 30_000}}
		out, err := r.Create(t.Context(), effects.Attempt{Intent: intent, N: 2})
		no, refused := out.Order.Command.(activity.FailCreation)
		if refused != (c.code != "") || no.Code != c.code {
			t.Errorf("%s: recorded %+v, %v", name, out.Order.Command, err)
		}
		if again := new(effects.RetryAfter); c.code == "" && !errors.As(err, &again) {
			t.Errorf("%s: not tried again: %v", name, err)
		}
	}
}

// A provider that cannot read its log does not say that there is no agreement.
func TestOnlyWhatIsNotThereIsNotFound(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		code peer.Code // "" = told as the provider's own trouble
	}{{market.AgreementNotFound("a"), peer.NotFound}, {es.ErrDegraded, ""}} {
		in := &activities.Inbound{Units: &activities.Units{Terms: func(context.Context, string) (activities.Terms, error) { return activities.Terms{}, c.err }}}
		_, err := in.Answers().HandleCall(t.Context(), peer.Caller{}, peer.CreateActivity{AgreementID: "a", RequestID: "r"})
		no, refused := effects.RefusalOf(err)
		if refused != (c.code != "") || refused && no.Code != c.code {
			t.Errorf("%v is told as %v", c.err, err)
		}
	}
}

// Who asks for an activity under somebody else's agreement hears the same as
// who asks under one that there is not: he cannot try out which there are.
func TestAStrangerDoesNotLearnWhichAgreementsThereAre(t *testing.T) {
	t.Parallel()
	ask := func(terms activities.Terms, err error) *peer.Refusal {
		in := &activities.Inbound{Units: &activities.Units{Terms: func(context.Context, string) (activities.Terms, error) { return terms, err }}}
		_, err = in.Answers().HandleCall(t.Context(), peer.Caller{Node: "0xstranger"}, peer.CreateActivity{AgreementID: "a", RequestID: "r"})
		no, refused := effects.RefusalOf(err)
		if !refused {
			t.Fatalf("not refused: %v", err)
		}
		return no
	}
	foreign, none := ask(activities.Terms{Requestor: "0xalice"}, nil), ask(activities.Terms{}, market.AgreementNotFound("a"))
	if !reflect.DeepEqual(foreign, none) || none.Code != peer.NotFound {
		t.Errorf("told %+v, where there is none %+v", foreign, none)
	}
}

// answering is a peer that answers everything alike.
type answering struct {
	saying
	m peer.Message
}

func (a *answering) Call(context.Context, identity.NodeID, identity.NodeID, peer.Message) (peer.Message, error) {
	return a.m, nil
}

const rentedID = "0123456789abcdef0123456789abcdef"

// asking is a requestor of an activity whose provider answers with m.
func asking(t *testing.T, m peer.Message) (*activities.Requestor, *es.Log) {
	t.Helper()
	st := memory.New()
	t.Cleanup(func() { _ = st.Close() })
	log := &es.Log{Store: st, Codec: eventschemas.New()}
	r := &activities.Requestor{Activities: es.NewAggregate(log, activity.Category, activity.Rules), Peers: &answering{m: m}}
	id := activity.StreamID(identity.Requestor, rentedID)
	for i, c := range []activity.Command{
		activity.RequestCreation{ActivityID: rentedID, AgreementID: "a", AgreementState: "Approved", By: effects.Own(), Provider: "0xb", Requestor: "0xa"},
		activity.ConfirmCreation{By: effects.Own(), ProviderID: rentedID},
	} {
		if _, err := r.Activities.Do(t.Context(), id, c, es.Meta{Key: fmt.Sprint(i), Actor: es.ActorEffect}); err != nil {
			t.Fatal(err)
		}
	}
	return r, log
}

// A provider's words about a state are kept as far as they may be of use.
func TestAProviderDoesNotFillTheLogWithItsState(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 200<<10)
	r, log := asking(t, peer.ActivityState{State: "Ready", Reason: long, ErrorMessage: long})
	if err := r.Refresh(t.Context(), rentedID); err != nil {
		t.Fatal(err)
	}
	for e, err := range log.ReadAll(t.Context(), 0, es.Filter{Types: []string{"activity.state_observed.v1"}}) {
		if err != nil || len(e.Event.Data)+len(e.Meta) > 8<<10 {
			t.Errorf("%d bytes are kept (%v)", len(e.Event.Data)+len(e.Meta), err)
		}
	}
	if s, _, _ := r.Activities.Load(t.Context(), activity.StreamID(identity.Requestor, rentedID)); s.Pair.Current != activity.Ready || s.Reason == "" {
		t.Errorf("%+v", s.Pair)
	}
}

// An id is one, and counters are numbers, before anybody relies on it.
func TestAProvidersAnswersAreChecked(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"", "x", strings.Repeat("a", 100_000), "../../../etc/passwd0000000000000"} {
		r, _ := asking(t, peer.ActivityCreated{ActivityID: id})
		intent := es.Recorded{Event: es.Event{Recorded: time.Now()}, Data: activity.CreationRequested{ActivityID: rentedID, TimeoutMS: 5000}}
		out, err := r.Create(t.Context(), effects.Attempt{Intent: intent, N: 1})
		if _, failed := out.Order.Command.(activity.FailCreation); err != nil || !failed {
			t.Errorf("id %.40q: %T, %v", id, out.Order.Command, err)
		}
	}
	for vector, good := range map[string]bool{"": true, "[]": true, "[1,2.5,0]": true, "null": false, "{}": false, `["1"]`: false, "[1": false, `[1],"x":[2]`: false} {
		r, _ := asking(t, peer.ActivityUsage{Vector: vector})
		if _, err := r.Usage(t.Context(), rentedID); (err == nil) != good {
			t.Errorf("vector %s: %v", vector, err)
		}
	}
}
