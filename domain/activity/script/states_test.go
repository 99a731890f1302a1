package script_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/emet-node/emet/domain/activity/script"
)

const prefix = "Local service error: State error: "

func TestWhichCommandIsExpectedWhen(t *testing.T) {
	t.Parallel()
	run := script.Run{EntryPoint: "x"}
	for _, c := range []struct {
		at   script.Pair
		cmd  script.Command
		want string
	}{
		{script.Pair{Current: script.Initialized}, run, "Activity is initialized - deploy() command is expected now"},
		{script.Pair{Current: script.Initialized}, script.Transfer{}, "Activity is initialized - deploy() command is expected now"},
		{script.Pair{Current: script.Deployed}, run, "Activity is deployed - start() command is expected now"},
		{script.Pair{Current: script.Deployed}, script.Deploy{}, "Activity is deployed - start() command is expected now"},
		{script.Pair{Current: script.Ready}, script.Start{}, "Cannot send command after a successful start()"},
		{script.Pair{Current: script.New}, script.Deploy{}, "This command is not allowed when activity is in the New state"},
		{script.Pair{Current: script.Terminated}, run, "This command is not allowed when activity is in the Terminated state"},
		{script.Pair{Current: script.Ready, Pending: script.Ready}, run, "Busy: StatePair(Ready, Some(Ready))"},
		{script.Pair{Current: script.Initialized, Pending: script.Deployed}, script.Deploy{}, "Busy: StatePair(Initialized, Some(Deployed))"},
	} {
		if _, err := c.at.Begin(c.cmd); err == nil || err.Error() != prefix+c.want {
			t.Errorf("%s in %s: %v", c.cmd.Name(), c.at, err)
		}
	}
}

func TestAFailedDeployMayBeTriedAgain(t *testing.T) {
	t.Parallel()
	at := script.Pair{Current: script.Initialized}
	begun, err := at.Begin(script.Deploy{})
	if err != nil {
		t.Fatal(err)
	}
	if got := begun.End(script.Deploy{}, false); got != at {
		t.Errorf("after a failure: %s", got)
	}
	if got := begun.End(script.Deploy{}, true); got != (script.Pair{Current: script.Deployed}) {
		t.Errorf("after success: %s", got)
	}
}

func TestTerminateWorksAnytime(t *testing.T) {
	t.Parallel()
	busy := script.Pair{Current: script.Ready, Pending: script.Ready}
	p, err := busy.Begin(script.Terminate{})
	if err != nil || p.End(script.Terminate{}, true) != (script.Pair{Current: script.Initialized}) {
		t.Errorf("%s, %v", p, err)
	}
}

func TestAnyWalkThroughTheStatesIsAPathOfTheProtocol(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := script.Pair{Current: script.Initialized}
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			c := rapid.SampledFrom([]script.Command{script.Deploy{}, script.Start{}, script.Run{}, script.Transfer{}, script.Terminate{}, script.Sign{}}).Draw(t, "command")
			q, err := p.Begin(c)
			if err != nil {
				continue
			}
			next := q.End(c, rapid.Bool().Draw(t, "ok"))
			switch {
			case next == p:
			case c.Name() == "terminate" && next.Current == script.Initialized:
			case p.Current == script.Initialized && c.Name() == "deploy" && next.Current == script.Deployed:
			case p.Current == script.Deployed && c.Name() == "start" && next.Current == script.Ready:
			default:
				t.Fatalf("%s took %s to %s", c.Name(), p, next)
			}
			if next.Pending != "" {
				t.Fatalf("still pending: %s", next)
			}
			p = next
		}
	})
}
