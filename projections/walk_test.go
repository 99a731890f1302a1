package projections_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	life "github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/projections"
)

// walk decides commands by chance, and writes and folds what comes of them.
func walk[C, E, S any](w *world, stream string, rules es.Decider[C, E, S], chance *rand.Rand, steps int, commands []C) (state S) {
	for n := range steps {
		c := commands[0]
		if n > 0 {
			c = commands[chance.IntN(len(commands))]
		}
		facts, err := rules.Decide(state, c)
		if err != nil {
			continue
		}
		for _, f := range facts {
			w.say(stream, f)
			state = rules.Evolve(state, f)
		}
	}
	return state
}

// Lists and looks at one agreement say the same, whatever comes in whichever
// order.
func TestListsSayWhatAgreementsAre(t *testing.T) {
	t.Parallel()
	w, chance := newWorld(t), rand.New(rand.NewPCG(1, 2))
	own, late := identity.Caller{Actor: es.ActorSaga}, noon.Add(2*time.Hour)
	failed := market.Failure{Code: "unreachable", Text: "x"}
	want := make(map[string]agreement.State)
	for n := range 600 {
		terms := terms()
		terms.Created = noon.Add(time.Duration(n))
		id := market.PairHash(terms.OfferID, terms.DemandID, terms.Created)
		side, other, first := r, identity.Caller{Actor: es.ActorPeer, Node: bob}, agreement.Command(agreement.Create{AgreementID: id, By: own, Terms: terms})
		if n%2 == 1 {
			side, other.Node = p, alice
			first = agreement.Receive{AgreementID: id, At: noon, By: other, Terms: terms}
		}
		stream := agreement.StreamID(side, id)
		want[stream] = walk(w, "agreement-"+stream, agreement.Rules, chance, 30, []agreement.Command{first,
			agreement.Confirm{At: noon, By: own, Session: "s1"}, agreement.FinishConfirmation{}, agreement.FinishConfirmation{Failure: failed},
			agreement.ReceiveApproval{ApprovedAt: noon, At: noon, By: other}, agreement.RequestCommit{}, agreement.RequestCommit{}, agreement.FinishCommit{},
			agreement.FinishCommit{Failure: failed}, agreement.Approve{At: noon, By: own, Deadline: noon, Session: "s2"}, agreement.FinishApproval{},
			agreement.FinishApproval{Failure: failed}, agreement.TimeoutApproval{At: late}, agreement.ReceiveCommit{At: noon, By: other},
			agreement.Reject{By: own, Reason: `{"message":"no"}`}, agreement.ReceiveRejection{By: other, Reason: `{"message":"no"}`},
			agreement.Cancel{By: own}, agreement.ReceiveCancellation{By: other}, agreement.Terminate{By: own, Reason: `{"message":"bye"}`},
			agreement.ReceiveTermination{By: other}, agreement.FinishNotice{}, agreement.Expire{At: noon}, agreement.Expire{At: late}})
	}
	m := openMarket(t, w, projections.Memory)
	list, err := m.Agreements(t.Context(), projections.AgreementFilter{})
	must(t, err)
	seen := make(map[string]int)
	for _, a := range list {
		s := want[agreement.StreamID(a.Side, a.ID)]
		if s.Over() && s.Phase != agreement.PhaseTerminated {
			s.ApprovedAt = time.Time{} // it was on its way, and is no date of approval
		}
		got := fmt.Sprint(a.State, a.Session, a.Approved.Unix(), a.Terminator, a.Reason)
		if is := fmt.Sprint(s.Shown(), s.Session, s.ApprovedAt.Unix(), s.EndedBy, s.Reason); got != is {
			t.Errorf("%s: listed %s, is %s", a.Side, got, is)
		}
		seen[string(a.Side)+a.State]++
	}
	if len(list) != len(want) || len(seen) < 12 {
		t.Errorf("%d of %d, of the kinds %v", len(list), len(want), seen)
	}
}

// The same of activities.
func TestListsSayHowActivitiesAre(t *testing.T) {
	t.Parallel()
	w, chance := newWorld(t), rand.New(rand.NewPCG(3, 4))
	own := identity.Caller{Actor: es.ActorSaga}
	pair := func(current, next life.Phase) life.Pair { return life.Pair{Current: current, Pending: next} }
	want := make(map[string]life.State)
	for n := range 400 {
		id := fmt.Sprintf("%032x", n)
		side, first := r, life.Command(life.RequestCreation{ActivityID: id, AgreementID: deal, AgreementState: "Approved", By: own, Provider: bob, Requestor: alice})
		if n%2 == 1 {
			side, first = p, life.Create{ActivityID: id, AgreementID: deal, AgreementState: "Approved", By: identity.Caller{Actor: es.ActorPeer, Node: alice}, Provider: bob, Requestor: alice}
		}
		stream := life.StreamID(side, id)
		want[stream] = walk(w, "activity-"+stream, life.Rules, chance, 20, []life.Command{first,
			life.ConfirmCreation{By: own, ProviderID: id}, life.ConfirmCreation{By: own, ProviderID: id}, life.FailCreation{By: own, Code: "x"},
			life.ObserveState{By: own, Pair: pair(life.Initialized, life.Deployed)}, life.ObserveState{By: own, Pair: pair(life.Ready, ""), Reason: "why"},
			life.ObserveState{By: own, Pair: pair(life.PhaseTerminated, "")}, life.RequestSpawn{By: own, Runtime: "x"}, life.ConfirmSpawn{By: own, PID: 1},
			life.ReportState{By: own, Pair: pair(life.Deployed, life.Ready)}, life.ReportState{By: own, Pair: pair(life.Ready, "")},
			life.ReportState{By: own, Pair: pair(life.PhaseUnresponsive, "")}, life.MarkUnresponsive{By: own}, life.MarkUnresponsive{By: own},
			life.MarkRecovered{By: own}, life.MarkRecovered{By: own}, life.RequestDestruction{By: own}, life.ConfirmDestruction{By: own, Reason: "gone"}, life.End{By: own},
		})
	}
	a := openActivity(t, w, projections.Memory)
	list, err := a.Activities(t.Context(), projections.ActivityFilter{})
	must(t, err)
	seen := make(map[string]int)
	for _, x := range list {
		s := want[life.StreamID(x.Side, x.ID)]
		got := fmt.Sprint(x.State, "/", x.Pending, x.Reason, x.Error, !x.Ended.IsZero(), x.Owner, x.AgreementID)
		if is := fmt.Sprint(s.Pair.Current, "/", s.Pair.Pending, s.Reason, s.ErrorMessage, s.Ended, s.Owner(), s.AgreementID); got != is || s.Pair.Current == "" {
			t.Errorf("%s: listed %s, is %s", x.Side, got, is)
		}
		seen[fmt.Sprint(x.Side, x.State)]++
	}
	if len(seen) < 7 {
		t.Errorf("of the kinds %v", seen)
	}
}
