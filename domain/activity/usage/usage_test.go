package usage_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/emet-node/emet/domain/activity/usage"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/es/estest"
	"github.com/emet-node/emet/domain/identity"
)

const id = "0123456789abcdef0123456789abcdef"

var (
	noon  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	unit  = identity.Caller{Actor: es.ActorExeUnit}
	names = []string{"golem.usage.duration_sec", "golem.usage.cpu_sec"}
)

func sample(at time.Time, vector string) usage.Sample {
	return usage.Sample{ActivityID: id, At: at, By: unit, Names: names, Source: usage.FromCgroup, Vector: vector}
}

func sampled(at time.Time, vector string) usage.Sampled {
	return usage.Sampled{ActivityID: id, At: at, Names: names, Source: usage.FromCgroup, Vector: vector}
}

func TestReadingsGoForward(t *testing.T) {
	t.Parallel()
	s := estest.For(usage.Rules)
	s.When(sample(noon, "[1.0,0.5]")).Then(t, sampled(noon, "[1.0,0.5]"))
	s = s.Given(sampled(noon, "[1.0,0.5]"))
	s.When(sample(noon, "[1.0,0.5]")).Then(t)
	s.When(sample(noon.Add(-time.Second), "[0,0]")).Then(t)
	s.When(sample(noon.Add(time.Second), "[2,1e-3]")).Then(t, sampled(noon.Add(time.Second), "[2,1e-3]"))
}

func TestTheTextOfAVectorIsKept(t *testing.T) {
	t.Parallel()
	s := estest.For(usage.Rules).After(t, sample(noon, "[0.0,1e3]")).State()
	if s.Vector != "[0.0,1e3]" {
		t.Fatalf("vector became %s", s.Vector)
	}
}

func TestVectorsThatDoNotFit(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"", "null,", "{}", "[1]", "[1,2,3]", `[1,"x"]`, "[1,null]", "[1,NaN]"} {
		estest.For(usage.Rules).When(sample(noon, bad)).Refused(t, usage.ErrVector)
	}
	c := sample(noon.Add(1), "[1,2,3]")
	c.Names = nil
	estest.For(usage.Rules).Given(sampled(noon, "[1,2]")).When(c).Refused(t, usage.ErrVector)
}

func TestOnlyTheNodeItselfCounts(t *testing.T) {
	t.Parallel()
	for _, a := range []es.Actor{es.ActorPeer, es.ActorREST, es.ActorOperator} {
		c := sample(noon, "[1,2]")
		c.By = identity.Caller{Actor: a, Role: identity.RoleManager}
		estest.For(usage.Rules).When(c).Refused(t, identity.ErrForbidden)
	}
}

func TestNothingFollowsTheLastReading(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var s usage.State
		for i := range rapid.IntRange(1, 20).Draw(t, "n") {
			at := noon.Add(time.Duration(rapid.IntRange(0, 20).Draw(t, "at")) * time.Second)
			var c usage.Command = sample(at, "[1,2]")
			if rapid.IntRange(0, 5).Draw(t, "final") == 0 {
				c = usage.Finalise{ActivityID: id, At: at, By: unit, Source: usage.FromCgroup, Vector: "[1,2]"}
			}
			facts, err := usage.Rules.Decide(s, c)
			if err != nil {
				t.Fatal(err)
			}
			if s.Final && len(facts) > 0 {
				t.Fatalf("step %d: %v after the last reading", i, facts)
			}
			for _, f := range facts {
				next := usage.Rules.Evolve(s, f)
				if !next.Final && next.At.Before(s.At) {
					t.Fatal("a reading went back in time")
				}
				s = next
			}
		}
	})
}
