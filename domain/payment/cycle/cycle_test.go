package cycle_test

import (
	"testing"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/es/estest"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/payment/cycle"
)

const me = identity.NodeID("0x00000000000000000000000000000000000000bb")

var (
	noon   = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	client = identity.Caller{Actor: es.ActorREST, Node: me, Role: identity.RoleRequestor}
	daily  = cycle.Configure{Address: "0xBB", At: noon, By: client, ExtraPayTime: time.Hour, Interval: time.Hour, OwnerID: me, Platform: "erc20-hoodi-tglm"}
	story  = estest.For(cycle.Rules)
)

func TestACycleRunsWhenItIsTime(t *testing.T) {
	t.Parallel()
	s := story.After(t, daily)
	s.When(cycle.RequestRun{At: noon, By: client, Why: cycle.ByInterval}).Then(t)
	run := cycle.RequestRun{At: noon.Add(time.Hour), By: client, Why: cycle.ByInterval}
	s.When(run).Then(t, cycle.RunRequested{
		Address: "0xbb", At: noon.Add(time.Hour), NextAt: noon.Add(2 * time.Hour), OwnerID: me, Platform: "erc20-hoodi-tglm", Why: cycle.ByInterval,
	})
	s.After(t, run).When(run).Then(t) // fired twice, run once
	if o := s.When(cycle.RequestRun{At: noon, By: client, Why: cycle.ByRequest}); len(o.Facts) != 1 {
		t.Fatal("a request waits for the interval")
	}
	stranger := client
	stranger.Node = "0x00000000000000000000000000000000000000cc"
	s.When(cycle.RequestRun{At: noon, By: stranger, Why: cycle.ByRequest}).Refused(t, identity.ErrForbidden)
	story.When(run).Refused(t, cycle.ErrUnknown)
}

func TestACycleIsNotTooShort(t *testing.T) {
	t.Parallel()
	short := daily
	short.Interval = 4 * time.Second
	story.When(short).Refused(t, cycle.ErrTooOften)
}

func TestANewIntervalCountsFromTheLastRun(t *testing.T) {
	t.Parallel()
	s := story.After(t, daily, cycle.RequestRun{At: noon, By: client, Why: cycle.ByRequest})
	faster := daily
	faster.At, faster.Interval = noon.Add(5*time.Minute), 10*time.Minute
	if got := s.After(t, faster).State().NextAt; !got.Equal(noon.Add(10 * time.Minute)) {
		t.Fatalf("next at %s", got)
	}
	s.When(daily).Then(t)
	faster.OnlyIfNew = true
	s.When(faster).Then(t)
}

func TestTestTokensSettleOften(t *testing.T) {
	t.Parallel()
	if i, e := cycle.Defaults("erc20-hoodi-tglm"); i != 5*time.Minute || e != 4*time.Minute {
		t.Fatal(i, e)
	}
	if i, e := cycle.Defaults("erc20-polygon-glm"); i != 24*time.Hour || e != time.Hour {
		t.Fatal(i, e)
	}
}
