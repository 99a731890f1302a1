package dispatch_test

import (
	"reflect"
	"testing"

	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/saga/dispatch"
)

func hear(p es.Process, at es.Position, stream es.Stream, fact any) []es.Command {
	r := es.Recorded{Data: fact, Info: es.Meta{Correlation: "a"}}
	r.Stream, r.Position = stream, at
	return p.Hear(r)
}

func begin() es.Process {
	p := dispatch.Saga.Start()
	hear(p, 0, "agreement-P-a", agreement.Received{AgreementID: "a", Side: "P", Terms: agreement.Terms{OfferProperties: `{"golem.runtime.name":"wasmtime"}`}})
	return p
}

func TestANewActivityGetsAnExeUnitOfItsRuntime(t *testing.T) {
	t.Parallel()
	tell := func() []es.Command {
		return hear(begin(), 1, "activity-P-1", activity.Created{ActivityID: "1", AgreementID: "a", Side: identity.Provider})
	}
	got := tell()
	if len(got) != 1 || got[0].Category != activity.Category || got[0].ID != "P-1" || got[0].Command.(activity.RequestSpawn).Runtime != "wasmtime" {
		t.Fatalf("%+v", got)
	}
	if again := tell(); !reflect.DeepEqual(got, again) {
		t.Errorf("heard again: %+v", again)
	}
}

func TestTheRequestorsSideGetsNone(t *testing.T) {
	t.Parallel()
	if got := hear(begin(), 1, "activity-R-1", activity.Created{ActivityID: "1", AgreementID: "a", Side: identity.Requestor}); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestAFailedStartIsTheEnd(t *testing.T) {
	t.Parallel()
	for _, p := range []es.Process{begin(), dispatch.Saga.Start()} { // also when the agreement is over and forgotten
		got := hear(p, 2, "activity-P-1", activity.SpawnFailed{ActivityID: "1", Message: "no memory"})
		if len(got) != 1 || got[0].Command.(activity.End).ErrorMessage != "no memory" {
			t.Errorf("%+v", got)
		}
	}
}
