package projections_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/emet-node/emet/domain/market/demand"
	"github.com/emet-node/emet/projections"
)

func TestOneReadsOnesOwnWrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := openMarket(t, w, t.TempDir())
	for i := range 100 {
		id := fmt.Sprint("d", i)
		w.say("demand-"+id, demand.Published{DemandID: id, Requestor: alice, Created: noon, Expires: noon})
		if subs, err := m.Subscriptions(t.Context(), projections.Demands, alice); err != nil || len(subs) != i+1 {
			t.Fatalf("after %d writes a read finds %d, %v", i+1, len(subs), err)
		}
	}
}

func TestAWaiterIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := openMarket(t, w, projections.Memory)
	must(t, m.Fresh(t.Context()))
	told := make(chan error, 1)
	at := m.Position()
	go func() { told <- m.Await(t.Context(), at+1) }()
	w.say("demand-d", demand.Published{DemandID: "d", Requestor: alice})
	if err := <-told; err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := m.Await(ctx, at+100); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
}
