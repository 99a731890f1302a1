package activity_test

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	ids "github.com/emet-node/emet/domain/activity"
	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/es/estest"
	"github.com/emet-node/emet/domain/identity"
)

const (
	id        = "0123456789abcdef0123456789abcdef"
	foreignID = "ffffffffffffffffffffffffffffffff"
	deal      = "agreement-of-alice-and-bob"
	alice     = identity.NodeID("0xa11ce00000000000000000000000000000000000")
	bob       = identity.NodeID("0xb0b0000000000000000000000000000000000000")
	mallory   = identity.NodeID("0x3a11049000000000000000000000000000000000")
)

var (
	self    = identity.Caller{Actor: es.ActorEffect}
	unit    = identity.Caller{Actor: es.ActorExeUnit}
	client  = identity.Caller{Actor: es.ActorREST, Node: alice, Role: identity.RoleRequestor}
	peer    = identity.Caller{Actor: es.ActorPeer, Node: alice, Grade: es.GradeSession}
	foe     = identity.Caller{Actor: es.ActorPeer, Node: mallory, Grade: es.GradeSession}
	another = identity.Caller{Actor: es.ActorREST, Node: mallory, Role: identity.RoleManager}

	want = activity.RequestCreation{
		ActivityID: id, AgreementID: deal, AgreementState: "Approved", By: client, Provider: bob, Requestor: alice, TimeoutMS: 5000,
	}
	wanted = activity.CreationRequested{ActivityID: id, AgreementID: deal, Provider: bob, Requestor: alice, TimeoutMS: 5000}
	atHome = activity.Created{ActivityID: id, AgreementID: deal, Provider: bob, Requestor: alice, Side: identity.Requestor}

	create = activity.Create{
		ActivityID: id, AgreementID: deal, AgreementState: "Approved", By: peer, Provider: bob, Requestor: alice,
	}
	atProvider = activity.Created{ActivityID: id, AgreementID: deal, Provider: bob, Requestor: alice, Side: identity.Provider}
	spawning   = activity.SpawnRequested{ActivityID: id, AgreementID: deal, Runtime: "wasmtime"}
	spawned    = activity.Spawned{ActivityID: id, PID: 7}
	ready      = activity.StateChanged{ActivityID: id, State: activity.Ready}
	destroying = activity.DestructionRequested{ActivityID: id, By: activity.ByRequestor}
	gone       = activity.Terminated{ActivityID: id, Reason: "destroyed"}
)

func story() estest.Story[activity.Command, activity.Event, activity.State] {
	return estest.For(activity.Rules)
}

func TestAnActivityIsAskedForOnce(t *testing.T) {
	t.Parallel()
	story().When(want).Then(t, wanted)
	story().Given(wanted).When(want).Then(t)
	story().Given(wanted, atHome).When(want).Then(t)
}

func TestOnlyTheRequestorAsks(t *testing.T) {
	t.Parallel()
	c := want
	c.By = another
	story().When(c).Refused(t, identity.ErrForbidden)
	c.By = identity.Caller{Actor: es.ActorREST, Node: alice, Role: identity.RoleProvider}
	story().When(c).Refused(t, identity.ErrForbidden)
	p := create
	p.By = foe
	story().When(p).Refused(t, identity.ErrForbidden)
}

func TestTheAgreementMustBeApproved(t *testing.T) {
	t.Parallel()
	p := create
	p.AgreementState = "Terminated"
	out := story().When(p)
	var no *activity.NotApprovedError
	if !errors.As(out.Err, &no) || no.State != "Terminated" {
		t.Fatalf("got %v", out.Err)
	}
	if got, want := no.Error(), "Agreement "+deal+" is not Approved. Current state: Terminated"; got != want {
		t.Fatalf("text %q, want %q", got, want)
	}
}

func TestASecondActivityAtOnceIsRefused(t *testing.T) {
	t.Parallel()
	p := create
	p.Alive = foreignID
	var no *activity.OccupiedError
	if out := story().When(p); !errors.As(out.Err, &no) || no.ActivityID != foreignID {
		t.Fatalf("got %v", out.Err)
	}
}

func TestTheProviderAdoptsTheRequestedID(t *testing.T) {
	t.Parallel()
	story().When(create).Then(t, atProvider)
	story().Given(atProvider).When(create).Then(t)
	p := create
	p.AgreementID = "another"
	story().Given(atProvider).When(p).Refused(t, activity.ErrTaken)
}

func TestAForeignProvidersIDIsAnAlias(t *testing.T) {
	t.Parallel()
	aliased := atHome
	aliased.Alias = foreignID
	s := story().Given(wanted)
	s.When(activity.ConfirmCreation{By: self, ProviderID: foreignID}).Then(t, aliased)
	s.When(activity.ConfirmCreation{By: self, ProviderID: id}).Then(t, atHome)
	if got := s.Given(aliased).State().PeerID(); got != foreignID {
		t.Fatalf("the provider knows it as %s", got)
	}
}

func TestCreatedMeansInitialisedForTheClient(t *testing.T) {
	t.Parallel()
	if p := story().Given(wanted, atHome).State().Pair; p.Current != activity.Initialized {
		t.Fatalf("state is %v: clients deploy only when the next question says Initialized", p)
	}
	if s := story().Given(atProvider).State(); s.Pair.Current != activity.New || s.Settled() {
		t.Fatalf("at the provider it is %v before the exe-unit reports", s.Pair)
	}
}

func TestAnAnswerAfterTheEndStillClosesTheQuestion(t *testing.T) {
	t.Parallel()
	s := story().Given(wanted, destroying, gone)
	s.When(activity.ConfirmCreation{By: self, ProviderID: id}).
		Then(t, activity.CreationFailed{ActivityID: id, Code: "abandoned", Message: "the activity was given up before the provider answered"})
	story().Given(atProvider, spawning, destroying, gone).When(activity.ConfirmSpawn{By: self, PID: 3}).
		Then(t, activity.SpawnFailed{ActivityID: id, Message: "the activity ended while its exe-unit was being started"})
}

func TestAnExeUnitIsStartedOnce(t *testing.T) {
	t.Parallel()
	spawn := activity.RequestSpawn{By: self, Runtime: "wasmtime"}
	s := story().Given(atProvider)
	s.When(spawn).Then(t, spawning)
	s.Given(spawning).When(spawn).Then(t)
	s.Given(spawning, spawned).When(spawn).Then(t)
	s.Given(spawning).When(activity.ConfirmSpawn{By: self, PID: 7}).Then(t, spawned)
	s.Given(spawning).When(activity.FailSpawn{By: self, Message: "no runtime"}).Then(t, activity.SpawnFailed{ActivityID: id, Message: "no runtime"})
	s.Given(gone).When(spawn).Then(t)
}

func TestStatesAreRecordedWhenTheyChange(t *testing.T) {
	t.Parallel()
	s := story().Given(atProvider, spawning, spawned)
	report := activity.ReportState{By: unit, Pair: activity.Pair{Current: activity.Ready}}
	s.When(report).Then(t, ready)
	s.Given(ready).When(report).Then(t)
	report.Pair.Current = "Dancing"
	s.When(report).Refused(t, activity.ErrState)
	report.Pair = activity.Pair{Pending: activity.Ready}
	s.When(report).Refused(t, activity.ErrState)

	r := story().Given(wanted, atHome)
	seen := activity.ObserveState{By: self, Pair: activity.Pair{Current: activity.Initialized, Pending: activity.Deployed}}
	r.When(seen).Then(t, activity.StateObserved{ActivityID: id, State: activity.Initialized, Pending: activity.Deployed})
	seen.By = another
	r.When(seen).Refused(t, identity.ErrForbidden)
	seen.By, seen.Pair = self, activity.Pair{Current: activity.PhaseTerminated}
	r.When(seen).Then(t, activity.Terminated{ActivityID: id})
}

func TestSilenceAndRecovery(t *testing.T) {
	t.Parallel()
	mark := activity.MarkUnresponsive{By: self, SilentMS: 6000}
	lost := activity.Unresponsive{ActivityID: id, SilentMS: 6000}
	s := story().Given(atProvider, ready)
	s.When(mark).Then(t, lost)
	s.Given(lost).When(mark).Then(t)
	back := s.Given(lost, activity.Recovered{ActivityID: id})
	if p := back.State().Pair.Current; p != activity.Ready {
		t.Fatalf("after recovery it is %s, was Ready", p)
	}
	back.When(activity.MarkRecovered{By: self}).Then(t)
	said := activity.StateChanged{ActivityID: id, State: activity.PhaseUnresponsive} // by an agent, which is not known to have been silent
	s.Given(said).When(activity.MarkRecovered{By: self}).Then(t)
	s.Given(lost, ready, said).When(activity.MarkRecovered{By: self}).Then(t)
}

func TestDestroy(t *testing.T) {
	t.Parallel()
	s := story().Given(atProvider, spawning, spawned, ready)
	destroy := activity.RequestDestruction{By: peer, Cause: activity.ByRequestor}
	s.When(destroy).Then(t, destroying)
	s.Given(destroying).When(destroy).Then(t)
	s.Given(destroying, gone).When(destroy).Then(t)
	destroy.By = foe
	s.When(destroy).Refused(t, identity.ErrForbidden)
	story().When(destroy).Refused(t, activity.ErrUnknown)
	destroy.By = peer
	story().Given(wanted, atHome).When(destroy).Refused(t, identity.ErrForbidden)
	s.Given(destroying).When(activity.ConfirmDestruction{By: self, Reason: "destroyed"}).Then(t, gone)
}

func TestADeathIsToldByTheOpenDestruction(t *testing.T) {
	t.Parallel()
	s := story().Given(atProvider, spawning, spawned)
	died := activity.End{By: unit, Reason: "exe-unit lost", Exit: &activity.Exit{Code: -1, Signal: "SIGKILL"}, Rusage: &ids.Rusage{CPUMicros: 5}}
	s.When(died).Then(t, activity.Terminated{
		ActivityID: id, Reason: "exe-unit lost", Exit: &activity.Exit{Code: -1, Signal: "SIGKILL"}, Rusage: &ids.Rusage{CPUMicros: 5},
	})
	s.Given(destroying).When(died).Then(t)
	s.Given(gone).When(died).Then(t)
}

func TestCommandsOfTheOtherSideAreRefused(t *testing.T) {
	t.Parallel()
	story().Given(wanted, atHome).When(activity.RequestSpawn{By: self}).Refused(t, activity.ErrSide)
	story().Given(atProvider).When(activity.ObserveState{By: self}).Refused(t, activity.ErrSide)
}

func TestStreamNamesSayTheSide(t *testing.T) {
	t.Parallel()
	if got := es.StreamOf(activity.Category, activity.StreamID(identity.Provider, id)); got != "activity-P-"+id {
		t.Fatal(got)
	}
	for _, bad := range []string{"", id[:31], id[:31] + "G", id[:31] + "A", id + "0"} {
		if ids.CheckID(bad) == nil {
			t.Errorf("%q passes as an id", bad)
		}
	}
}

// The laws: nothing happens after the end but answers to open intents, every
// open intent can be answered with exactly one fact, and the end stays.
func TestLawsOfALife(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		first := rapid.SampledFrom([]activity.Command{want, create}).Draw(t, "side")
		var s activity.State
		step := func(c activity.Command) int {
			before := s
			facts, err := activity.Rules.Decide(s, c)
			if err != nil {
				return -1
			}
			for _, f := range facts {
				s = activity.Rules.Evolve(s, f)
			}
			if before.Ended && len(facts) > 0 && !(before.CreationOpen || before.SpawnOpen) {
				t.Fatalf("%T after the end decided %v", c, facts)
			}
			if before.Ended && (!s.Ended || s.Pair != before.Pair) {
				t.Fatalf("%T undid the end", c)
			}
			return len(facts)
		}
		step(first)
		cmds := []activity.Command{
			want, create,
			activity.ConfirmCreation{By: self, ProviderID: id},
			activity.FailCreation{By: self, Code: "busy"},
			activity.ObserveState{By: self, Pair: activity.Pair{Current: activity.Ready}},
			activity.ObserveState{By: self, Pair: activity.Pair{Current: activity.PhaseTerminated}},
			activity.RequestSpawn{By: self},
			activity.ConfirmSpawn{By: self},
			activity.FailSpawn{By: self, Message: "no"},
			activity.ReportState{By: unit, Pair: activity.Pair{Current: activity.Deployed}},
			activity.MarkUnresponsive{By: self},
			activity.MarkRecovered{By: self},
			activity.ExceedLimit{By: unit},
			activity.MapVolume{By: unit},
			activity.AttachNetwork{By: unit},
			activity.Reattach{By: self},
			activity.RequestDestruction{By: self},
			activity.ConfirmDestruction{By: self},
			activity.End{By: unit},
		}
		for range rapid.IntRange(0, 30).Draw(t, "n") {
			step(rapid.SampledFrom(cmds).Draw(t, "command"))
		}
		if s.CreationOpen && step(activity.ConfirmCreation{By: self, ProviderID: id}) != 1 {
			t.Fatal("an open creation was not answered with one fact")
		}
		if s.SpawnOpen && step(activity.ConfirmSpawn{By: self}) != 1 {
			t.Fatal("an open spawn was not answered with one fact")
		}
		if s.DestructionOpen && step(activity.ConfirmDestruction{By: self}) != 1 {
			t.Fatal("an open destruction was not answered with one fact")
		}
	})
}

// A daemon that dies again and again before anything happens says once that it
// found the exe-unit.
func TestBeingFoundAgainIsOneFactUntilSomethingHappens(t *testing.T) {
	t.Parallel()
	var s activity.State
	facts := func(c activity.Command) int {
		t.Helper()
		got, err := activity.Rules.Decide(s, c)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range got {
			s = activity.Rules.Evolve(s, f)
		}
		return len(got)
	}
	facts(create)
	facts(activity.RequestSpawn{By: self})
	facts(activity.ConfirmSpawn{By: self, PID: 7})
	found := activity.Reattach{By: self, PID: 7}
	if a, b := facts(found), facts(found); a != 1 || b != 0 {
		t.Errorf("%d and %d facts", a, b)
	}
	facts(activity.ReportState{By: unit, Pair: activity.Pair{Current: activity.Deployed}})
	if n := facts(found); n != 1 {
		t.Errorf("%d facts after news", n)
	}
}

// An exe-unit may be found before it is said to be started. Its process is
// known all the same: who forgets it takes the activity for one that never ran.
func TestWhoIsFoundEarlyKeepsItsProcess(t *testing.T) {
	t.Parallel()
	var s activity.State
	for _, f := range []activity.Event{
		atProvider, activity.SpawnRequested{ActivityID: id}, activity.Spawned{ActivityID: id, PID: 7}, activity.Reattached{ActivityID: id},
	} {
		s = activity.Rules.Evolve(s, f)
	}
	if s.PID != 7 {
		t.Errorf("its process is %d, not 7", s.PID)
	}
}
