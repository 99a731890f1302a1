package fake_test

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/emet-node/emet/adapters/exeunit/exeunittest"
	"github.com/emet-node/emet/adapters/exeunit/fake"
	"github.com/emet-node/emet/domain/activity/script"
	"github.com/emet-node/emet/domain/activity/unit"
)

// guest knows the words of the suite.
func guest(ctx context.Context, _ unit.Spec, c script.Command, _ unit.Files) fake.Result {
	run, ok := c.(script.Run)
	if !ok {
		return fake.Result{}
	}
	switch run.EntryPoint {
	case "both":
		return fake.Result{Stdout: "to stdout", Stderr: "to stderr"}
	case "exit":
		n, err := strconv.Atoi(run.Args[0])
		return fake.Result{Code: n, Err: err}
	case "spin":
		<-ctx.Done()
	}
	return fake.Result{}
}

func spec(t testing.TB) unit.Spec { return exeunittest.Spec(t, "hash:sha3:00:http://nowhere") }

func TestFake(t *testing.T) {
	t.Parallel()
	exeunittest.Suite(t, &fake.Supervisor{Do: guest}, spec)
}

func TestAKilledOneIsGone(t *testing.T) {
	t.Parallel()
	sup := &fake.Supervisor{Do: guest}
	u := exeunittest.Start(t, sup, spec(t), nil)
	u.Ready()
	sup.Kill(u.Spec.WorkDir)
	for range u.Events() {
	}
	if !errors.Is(u.Err(), unit.ErrLost) {
		t.Errorf("%v", u.Err())
	}
	if _, err := sup.Attach(context.Background(), unit.Attachment{ActivityID: "act", Dir: u.Spec.WorkDir, Token: "token"}); !errors.Is(err, unit.ErrGone) {
		t.Errorf("%v", err)
	}
}
