package agreement_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/es/estest"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	. "github.com/emet-node/emet/domain/market/agreement"
)

const (
	requestor identity.NodeID = "0x1111111111111111111111111111111111111111"
	provider  identity.NodeID = "0x2222222222222222222222222222222222222222"
	stranger  identity.NodeID = "0x3333333333333333333333333333333333333333"
)

var (
	noon  = time.Date(2026, 5, 1, 12, 0, 0, 123456789, time.UTC)
	terms = Terms{
		Created: noon, DemandConstraints: "()", DemandID: "d", DemandProperties: "{}", OfferConstraints: "()", OfferID: "o",
		OfferProperties: `{"x":0.0}`, ProposalID: "p", Provider: provider, Requestor: requestor, ValidTo: noon.Add(time.Hour),
	}
	id = market.PairHash("o", "d", noon)

	client = identity.Caller{Actor: es.ActorREST, Node: requestor, Role: identity.RoleManager}
	agent  = identity.Caller{Actor: es.ActorREST, Node: provider, Role: identity.RoleProvider}
	peerR  = identity.Caller{Actor: es.ActorPeer, Node: requestor}
	peerP  = identity.Caller{Actor: es.ActorPeer, Node: provider}
	peerX  = identity.Caller{Actor: es.ActorPeer, Node: stranger}
	lost   = market.Failure{Code: market.NoAnswer, Text: "lost"}
)

const (
	sideR = identity.Requestor
	sideP = identity.Provider
	empty = `{"message":""}`
)

type story = estest.Story[Command, Event, State]

func tell() story { return estest.For(Rules) }

// The requestor's side, step by step.
func created(t *testing.T) story {
	return tell().After(t, Create{AgreementID: id, By: client, Terms: terms})
}

func confirming(t *testing.T) story {
	return created(t).After(t, Confirm{At: noon, By: client, Session: "s", Signature: "sigR"})
}
func pending(t *testing.T) story { return confirming(t).After(t, FinishConfirmation{}) }
func approving(t *testing.T) story {
	return pending(t).After(t, ReceiveApproval{ApprovedAt: noon, At: noon, By: peerP, Signature: "sigP"})
}

func committing(t *testing.T) story { return approving(t).After(t, RequestCommit{Signature: "sigC"}) }
func approved(t *testing.T) story   { return committing(t).After(t, FinishCommit{}) }

// The provider's side.
func received(t *testing.T) story {
	return tell().After(t, Receive{AgreementID: id, At: noon, By: peerR, Signature: "sigR", Terms: terms})
}

func answering(t *testing.T) story {
	return received(t).After(t, Approve{At: noon, By: agent, Deadline: noon.Add(10 * time.Second), Session: "s", Signature: "sigP"})
}
func answered(t *testing.T) story { return answering(t).After(t, FinishApproval{}) }
func held(t *testing.T) story {
	return answered(t).After(t, ReceiveCommit{At: noon, By: peerR, Signature: "sigC"})
}

func TestWholeDeal(t *testing.T) {
	t.Parallel()
	r, p := approved(t).State(), held(t).State()
	for _, s := range []State{r, p} {
		if s.Phase != PhaseApproved || s.Shown() != "Approved" || s.ProposedSignature != "sigR" || s.ApprovedSignature != "sigP" ||
			s.CommittedSignature != "sigC" || !s.ApprovedAt.Equal(noon) || s.Session != "s" || s.Terms != terms {
			t.Errorf("%+v", s)
		}
	}
	if r.Owner() != requestor || r.Peer() != provider || p.Owner() != provider || p.Peer() != requestor {
		t.Error("parties are mixed up")
	}
	if approving(t).State().Shown() != "Pending" || answering(t).State().Shown() != "Pending" {
		t.Error("Approving is not shown as Pending")
	}
}

func TestIDsAreChecked(t *testing.T) {
	t.Parallel()
	other := terms
	other.Created = noon.Add(time.Nanosecond)
	tell().When(Create{AgreementID: id, By: client, Terms: other}).Refused(t, market.ErrInvalidID)
	out := tell().When(Receive{AgreementID: id, At: noon, By: peerR, Terms: other})
	out.Refused(t, market.ErrInvalidID)
	if want := "Agreement id [" + id + "] is invalid."; out.Err.Error() != want {
		t.Error(out.Err)
	}
	late := terms
	late.ValidTo = noon
	tell().When(Receive{AgreementID: id, At: noon, By: peerR, Terms: late}).Refused(t, market.ErrExpired)
	received(t).When(Receive{AgreementID: id, At: noon, By: peerR, Signature: "sigR", Terms: terms}).Then(t)
	created(t).When(Create{AgreementID: id, By: client, Terms: terms}).Then(t)
	late.ValidTo = noon.Add(time.Minute)
	received(t).When(Receive{AgreementID: id, At: noon, By: peerR, Terms: late}).Refused(t, market.ErrInvalidID)
}

func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	foreign := identity.Caller{Actor: es.ActorREST, Node: stranger, Role: identity.RoleManager}
	wrongRole := identity.Caller{Actor: es.ActorREST, Node: requestor, Role: identity.RoleProvider}
	for _, by := range []identity.Caller{foreign, wrongRole, peerX, peerR, peerP} {
		tell().When(Create{AgreementID: id, By: by, Terms: terms}).Refused(t, identity.ErrForbidden)
		created(t).When(Confirm{At: noon, By: by}).Refused(t, identity.ErrForbidden)
		pending(t).When(Cancel{By: by}).Refused(t, identity.ErrForbidden)
		approved(t).When(Terminate{By: by}).Refused(t, identity.ErrForbidden)
		received(t).When(Approve{At: noon, By: by}).Refused(t, identity.ErrForbidden)
		received(t).When(Reject{By: by}).Refused(t, identity.ErrForbidden)
	}
	for _, by := range []identity.Caller{peerX, peerR, client, agent} {
		pending(t).When(ReceiveApproval{At: noon, By: by}).Refused(t, identity.ErrForbidden)
		pending(t).When(ReceiveRejection{By: by}).Refused(t, identity.ErrForbidden)
		approved(t).When(ReceiveTermination{By: by}).Refused(t, identity.ErrForbidden)
	}
	for _, by := range []identity.Caller{peerX, peerP, client, agent} {
		tell().When(Receive{AgreementID: id, At: noon, By: by, Terms: terms}).Refused(t, identity.ErrForbidden)
		answered(t).When(ReceiveCommit{At: noon, By: by}).Refused(t, identity.ErrForbidden)
		received(t).When(ReceiveCancellation{By: by}).Refused(t, identity.ErrForbidden)
		held(t).When(ReceiveTermination{By: by}).Refused(t, identity.ErrForbidden)
	}
}

func TestTexts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		out  estest.Outcome[Event]
		text string
	}{
		{created(t).When(Terminate{By: client}), "Can't update Agreement state from Proposal to Terminated."},
		{pending(t).When(Terminate{By: client}), "Can't update Agreement state from Pending to Terminated."},
		{approving(t).When(Terminate{By: client}), "Can't update Agreement state from Approving to Terminated."},
		{committing(t).When(Cancel{By: client}), "Can't update Agreement state from Approving to Cancelled."},
		{approved(t).When(Cancel{By: client}), "Can't update Agreement state from Approved to Cancelled."},
		{pending(t).When(Confirm{At: noon, By: client}), "Can't update Agreement state from Pending to Pending."},
		{answering(t).When(Approve{At: noon, By: agent}), "Can't update Agreement state from Approving to Approving."},
		{answering(t).When(Reject{By: agent}), "Can't update Agreement state from Approving to Rejected."},
	} {
		c.out.Refused(t, market.ErrState)
		if c.out.Err.Error() != c.text {
			t.Errorf("%q, want %q", c.out.Err, c.text)
		}
	}
	tell().When(Confirm{At: noon, By: client}).Refused(t, market.ErrNotFound)
	created(t).When(Approve{At: noon, By: client}).Refused(t, market.ErrNotFound)
}

func TestConfirmation(t *testing.T) {
	t.Parallel()
	created(t).When(Confirm{At: terms.ValidTo, By: client}).Refused(t, market.ErrExpired)
	confirming(t).When(Confirm{At: noon, By: client}).Refused(t, market.ErrState)
	failed := confirming(t).After(t, FinishConfirmation{Failure: lost})
	if s := failed.State(); s.Phase != PhaseProposal || s.Failure != lost {
		t.Errorf("%+v", s)
	}
	failed.When(FinishConfirmation{}).Then(t)
	if s := failed.After(t, Confirm{At: noon, By: client}, FinishConfirmation{}).State(); s.Phase != PhasePending {
		t.Errorf("%+v", s)
	}
	// The approval overtakes the reply, or the reply is lost.
	fast := confirming(t).After(t, ReceiveApproval{ApprovedAt: noon, At: noon, By: peerP})
	fast.When(FinishConfirmation{Failure: lost}).Then(t, Confirmed{AgreementID: id, Side: sideR})
	if s := fast.After(t, FinishConfirmation{Failure: lost}).State(); s.Phase != PhaseApproving || s.Confirming {
		t.Errorf("%+v", s)
	}
	// It was cancelled while the proposal was on its way: still one outcome.
	gone := confirming(t).After(t, Cancel{By: client})
	gone.When(FinishConfirmation{}).Then(t, ConfirmationFailed{
		AgreementID: id, Side: sideR, Failure: market.Failure{Code: market.Superseded, State: "Cancelled", Text: "the agreement ended meanwhile"},
	})
	gone.When(FinishConfirmation{Failure: lost}).Then(t, ConfirmationFailed{AgreementID: id, Failure: lost, Side: sideR})
	if s := gone.After(t, FinishConfirmation{}).State(); s.Phase != PhaseCancelled {
		t.Errorf("%+v", s)
	}
}

func TestApprovalAtTheRequestor(t *testing.T) {
	t.Parallel()
	created(t).When(ReceiveApproval{At: noon, By: peerP}).Refused(t, market.ErrState)
	approving(t).When(ReceiveApproval{At: noon, By: peerP}).Then(t)
	approved(t).When(ReceiveApproval{At: noon, By: peerP}).Then(t)
	pending(t).When(ReceiveApproval{At: terms.ValidTo.Add(-30 * time.Millisecond), By: peerP}).Refused(t, market.ErrExpired)
	pending(t).After(t, Cancel{By: client}).When(ReceiveApproval{At: noon, By: peerP}).Refused(t, market.ErrState)
	pending(t).When(RequestCommit{}).Then(t)
	committing(t).When(RequestCommit{}).Then(t)
}

func TestCommit(t *testing.T) {
	t.Parallel()
	invalid := func(state string) market.Failure { return market.Failure{Code: "invalid-state", State: state} }
	committing(t).When(FinishCommit{Failure: invalid("Approved")}).Then(t, Approved{AgreementID: id, Side: sideR})
	committing(t).When(FinishCommit{Failure: invalid("Terminated")}).Then(t, Approved{AgreementID: id, Side: sideR})
	refused := committing(t).After(t, FinishCommit{Failure: invalid("Pending")})
	if s := refused.State(); s.Phase != PhasePending || !s.ApprovedAt.IsZero() || s.CommittedSignature != "" {
		t.Errorf("%+v", s)
	}
	refused.When(FinishCommit{}).Then(t)
	again := refused.After(t, ReceiveApproval{ApprovedAt: noon, At: noon, By: peerP}, RequestCommit{}, FinishCommit{Signature: "late"})
	if s := again.State(); s.Phase != PhaseApproved || s.CommittedSignature != "late" {
		t.Errorf("%+v", s)
	}
	// While its answer is awaited nothing else decides.
	committing(t).When(Cancel{By: client}).Refused(t, market.ErrState)
	committing(t).When(Expire{At: terms.ValidTo}).Then(t)
	committing(t).When(ReceiveTermination{By: peerP}).Refused(t, market.ErrBusy)
	committing(t).When(ReceiveRejection{By: peerP}).Refused(t, market.ErrState)
}

func TestApprovalAtTheProvider(t *testing.T) {
	t.Parallel()
	received(t).When(Approve{At: terms.ValidTo, By: agent}).Refused(t, market.ErrExpired)
	back := answering(t).After(t, FinishApproval{Failure: lost})
	if s := back.State(); s.Phase != PhasePending || s.Failure != lost || !s.ApprovedAt.IsZero() {
		t.Errorf("%+v", s)
	}
	back.When(FinishApproval{}).Then(t)
	back.When(ReceiveCommit{At: noon, By: peerR}).Refused(t, market.ErrState)
	// The commit overtakes the reply to the approval.
	fast := answering(t).After(t, ReceiveCommit{At: noon, By: peerR})
	fast.When(FinishApproval{Failure: lost}).Then(t, ApprovalDelivered{AgreementID: id, Side: sideP})
	if s := fast.After(t, FinishApproval{Failure: lost}).State(); s.Phase != PhaseApproved {
		t.Errorf("%+v", s)
	}
	// The requestor cancels while we approve.
	gone := answering(t).After(t, ReceiveCancellation{By: peerR})
	if f := gone.When(FinishApproval{}).Facts; len(f) != 1 {
		t.Errorf("%v", f)
	}
	if s := gone.After(t, FinishApproval{}).State(); s.Phase != PhaseCancelled {
		t.Errorf("%+v", s)
	}
	gone.When(ReceiveCommit{At: noon, By: peerR}).Refused(t, market.ErrState)
	// A commit said twice, also after the end, is one.
	held(t).When(ReceiveCommit{At: noon, By: peerR}).Then(t)
	held(t).After(t, Terminate{By: agent}).When(ReceiveCommit{At: noon, By: peerR}).Then(t)
}

func TestApprovalTimesOut(t *testing.T) {
	t.Parallel()
	late := TimeoutApproval{At: noon.Add(10 * time.Second)}
	answered(t).When(TimeoutApproval{At: noon.Add(9 * time.Second)}).Then(t)
	answering(t).When(late).Then(t) // the sender keeps the deadline; its outcome is still to come
	held(t).When(late).Then(t)
	back := answered(t).After(t, late)
	if s := back.State(); s.Phase != PhasePending || s.Failure.Code != market.Timeout {
		t.Errorf("%+v", s)
	}
	out := back.When(ReceiveCommit{At: noon, By: peerR})
	out.Refused(t, market.ErrState)
	var r interface{ Error() string }
	if r = market.Refusal(out.Err); !strings.Contains(r.Error(), "invalid-state") {
		t.Error(r)
	}
	if s := back.After(t, Approve{At: noon, By: agent}).State(); s.Phase != PhaseApproving {
		t.Errorf("%+v", s)
	}
}

func TestRejection(t *testing.T) {
	t.Parallel()
	reason := `{"message":"no","golem.provider.code":"X","n":1.0}`
	received(t).When(Reject{By: agent, Reason: reason}).Then(t, Rejected{AgreementID: id, By: sideP, Notify: true, Reason: reason, Side: sideP})
	pending(t).When(ReceiveRejection{By: peerP, Reason: reason}).Then(t, Rejected{AgreementID: id, By: sideP, Reason: reason, Side: sideR})
	pending(t).When(ReceiveRejection{By: peerP}).Then(t, Rejected{AgreementID: id, By: sideP, Reason: empty, Side: sideR})
	received(t).When(Reject{By: agent, Reason: `{"x":1}`}).Refused(t, market.ErrBadText)
	created(t).When(ReceiveRejection{By: peerP}).Refused(t, market.ErrState)
	approved(t).When(ReceiveRejection{By: peerP}).Refused(t, market.ErrState)
}

func TestRejectionAndCancellationAtOnce(t *testing.T) {
	t.Parallel()
	r := pending(t).After(t, Cancel{By: client}, ReceiveRejection{By: peerP}, FinishNotice{Notice: PhaseCancelled})
	p := received(t).After(t, Reject{By: agent}, ReceiveCancellation{By: peerR}, FinishNotice{Notice: PhaseRejected})
	for _, s := range []State{r.State(), p.State()} {
		if s.Phase != PhaseRejected || s.EndedBy != sideP || s.Notice(PhaseCancelled) == NoticeOpen || s.Notice(PhaseRejected) == NoticeOpen {
			t.Errorf("%+v", s)
		}
	}
}

func TestCancellation(t *testing.T) {
	t.Parallel()
	created(t).When(Cancel{By: client}).Then(t, Cancelled{AgreementID: id, By: sideR, Reason: empty, Side: sideR})
	for _, s := range []story{confirming(t), pending(t), approving(t), confirming(t).After(t, FinishConfirmation{Failure: lost})} {
		s.When(Cancel{By: client}).Then(t, Cancelled{AgreementID: id, By: sideR, Notify: true, Reason: empty, Side: sideR})
	}
	held(t).When(ReceiveCancellation{By: peerR}).Refused(t, market.ErrState)
	received(t).After(t, ReceiveCancellation{By: peerR}).When(ReceiveCancellation{By: peerR}).Then(t)
}

func TestTerminationFromBothSidesAtOnce(t *testing.T) {
	t.Parallel()
	r := approved(t).After(t, Terminate{By: client, Reason: `{"message":"Finished"}`})
	r.When(ReceiveTermination{By: peerP}).Then(t)
	r.When(FinishNotice{Failure: market.Failure{Code: "invalid-state", State: "Terminated"}}).
		Then(t, NoticeDelivered{AgreementID: id, Notice: PhaseTerminated, Side: sideR})
	p := held(t).After(t, Terminate{By: agent})
	p.When(ReceiveTermination{By: peerR}).Then(t)
	p.When(FinishNotice{Failure: lost}).Then(t, NoticeAbandoned{AgreementID: id, Failure: lost, Notice: PhaseTerminated, Side: sideP})
	p.After(t, FinishNotice{}).When(FinishNotice{}).Then(t)
	r.When(Terminate{By: client}).Refused(t, market.ErrState)
	if s := r.State(); s.EndedBy != sideR || s.Reason != `{"message":"Finished"}` {
		t.Errorf("%+v", s)
	}
	approved(t).When(ReceiveTermination{By: peerP, Reason: "not json", Signature: "x"}).
		Then(t, Terminated{AgreementID: id, By: sideP, Reason: `{"message":"not json"}`, Side: sideR, Signature: "x"})
}

func TestExpiry(t *testing.T) {
	t.Parallel()
	end := Expire{At: terms.ValidTo}
	for _, s := range []story{created(t), confirming(t), pending(t), approving(t)} {
		s.When(end).Then(t, Expired{AgreementID: id, Side: sideR})
		s.When(Expire{At: noon}).Then(t)
	}
	for _, s := range []story{received(t), answering(t), answered(t)} {
		s.When(end).Then(t, Expired{AgreementID: id, Side: sideP})
	}
	for _, s := range []story{approved(t), held(t), approved(t).After(t, Terminate{By: client}), created(t).After(t, end)} {
		s.When(end).Then(t)
	}
	answered(t).After(t, end).When(ReceiveCommit{At: noon, By: peerR}).Refused(t, market.ErrExpired)
}

func TestIntents(t *testing.T) {
	t.Parallel()
	for _, e := range []es.Intent{ConfirmationRequested{}, CommitRequested{}, ApprovalRequested{}, Rejected{Notify: true}, Cancelled{Notify: true}, Terminated{Notify: true}} {
		if !e.IsIntent() {
			t.Errorf("%T is none", e)
		}
	}
	for _, e := range []es.Intent{Rejected{}, Cancelled{}, Terminated{}} {
		if e.IsIntent() {
			t.Errorf("%T is one", e)
		}
	}
}

// TestOpenIntentsAlwaysGetOneOutcome runs commands at random and holds that
// whatever happened, the outcome of an open intent is exactly one fact and
// closes it, and that what is over stays over.
func TestOpenIntentsAlwaysGetOneOutcome(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		first, us, them := Command(Create{AgreementID: id, By: client, Terms: terms}), client, peerP
		if rapid.Bool().Draw(t, "provider") {
			first, us, them = Receive{AgreementID: id, At: noon, By: peerR, Terms: terms}, agent, peerR
		}
		s := tell().Given(must(t, State{}, first)...)
		for range rapid.IntRange(0, 25).Draw(t, "steps") {
			at := noon.Add(time.Duration(rapid.IntRange(0, 70).Draw(t, "minutes")) * time.Minute)
			f := rapid.SampledFrom([]market.Failure{{}, lost, {Code: "invalid-state", State: "Approved"}}).Draw(t, "failure")
			cmds := []Command{
				Confirm{At: at, By: us},
				FinishConfirmation{Failure: f},
				ReceiveApproval{At: at, By: them},
				RequestCommit{},
				FinishCommit{Failure: f},
				Approve{At: at, By: us, Deadline: at},
				FinishApproval{Failure: f},
				TimeoutApproval{At: at},
				ReceiveCommit{At: at, By: them},
				Reject{By: us},
				ReceiveRejection{By: them},
				Cancel{By: us},
				ReceiveCancellation{By: them},
				Terminate{By: us},
				ReceiveTermination{By: them},
				FinishNotice{Failure: f},
				Expire{At: at},
			}
			before := s.State()
			out := s.When(cmds[rapid.IntRange(0, len(cmds)-1).Draw(t, "command")])
			s = s.Given(out.Facts...)
			if after := s.State(); before.Over() && !after.Over() {
				t.Fatalf("%s came back as %s", before.Phase, after.Phase)
			}
		}
		state := s.State()
		for _, o := range []struct {
			open bool
			cmd  Command
		}{
			{state.Confirming, FinishConfirmation{}},
			{state.Committing, FinishCommit{Failure: lost}},
			{state.ApprovalOpen, FinishApproval{}},
			{state.Notice(PhaseRejected) == NoticeOpen, FinishNotice{Notice: PhaseRejected}},
			{state.Notice(PhaseCancelled) == NoticeOpen, FinishNotice{Notice: PhaseCancelled}},
			{state.Notice(PhaseTerminated) == NoticeOpen, FinishNotice{Notice: PhaseTerminated}},
		} {
			if !o.open {
				continue
			}
			out := s.When(o.cmd)
			if out.Err != nil || len(out.Facts) != 1 {
				t.Fatalf("%T in %s: %v %v", o.cmd, state.Phase, out.Facts, out.Err)
			}
			if again := s.Given(out.Facts...).When(o.cmd); len(again.Facts) != 0 {
				t.Fatalf("%T twice: %v", o.cmd, again.Facts)
			}
		}
	})
}

func must(t *rapid.T, s State, c Command) []Event {
	facts, err := Rules.Decide(s, c)
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

func TestSigningInput(t *testing.T) {
	t.Parallel()
	a, err := SigningInput(StageProposed, id, terms)
	if err != nil {
		t.Fatal(err)
	}
	want := "emet agreement proposed v1\n" + `{"agreementId":"` + id + `","created":"2026-05-01T12:00:00.123456789Z","demand":{"constraints":"()","id":"d","properties":"{}","requestor":"` +
		string(requestor) + `"},"offer":{"constraints":"()","id":"o","properties":"{\"x\":0.0}","provider":"` + string(provider) + `"},"validTo":"2026-05-01T13:00:00.123456789Z"}`
	if string(a) != want {
		t.Errorf("%s\nwant\n%s", a, want)
	}
	b, err := SigningInput(StageCommitted, id, terms)
	if err != nil || string(a) == string(b) {
		t.Error("stages sign the same")
	}
}

func TestFactsAreReadBack(t *testing.T) {
	t.Parallel()
	e := Received{AgreementID: id, Raw: []byte{1}, Side: sideP, Signature: "s", Terms: terms}
	b, err := es.CanonicalJSON(e)
	if err != nil {
		t.Fatal(err)
	}
	var back Received
	if err := json.Unmarshal(b, &back); err != nil || back.Terms != terms {
		t.Errorf("%+v %v", back, err)
	}
}

func TestErrorsAreTyped(t *testing.T) {
	t.Parallel()
	var s *market.StateError
	if err := created(t).When(Terminate{By: client}).Err; !errors.As(err, &s) || s.From != "Proposal" {
		t.Error(err)
	}
}
