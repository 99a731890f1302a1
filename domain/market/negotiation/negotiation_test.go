package negotiation_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/es/estest"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	. "github.com/emet-node/emet/domain/market/negotiation"
)

const (
	requestor identity.NodeID = "0x1111111111111111111111111111111111111111"
	provider  identity.NodeID = "0x2222222222222222222222222222222222222222"
	stranger  identity.NodeID = "0x3333333333333333333333333333333333333333"
	demandP                   = `{"d":1}`
	offerP                    = `{"o":1.0}`
	demandC                   = "(o>=1)"
	offerC                    = "(d=1)"
)

var (
	offerID  = strings.Repeat("0", 32) + "-" + strings.Repeat("a", 64)
	demandID = strings.Repeat("0", 32) + "-" + strings.Repeat("b", 64)
	noon     = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	end      = noon.Add(time.Hour)

	client = identity.Caller{Actor: es.ActorREST, Node: requestor, Role: identity.RoleRequestor}
	agent  = identity.Caller{Actor: es.ActorREST, Node: provider, Role: identity.RoleProvider}
	saga   = identity.Caller{Actor: es.ActorSaga}
	peerR  = identity.Caller{Actor: es.ActorPeer, Node: requestor}
	peerP  = identity.Caller{Actor: es.ActorPeer, Node: provider}
	peerX  = identity.Caller{Actor: es.ActorPeer, Node: stranger}
	lost   = market.Failure{Code: market.NoAnswer, Text: "lost"}
)

type story = estest.Story[Command, Event, State]

func proposal(n int, properties, constraints string) Proposal {
	at := noon.Add(time.Duration(n))
	return Proposal{
		Constraints: constraints, Created: at, Expires: end, Properties: properties,
		ProposalID: market.PairHash(offerID, demandID, at),
	}
}

func hash(n int) string { return proposal(n, "", "").ProposalID }

// matched is the requestor's thread with the match (0).
func matched(t *testing.T) story {
	return estest.For(Rules).After(t, Open{
		By: client, DemandConstraints: demandC, DemandExpires: end, DemandID: demandID, DemandProperties: demandP,
		Initial: proposal(0, offerP, offerC), NegotiationID: MatchID(demandID, offerID, ""), OfferID: offerID,
		Provider: provider, Requestor: requestor,
	})
}

func counter(n, prev int) Counter {
	p := proposal(n, demandP, demandC)
	return Counter{At: p.Created, By: client, Constraints: p.Constraints, Prev: hash(prev), Properties: p.Properties, ProposalID: p.ProposalID}
}

func theirs(n, prev int) ReceiveCounter {
	return ReceiveCounter{At: noon, By: peerP, Prev: hash(prev), Proposal: proposal(n, offerP, offerC), Raw: []byte("raw")}
}

// countering: 1 answers the match. drafted: the provider answered with 2.
func countering(t *testing.T) story { return matched(t).After(t, counter(1, 0)) }

func countered(t *testing.T) story {
	return countering(t).After(t, FinishCounter{ProposalID: hash(1)})
}
func drafted(t *testing.T) story { return countered(t).After(t, theirs(2, 1)) }

func opening(by identity.Caller) ReceiveOpening {
	return ReceiveOpening{
		At: noon, By: by, DemandExpires: end, DemandID: demandID, Initial: proposal(9, offerP, offerC),
		NegotiationID: ThreadID(by.Node, hash(1)), OfferID: offerID, Proposal: proposal(1, demandP, demandC), Provider: provider, Raw: []byte("raw"),
	}
}

// asked is the provider's thread with its match (9) and the requestor's 1.
func asked(t *testing.T) story { return estest.For(Rules).After(t, opening(peerR)) }

func ours(n, prev int) Counter {
	p := proposal(n, offerP, offerC)
	return Counter{At: p.Created, By: agent, Constraints: p.Constraints, Prev: hash(prev), Properties: p.Properties, ProposalID: p.ProposalID}
}

func TestUsualThread(t *testing.T) {
	t.Parallel()
	s := drafted(t).After(t, Promote{AgreementID: "agr", At: noon, By: client, ProposalID: hash(2)}).State()
	if len(s.Steps) != 3 || s.Agreement != "agr" || s.Subscription() != demandID || s.Owner() != requestor || s.Peer() != provider {
		t.Fatalf("%+v", s)
	}
	match, _ := s.Find(hash(0))
	own, _ := s.Find(hash(1))
	draft, _ := s.Find(hash(2))
	if match.Phase != Initial || match.Prev != "" || match.Counter != hash(1) || s.IssuerID(match) != provider ||
		own.Phase != Draft || own.Sending != Delivered || s.IssuerID(own) != requestor || own.Prev != hash(0) ||
		draft.Phase != Accepted || draft.Agreement != "agr" || draft.Prev != hash(1) {
		t.Errorf("%+v", s.Steps)
	}
	p := asked(t).After(t, RecordDecision{By: saga, Components: []Verdict{{Component: "Price", Outcome: "ready"}}, Outcome: "counter", ProposalID: hash(1)},
		ours(2, 1), FinishCounter{ProposalID: hash(2)}, Promote{AgreementID: "agr", At: noon, By: peerR, ProposalID: hash(2)}).State()
	if p.Agreement != "agr" || p.Subscription() != offerID || p.Owner() != provider || len(p.Decisions) != 1 || p.Requestor != requestor {
		t.Errorf("%+v", p)
	}
}

func TestOpeningTwiceIsOnce(t *testing.T) {
	t.Parallel()
	matched(t).When(Open{By: client, Requestor: requestor}).Then(t)
	asked(t).When(opening(peerR)).Then(t)
	if MatchID("d", "o", "") == MatchID("d", "o", "agr") || len(ThreadID(requestor, "p")) != 32 {
		t.Error("thread ids")
	}
	wrong := opening(peerR)
	wrong.Proposal.ProposalID = hash(3)
	estest.For(Rules).When(wrong).Refused(t, market.ErrInvalidID)
	wrong = opening(peerR)
	wrong.Proposal.Properties = `{"d":2}`
	estest.For(Rules).When(wrong).Refused(t, market.ErrNotMatching)
}

func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	for _, by := range []identity.Caller{peerX, peerR, agent} {
		c := counter(3, 2)
		c.By = by
		drafted(t).When(c).Refused(t, identity.ErrForbidden)
		drafted(t).When(Reject{At: noon, By: by, ProposalID: hash(2)}).Refused(t, identity.ErrForbidden)
		drafted(t).When(Promote{AgreementID: "a", At: noon, By: by, ProposalID: hash(2)}).Refused(t, identity.ErrForbidden)
		drafted(t).When(Close{By: by}).Refused(t, identity.ErrForbidden)
		r := theirs(2, 1)
		r.By = by
		countered(t).When(r).Refused(t, identity.ErrForbidden)
		countered(t).When(ReceiveRejection{By: by, ProposalID: hash(1)}).Refused(t, identity.ErrForbidden)
	}
	// The same message by somebody else opens another thread, not this one.
	if ThreadID(stranger, hash(1)) == ThreadID(requestor, hash(1)) {
		t.Error("a stranger's message is the requestor's thread")
	}
	asked(t).After(t, ours(2, 1)).When(Promote{AgreementID: "a", At: noon, By: peerX, ProposalID: hash(2)}).Refused(t, identity.ErrForbidden)
	asked(t).After(t, ours(2, 1)).When(Promote{AgreementID: "a", At: noon, By: agent, ProposalID: hash(2)}).Refused(t, identity.ErrForbidden)
}

func TestCounterIsRefused(t *testing.T) {
	t.Parallel()
	change := func(f func(*Counter)) Counter { c := counter(3, 2); f(&c); return c }
	for name, c := range map[string]struct {
		cmd  Counter
		kind error
		text string
	}{
		"unknown": {counter(3, 7), market.ErrNotFound, "Proposal [R-" + hash(7) + "] not found (subscription [" + demandID + "])."},
		"own":     {counter(3, 1), market.ErrOwnProposal, "Can't react to own Proposal [R-" + hash(1) + "]."},
		"twice":   {counter(3, 0), market.ErrAlreadyCountered, "Proposal [R-" + hash(0) + "] already has counter proposal. Can't counter for the second time."},
		"expired": {change(func(c *Counter) { c.At = end }), market.ErrExpired, "Subscription [" + demandID + "] expired."},
		"no match": {
			change(func(c *Counter) { c.Properties = `{"e":1}` }), market.ErrNotMatching,
			`Proposal properties [{"e":1}] doesn't match previous Proposal [R-` + hash(2) + `]. Mismatched constraints - Offer: [], Demand: [d]`,
		},
		"no language": {change(func(c *Counter) { c.Constraints = "x" }), market.ErrNotMatching, ""},
		"id":          {change(func(c *Counter) { c.ProposalID = hash(4) }), market.ErrInvalidID, ""},
		"large":       {change(func(c *Counter) { c.Constraints = strings.Repeat("x", market.MaxTextBytes) }), market.ErrBadText, ""},
	} {
		out := drafted(t).When(c.cmd)
		out.Refused(t, c.kind)
		if c.text != "" && out.Err.Error() != c.text {
			t.Errorf("%s: %q, want %q", name, out.Err, c.text)
		}
	}
	drafted(t).After(t, Close{By: client, Why: "unsubscribed"}).When(counter(3, 2)).Refused(t, market.ErrUnsubscribed)
	again := counter(1, 2)
	drafted(t).When(again).Refused(t, market.ErrInvalidID) // an id that a step of the thread has
}

func TestRoundsAreLimited(t *testing.T) {
	t.Parallel()
	s := matched(t)
	for n := 1; n < market.MaxRounds; n++ {
		if n%2 == 1 {
			s = s.After(t, counter(n, n-1), FinishCounter{ProposalID: hash(n)})
		} else {
			s = s.After(t, theirs(n, n-1))
		}
	}
	s.When(theirs(market.MaxRounds, market.MaxRounds-1)).Refused(t, market.ErrTooManyRounds)
}

func TestFailedCounterMayBeTriedAgain(t *testing.T) {
	t.Parallel()
	failed := countering(t).After(t, FinishCounter{Failure: lost, ProposalID: hash(1)})
	failed.When(FinishCounter{ProposalID: hash(1)}).Then(t)
	again := failed.After(t, counter(3, 0), FinishCounter{ProposalID: hash(3)})
	if p, _ := again.State().Find(hash(0)); p.Counter != hash(3) {
		t.Errorf("%+v", p)
	}
	// The one that was given up is void once another took its place.
	again.When(theirs(2, 1)).Refused(t, market.ErrNotFound)
	// But an answer to it shows that it had arrived.
	alive := failed.After(t, theirs(2, 1)).State()
	own, _ := alive.Find(hash(1))
	match, _ := alive.Find(hash(0))
	if own.Sending != Delivered || match.Counter != hash(1) {
		t.Errorf("%+v", alive.Steps)
	}
}

// TestAFailedDraftThatArrivedBecomesAnAgreement holds that a requestor who
// names a draft of ours has it, whatever became of the delivery's reply.
func TestAFailedDraftThatArrivedBecomesAnAgreement(t *testing.T) {
	t.Parallel()
	failed := asked(t).After(t, ours(2, 1), FinishCounter{Failure: lost, ProposalID: hash(2)})
	agreed := Promote{AgreementID: "agr", At: noon, By: peerR, ProposalID: hash(2)}
	s := failed.After(t, agreed).State()
	draft, _ := s.Find(hash(2))
	asked, _ := s.Find(hash(1))
	if s.Agreement != "agr" || draft.Phase != Accepted || draft.Sending != Delivered || asked.Counter != hash(2) {
		t.Errorf("%+v", s.Steps)
	}
	// One that another took the place of is void.
	failed.After(t, ours(3, 1)).When(agreed).Refused(t, market.ErrNotFound)
}

func TestAnswerOvertakesTheReply(t *testing.T) {
	t.Parallel()
	fast := countering(t).After(t, theirs(2, 1))
	fast.When(FinishCounter{Failure: lost, ProposalID: hash(1)}).Then(t, CounterDelivered{NegotiationID: MatchID(demandID, offerID, ""), ProposalID: hash(1)})
	countering(t).After(t, ReceiveRejection{By: peerP, ProposalID: hash(1)}).
		When(FinishCounter{Failure: lost, ProposalID: hash(1)}).Then(t, CounterDelivered{NegotiationID: MatchID(demandID, offerID, ""), ProposalID: hash(1)})
}

func TestReceivedCounter(t *testing.T) {
	t.Parallel()
	drafted(t).When(theirs(2, 1)).Then(t) // said twice
	other := theirs(2, 1)
	other.Proposal.Properties = `{"o":2.0}`
	drafted(t).When(other).Refused(t, market.ErrAlreadyCountered)
	drafted(t).When(theirs(4, 1)).Refused(t, market.ErrAlreadyCountered)
	countered(t).When(theirs(4, 0)).Refused(t, market.ErrOwnProposal)
	countered(t).When(theirs(4, 7)).Refused(t, market.ErrNotFound)
	forged := theirs(4, 1)
	forged.Proposal.ProposalID = hash(5)
	countered(t).When(forged).Refused(t, market.ErrInvalidID)
	long := theirs(4, 1)
	long.Proposal.Expires = end.Add(1000 * time.Hour)
	s := countered(t).After(t, long).State()
	if p, _ := s.Find(hash(4)); !p.Expires.Equal(end) {
		t.Errorf("a peer prolonged the thread to %v", p.Expires)
	}
}

func TestRejection(t *testing.T) {
	t.Parallel()
	neg := MatchID(demandID, offerID, "")
	drafted(t).When(Reject{At: noon, By: client, ProposalID: hash(2), Reason: `{"message":"no","n":1.0}`}).
		Then(t, RejectionRequested{NegotiationID: neg, ProposalID: hash(2), Reason: `{"message":"no","n":1.0}`})
	matched(t).When(Reject{At: noon, By: client, ProposalID: hash(0)}).
		Then(t, RejectionRequested{Initial: true, NegotiationID: neg, ProposalID: hash(0), Reason: `{"message":""}`})
	drafted(t).When(Reject{At: noon, By: client, ProposalID: hash(1)}).Refused(t, market.ErrOwnProposal)
	drafted(t).When(Reject{At: noon, By: client, ProposalID: hash(7)}).Refused(t, market.ErrNotFound)
	drafted(t).When(Reject{At: end, By: client, ProposalID: hash(2)}).Refused(t, market.ErrExpired)
	drafted(t).When(Reject{At: noon, By: client, ProposalID: hash(0)}).Refused(t, market.ErrAlreadyCountered)
	drafted(t).After(t, Promote{AgreementID: "a", At: noon, By: client, ProposalID: hash(2)}).
		When(Reject{At: noon, By: client, ProposalID: hash(2)}).Refused(t, market.ErrState)
	rejected := drafted(t).After(t, Reject{At: noon, By: client, ProposalID: hash(2)})
	rejected.When(Reject{At: noon, By: client, ProposalID: hash(2)}).Then(t)
	rejected.When(Promote{AgreementID: "a", At: noon, By: client, ProposalID: hash(2)}).Refused(t, market.ErrRejected)
	rejected.When(FinishRejection{ProposalID: hash(2)}).Then(t, RejectionDelivered{NegotiationID: neg, ProposalID: hash(2)})
	rejected.When(FinishRejection{Failure: lost, ProposalID: hash(2)}).Then(t, RejectionAbandoned{Failure: lost, NegotiationID: neg, ProposalID: hash(2)})
	rejected.After(t, FinishRejection{ProposalID: hash(2)}).When(FinishRejection{ProposalID: hash(2)}).Then(t)
	// Negotiation starts again: who rejected may counter after all.
	again := rejected.After(t, counter(3, 2)).State()
	if p, _ := again.Find(hash(2)); p.Phase != Draft || p.Counter != hash(3) || p.Untold != 1 {
		t.Errorf("%+v", p)
	}
}

func TestReceivedRejection(t *testing.T) {
	t.Parallel()
	neg := MatchID(demandID, offerID, "")
	countered(t).When(ReceiveRejection{By: peerP, ProposalID: hash(1)}).
		Then(t, RejectionReceived{NegotiationID: neg, ProposalID: hash(1), Reason: `{"message":""}`})
	rejected := countered(t).After(t, ReceiveRejection{By: peerP, ProposalID: hash(1), Reason: `{"message":"busy"}`})
	rejected.When(ReceiveRejection{By: peerP, ProposalID: hash(1)}).Then(t)
	drafted(t).When(ReceiveRejection{By: peerP, ProposalID: hash(2)}).Refused(t, market.ErrOwnProposal)
	// The provider found a slot and counters after all.
	if s := rejected.After(t, theirs(2, 1)).State(); len(s.Steps) != 3 || s.Steps[1].Phase != Draft {
		t.Errorf("%+v", s.Steps)
	}
}

func TestPromote(t *testing.T) {
	t.Parallel()
	do := func(n int, agreement string) Promote {
		return Promote{AgreementID: agreement, At: noon, By: client, ProposalID: hash(n)}
	}
	drafted(t).When(do(0, "a")).Refused(t, market.ErrNoNegotiations)
	drafted(t).When(do(1, "a")).Refused(t, market.ErrOwnProposal)
	drafted(t).When(do(7, "a")).Refused(t, market.ErrNotFound)
	drafted(t).After(t, counter(3, 2)).When(do(2, "a")).Refused(t, market.ErrAlreadyCountered)
	done := drafted(t).After(t, do(2, "a"))
	done.When(do(2, "a")).Then(t)
	done.When(do(2, "b")).Refused(t, market.ErrAlreadyPromoted)
	asked(t).When(Promote{AgreementID: "a", At: noon, By: peerR, ProposalID: hash(1)}).Refused(t, market.ErrOwnProposal)
}

func TestUnknownThread(t *testing.T) {
	t.Parallel()
	estest.For(Rules).When(counter(1, 0)).Refused(t, market.ErrNotFound)
}

// TestOpenIntentsAlwaysGetOneOutcome holds that whatever happened, the outcome
// of an open counter or rejection is exactly one fact.
func TestOpenIntentsAlwaysGetOneOutcome(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		s := matched(t)
		open := map[string]int{}
		for n := range rapid.IntRange(1, 20).Draw(r, "steps") {
			prev := rapid.IntRange(0, n).Draw(r, "prev")
			f := rapid.SampledFrom([]market.Failure{{}, lost}).Draw(r, "failure")
			cmd := rapid.SampledFrom([]Command{
				counter(n+1, prev), theirs(n+1, prev),
				FinishCounter{Failure: f, ProposalID: hash(prev)},
				Reject{At: noon, By: client, ProposalID: hash(prev)},
				FinishRejection{Failure: f, ProposalID: hash(prev)},
				ReceiveRejection{By: peerP, ProposalID: hash(prev)},
				Close{By: saga, Why: "x"},
			}).Draw(r, "command")
			out := s.When(cmd)
			for _, e := range out.Facts {
				switch e := e.(type) {
				case CounterRequested:
					open["c"+e.Proposal.ProposalID]++
				case CounterDelivered:
					open["c"+e.ProposalID]--
				case CounterFailed:
					open["c"+e.ProposalID]--
				case RejectionRequested:
					open["r"+e.ProposalID]++
				case RejectionDelivered:
					open["r"+e.ProposalID]--
				case RejectionAbandoned:
					open["r"+e.ProposalID]--
				}
			}
			s = s.Given(out.Facts...)
		}
		for what, n := range open {
			for range n {
				var cmd Command = FinishCounter{Failure: lost, ProposalID: what[1:]}
				if what[0] == 'r' {
					cmd = FinishRejection{Failure: lost, ProposalID: what[1:]}
				}
				out := s.When(cmd)
				if out.Err != nil || len(out.Facts) != 1 {
					r.Fatalf("%T: %v %v", cmd, out.Facts, out.Err)
				}
				s = s.Given(out.Facts...)
			}
			if n < 0 {
				r.Fatal(fmt.Sprint(what, " answered more often than asked"))
			}
		}
	})
}
