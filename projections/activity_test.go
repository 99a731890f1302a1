package projections_test

import (
	"testing"

	life "github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/projections"
)

func TestTheActivityOfADeal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := openActivity(t, w, projections.Memory)
	wholeDeal(t, w)
	ctx := t.Context()
	mine, err := a.Activities(ctx, projections.ActivityFilter{AgreementID: deal, Owner: bob})
	must(t, err)
	if len(mine) != 1 || mine[0].Runtime != "wasmtime" || mine[0].State != life.Initialized || mine[0].Usage != "[1.0,0.0]" {
		t.Errorf("bob's: %+v", mine)
	}
	events, err := a.ActivityEvents(ctx, bob, "s2", noon, 0)
	must(t, err)
	if len(events) != 1 || events[0].Type != "CreateActivity" || events[0].RequestorPubKey != "02" {
		t.Errorf("events: %+v", events)
	}
	if none, _ := a.ActivityEvents(ctx, alice, "", noon, 0); len(none) != 0 {
		t.Errorf("the requestor gets events of an agent: %+v", none)
	}
	w.say("activity-P-"+act, life.Unresponsive{ActivityID: act}, life.Recovered{ActivityID: act}, life.DestructionRequested{ActivityID: act}, life.Terminated{ActivityID: act, Reason: "x"})
	if events, _ = a.ActivityEvents(ctx, bob, "", events[0].Time, 0); len(events) != 1 || events[0].Type != "DestroyActivity" || events[0].AgreementID != deal {
		t.Errorf("events: %+v", events)
	}
	if alive, _ := a.Activities(ctx, projections.ActivityFilter{Alive: true}); len(alive) != 1 || alive[0].Side != r {
		t.Errorf("alive: %+v", alive)
	}
	if open, _ := a.Batches(ctx, projections.BatchFilter{Open: true}); len(open) != 1 || open[0].State != "running" || open[0].Owner != alice {
		t.Errorf("open: %+v", open)
	}
	w.say("batch-R-"+act+"-b1", batch.CommandFinished{ActivityID: act, BatchID: "b1"}, batch.Closed{ActivityID: act, BatchID: "b1", Outcome: batch.Done})
	if all, _ := a.Batches(ctx, projections.BatchFilter{ActivityID: act}); len(all) != 1 || all[0].State != "done" || all[0].Finished != 1 {
		t.Errorf("batches: %+v", all)
	}
}
