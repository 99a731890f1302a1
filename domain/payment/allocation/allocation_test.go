package allocation_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/es/estest"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/allocation"
)

const me = identity.NodeID("0x00000000000000000000000000000000000000bb")

var (
	noon   = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	client = identity.Caller{Actor: es.ActorREST, Node: me, Role: identity.RoleRequestor}
	create = allocation.Create{
		Address: string(me), AllocationID: "a", At: noon, By: client, ChainID: 5, OwnerID: me,
		Platform: "erc20-hoodi-tglm", Timeout: noon.Add(time.Hour), Total: money.MustParse("10"),
	}
	story = estest.For(allocation.Rules)
)

func commit(delta string) allocation.Commit {
	return allocation.Commit{ActivityID: "act", AgreementID: "agr", Delta: money.MustParse(delta), DocumentID: "n", Kind: payment.DebitNote}
}

func TestABudgetIsSetAside(t *testing.T) {
	t.Parallel()
	story.When(create).Then(t, allocation.Created{
		Address: string(me), AllocationID: "a", ChainID: 5, OwnerID: me, Platform: "erc20-hoodi-tglm",
		Timeout: noon.Add(time.Hour), Total: money.MustParse("10"),
	})
	other := create
	other.By.Node = "0x00000000000000000000000000000000000000cc"
	story.When(other).Refused(t, identity.ErrForbidden)
	late := create
	late.Timeout = noon
	story.When(late).Refused(t, nil)
	below := create
	below.Total = money.MustParse("-1")
	story.When(below).Refused(t, allocation.ErrAmount)
	story.After(t, create).When(create).Refused(t, allocation.ErrExists)
	story.When(commit("1")).Refused(t, allocation.ErrUnknown)
}

func TestItGivesWhatItHas(t *testing.T) {
	t.Parallel()
	s := story.After(t, create, commit("10"))
	s.When(commit("0.000000000000000001")).Refused(t, nil)
	s.When(commit("0")).Then(t)
	story.After(t, create).When(commit("-1")).Refused(t, allocation.ErrAmount)
	s.When(allocation.Spend{Delta: money.MustParse("11"), IntentID: "i"}).Refused(t, allocation.ErrOverspent)
	paid := s.After(t, allocation.Spend{Delta: money.MustParse("4"), IntentID: "i"})
	paid.When(allocation.Spend{Delta: money.MustParse("4"), IntentID: "i"}).Then(t) // said twice
}

func TestItChangesWithinWhatWasSpent(t *testing.T) {
	t.Parallel()
	s := story.After(t, create, commit("6"))
	five, six := money.MustParse("5"), money.MustParse("6")
	s.When(allocation.Amend{At: noon, By: client, Total: &five}).Refused(t, allocation.ErrBelowSpent)
	s.When(allocation.Amend{At: noon, By: client, Total: &six}).Then(t, allocation.Amended{AllocationID: "a", Timeout: noon.Add(time.Hour), Total: six})
	s.When(allocation.Amend{At: noon, By: client}).Then(t)
	s.When(allocation.Amend{At: noon.Add(time.Minute), By: client, Timeout: noon}).Refused(t, nil)
}

func TestReleasedIsOver(t *testing.T) {
	t.Parallel()
	s := story.After(t, create, commit("6"))
	s.When(allocation.Release{By: client}).Then(t, allocation.Released{AllocationID: "a", Returned: money.MustParse("4")})
	over := s.After(t, allocation.Release{By: client})
	over.When(allocation.Release{By: client}).Refused(t, allocation.ErrReleased)
	over.When(commit("1")).Refused(t, allocation.ErrReleased)
	over.When(allocation.Amend{At: noon, By: client}).Refused(t, allocation.ErrReleased)
	over.When(allocation.Expire{At: noon.Add(2 * time.Hour)}).Then(t)
	over.After(t, allocation.Spend{Delta: money.MustParse("6"), IntentID: "i"}) // what is owed is still paid
}

func TestLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := allocation.Rules.Fold(allocation.State{}, allocation.Created{AllocationID: "a", OwnerID: me, Timeout: noon.Add(time.Hour), Total: money.MustParse("10")})
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			x := money.MustParse(fmt.Sprint(rapid.IntRange(0, 9).Draw(t, "amount")))
			cmd := rapid.SampledFrom([]allocation.Command{
				commit(x.String()),
				allocation.Amend{At: noon, By: client, Total: &x},
				allocation.Spend{Delta: x, IntentID: fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "intent"))},
				allocation.Release{By: client},
				allocation.Expire{At: noon.Add(time.Hour)},
			}).Draw(t, "command")
			closed := s.Closed
			facts, err := allocation.Rules.Decide(s, cmd)
			if err != nil {
				continue
			}
			s = allocation.Rules.Fold(s, facts...)
			if s.Total.Less(s.Committed) || s.Committed.Less(s.Paid) || s.Remaining().Sign() < 0 {
				t.Fatalf("after %T: total %s, committed %s, paid %s", cmd, s.Total, s.Committed, s.Paid)
			}
			for _, f := range facts {
				if _, ok := f.(allocation.Spent); closed && !ok {
					t.Fatalf("%T after the end", f)
				}
			}
			var sum money.Amount
			for _, e := range s.Expenditures() {
				sum = sum.Add(e.Accepted)
			}
			if !sum.Equal(s.Committed) {
				t.Fatalf("expenditures %s, committed %s", sum, s.Committed)
			}
		}
	})
}
