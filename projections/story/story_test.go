package story_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/market/demand"
	"github.com/emet-node/emet/eventschemas"
	"github.com/emet-node/emet/projections/story"
	"github.com/emet-node/emet/projections/story/storytest"
)

func world(t *testing.T) *es.Log {
	t.Helper()
	log := &es.Log{Store: memory.New(), Codec: eventschemas.New()}
	if err := storytest.Write(t.Context(), log); err != nil {
		t.Fatal(err)
	}
	return log
}

func gather(t *testing.T, log *es.Log, id string) story.Story {
	t.Helper()
	s, err := story.Of(t.Context(), log, id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// mentions says which facts of a story are about a deal.
func mentions(s story.Story, d storytest.Deal) (n int) {
	for _, f := range s.Facts {
		if strings.Contains(string(f.Event.Data), d.Agreement) || strings.Contains(string(f.Stream), d.Agreement) {
			n++
		}
	}
	return n
}

func types(s story.Story) map[string]int {
	out := make(map[string]int)
	for _, f := range s.Facts {
		out[f.Type]++
	}
	return out
}

func TestAStoryGoesFromTheBudgetToTheMoneyThatArrived(t *testing.T) {
	t.Parallel()
	s := gather(t, world(t), storytest.First.Agreement)
	have := types(s)
	for typ, n := range map[string]int{
		"allocation.created.v1": 1, "wallet.funds_reserved.v1": 1, "demand.published.v1": 1, "offer.published.v1": 1, "negotiation.opened.v1": 2,
		"agreement.created.v1": 1, "agreement.approved.v1": 2, "activity.spawned.v1": 1, "batch.exec_requested.v2": 1, "batch.command_finished.v1": 1,
		"usage.finalised.v1": 1, "bill.invoice_accepted.v1": 1, "allocation.committed.v1": 1, "cycle.run_requested.v1": 1, "order.opened.v1": 1,
		"order.intent_recorded.v1": 1, "order.batch_sealed.v1": 1, "wallet.nonce_reserved.v1": 1, "tx.finalised.v1": 1, "bill.paid.v1": 2,
		"allocation.spent.v1": 1, "payment.signing_requested.v1": 1, "payment.verified.v1": 1, "bill.settled.v1": 1, "wallet.funds_observed.v1": 0,
	} {
		if have[typ] != n {
			t.Errorf("%d of %s, want %d", have[typ], typ, n)
		}
	}
}

func TestNeighboursStayOut(t *testing.T) {
	t.Parallel()
	log := world(t)
	first := storytest.First
	for _, id := range []string{
		first.Agreement, first.Activity, first.Batch, first.Invoice, first.Payment, first.Proposal, first.ThreadR, first.ThreadP, "R-" + first.Proposal, first.Agreement[:12],
	} {
		s := gather(t, log, id)
		if len(s.Agreements) != 1 || s.Agreements[0] != first.Agreement || len(s.Facts) != len(gather(t, log, first.Agreement).Facts) {
			t.Errorf("%s: agreements %v, %d facts", id, s.Agreements, len(s.Facts))
		}
		if mentions(s, first) == 0 || mentions(s, storytest.Second) != 0 {
			t.Errorf("%s: %d facts of the deal, %d of its neighbour", id, mentions(s, first), mentions(s, storytest.Second))
		}
	}
}

func TestWhatDealsShareTellsOfBoth(t *testing.T) {
	t.Parallel()
	log := world(t)
	for _, id := range []string{storytest.Allocation, storytest.Demand, storytest.Offer, storytest.Order, storytest.TxHash} {
		s := gather(t, log, id)
		if len(s.Agreements) != 2 || mentions(s, storytest.First) != mentions(s, storytest.Second) {
			t.Errorf("%s: agreements %v", id, s.Agreements)
		}
	}
}

// Every fact but the beginnings hangs on an earlier one, and a recorded cause
// in the story is what it hangs on.
func TestEveryFactHangsOnAnEarlierOne(t *testing.T) {
	t.Parallel()
	s := gather(t, world(t), storytest.First.Agreement)
	roots := 0
	for _, f := range s.Facts {
		switch {
		case f.Parent == nil:
			roots++
		case *f.Parent >= f.Position:
			t.Errorf("%d hangs on %d", f.Position, *f.Parent)
		case f.Info.Cause != nil && (!f.Caused || *f.Parent != *f.Info.Cause):
			t.Errorf("%d (%s) was caused by %d and hangs on %d", f.Position, f.Type, *f.Info.Cause, *f.Parent)
		}
	}
	if roots > 4 { // offer, budget, demand, settlement run
		t.Errorf("%d beginnings", roots)
	}
}

func TestWhatIsUnknownOrAmbiguousIsTold(t *testing.T) {
	t.Parallel()
	log := world(t)
	for _, id := range []string{"", "a", "ffffffff", "zzzz"} {
		if _, err := story.Of(t.Context(), log, id); !errors.Is(err, story.ErrUnknown) {
			t.Errorf("%q: %v", id, err)
		}
	}
	near := storytest.Demand[:8] + "00"
	_, err := log.Append(t.Context(), es.Meta{Key: "near"}, nil, es.Facts{
		Stream: es.Stream("demand-" + near), Expected: es.NoStream, Facts: []any{demand.Published{DemandID: near, Requestor: storytest.Buyer}},
	})
	if err != nil {
		t.Fatal(err)
	}
	var several *story.Ambiguous
	if _, err := story.Of(t.Context(), log, storytest.Demand[:8]); !errors.As(err, &several) || len(several.IDs) != 2 {
		t.Error(err)
	}
	if s := gather(t, log, storytest.Order[:6]); s.ID != storytest.Order {
		t.Error(s.ID)
	}
	if s := gather(t, log, near); len(s.Facts) != 1 {
		t.Errorf("%d facts", len(s.Facts))
	}
}
