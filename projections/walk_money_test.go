package projections_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/allocation"
	"github.com/emet-node/emet/domain/payment/wallet"
	"github.com/emet-node/emet/projections"
)

func TestListsSayWhatBudgetsAre(t *testing.T) {
	t.Parallel()
	w, chance := newWorld(t), rand.New(rand.NewPCG(7, 8))
	own, glm := identity.Caller{Actor: es.ActorSaga}, money.MustParse
	later, more, less := noon.Add(time.Hour), glm("7"), glm("2")
	want := make(map[string]allocation.State)
	for n := range 200 {
		id := fmt.Sprint("budget", n)
		want[id] = walk(w, "allocation-"+id, allocation.Rules, chance, 15, []allocation.Command{
			allocation.Create{Address: string(alice), AllocationID: id, At: noon, By: own, ChainID: 1, OwnerID: alice, Platform: billed.Platform, Timeout: later, Total: glm("5")},
			allocation.Amend{At: noon, By: own, Total: &more, Timeout: later.Add(time.Hour)},
			allocation.Amend{At: noon, By: own, Total: &less},
			allocation.Commit{AgreementID: deal, Delta: glm("1"), DocumentID: "i", Kind: pay.Invoice},
			allocation.Commit{ActivityID: act, AgreementID: deal, Delta: glm("1.5"), DocumentID: "n", Kind: pay.DebitNote},
			allocation.Spend{Delta: glm("1"), IntentID: "x"},
			allocation.Spend{Delta: glm("1.5"), IntentID: "y"},
			allocation.Release{By: own},
			allocation.Expire{At: later.Add(2 * time.Hour)},
		})
	}
	v := openPayment(t, w, projections.Memory)
	list, err := v.Allocations(t.Context(), projections.AllocationFilter{Owner: alice})
	must(t, err)
	seen := make(map[string]int)
	for _, a := range list {
		s := want[a.ID]
		got := fmt.Sprint(a.Total, a.Committed, a.Paid, a.Remaining(), a.Closed != "", a.Timeout)
		if is := fmt.Sprint(s.Total, s.Committed, s.Paid, s.Remaining(), s.Closed, s.Timeout); got != is {
			t.Errorf("%s: listed %s, is %s", a.ID, got, is)
		}
		taken, err := v.Expenditures(t.Context(), alice, a.ID)
		must(t, err)
		for _, x := range taken {
			for _, y := range s.Expenditures() {
				if x.ActivityID == y.ActivityID && !x.Accepted.Equal(y.Accepted) {
					t.Errorf("%s of %s: listed %s, is %s", a.ID, x.ActivityID, x.Accepted, y.Accepted)
				}
			}
		}
		if len(taken) != len(s.Expenditures()) {
			t.Errorf("%s: %d of %d takings", a.ID, len(taken), len(s.Expenditures()))
		}
		seen[a.Closed]++
	}
	if len(list) != len(want) || len(seen) != 3 {
		t.Errorf("%d of %d, of the kinds %v", len(list), len(want), seen)
	}
}

func TestListsSayWhatWalletsHold(t *testing.T) {
	t.Parallel()
	w, chance := newWorld(t), rand.New(rand.NewPCG(9, 10))
	own, glm := identity.Caller{Actor: es.ActorSaga}, money.MustParse
	want := make(map[uint64]wallet.State)
	for n := range uint64(100) {
		want[n] = walk(w, "wallet-"+wallet.StreamID(n, string(alice)), wallet.Rules, chance, 25, []wallet.Command{
			wallet.Open{Address: string(alice), By: own, ChainID: n, OwnerID: alice, Platform: billed.Platform},
			wallet.Observe{Block: 1, Token: glm("10"), Native: glm("1")},
			wallet.Observe{Block: 5, Token: glm("8"), Native: glm("0.5"), Nonce: 1},
			wallet.Reserve{AllocationID: "a", Amount: glm("4")},
			wallet.Reserve{AllocationID: "b", Amount: glm("3"), Unchecked: true},
			wallet.Return{AllocationID: "a", Amount: glm("1")},
			wallet.Spend{AllocationID: "a", Amount: glm("2"), Block: 3, IntentID: "x"},
			wallet.Spend{AllocationID: "b", Amount: glm("1"), Block: 9, IntentID: "y"},
			wallet.ReserveNonce{BatchID: "c"},
			wallet.Suspend{Why: "x"},
			wallet.Resume{By: own},
			wallet.ReportHealth{Properties: `[{"kind":"RpcError"}]`},
			wallet.ReportHealth{Properties: `[]`},
		})
	}
	v := openPayment(t, w, projections.Memory)
	list, err := v.Accounts(t.Context(), alice)
	must(t, err)
	for _, a := range list {
		s := want[a.ChainID]
		if got, is := fmt.Sprint(a.Reserved, a.Native, a.Block, a.Suspended), fmt.Sprint(s.Held, s.Native, s.Block, s.Suspended); got != is {
			t.Errorf("%d: listed %s, is %s", a.ChainID, got, is)
		}
	}
	if len(list) != len(want) {
		t.Errorf("%d of %d", len(list), len(want))
	}
}

func TestListsSayHowScriptsGo(t *testing.T) {
	t.Parallel()
	w, chance := newWorld(t), rand.New(rand.NewPCG(11, 12))
	own := identity.Caller{Actor: es.ActorSaga}
	want := make(map[string]batch.State)
	for n := range 300 {
		id := fmt.Sprintf("%032x", n)
		script := `[{"start":{}},{"run":{}}]`
		side, first := r, batch.Command(batch.RequestExec{ActivityID: act, AgreementID: deal, BatchID: id, By: own, Provider: bob, Requestor: alice, Script: script})
		if n%2 == 1 {
			side, first = p, batch.Accept{ActivityID: act, AgreementID: deal, BatchID: id, By: identity.Caller{Actor: es.ActorPeer, Node: alice}, Provider: bob, Requestor: alice, Script: script}
		}
		commands := []batch.Command{
			first,
			batch.ConfirmExec{By: own},
			batch.ConfirmExec{By: own},
			batch.RefuseExec{By: own, Code: "busy"},
			batch.Close{By: own, Outcome: batch.Done},
			batch.Close{By: own, Outcome: batch.Failed},
			batch.Close{By: own, Outcome: batch.Aborted},
		}
		for range 2 {
			for i := range int64(2) {
				commands = append(commands, batch.StartCommand{By: own, Command: "{}", Index: i}, batch.FinishCommand{By: own, Index: i})
			}
		}
		commands = append(commands, batch.FinishCommand{By: own, Code: 1, Index: 1})
		stream := batch.StreamID(side, act, id)
		want[string(side)+id] = walk(w, "batch-"+stream, batch.Rules, chance, 30, commands)
	}
	v := openActivity(t, w, projections.Memory)
	list, err := v.Batches(t.Context(), projections.BatchFilter{})
	must(t, err)
	seen := make(map[string]int)
	for _, b := range list {
		s := want[string(b.Side)+b.ID]
		state := string(s.Outcome)
		switch {
		case state != "":
		case s.RefusedCode != "":
			state = "refused"
		case s.Accepted:
			state = "running"
		default:
			state = "requested"
		}
		if b.State != state || b.Owner != s.Owner() || b.Commands != s.Commands || b.Ended.IsZero() != (state == "running" || state == "requested") {
			t.Errorf("%s %s: listed %+v, is %s", b.Side, b.ID, b, state)
		}
		seen[string(b.Side)+b.State]++
	}
	if len(list) != len(want) || len(seen) < 9 {
		t.Errorf("%d of %d, of the kinds %v", len(list), len(want), seen)
	}
}
