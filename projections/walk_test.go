package projections_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

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
