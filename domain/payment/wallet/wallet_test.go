package wallet_test

import (
	"errors"
	"testing"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/es/estest"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment/wallet"
)

const me = identity.NodeID("0x00000000000000000000000000000000000000bb")

var (
	client = identity.Caller{Actor: es.ActorREST, Node: me, Role: identity.RoleRequestor}
	open   = wallet.Open{Address: "0x00000000000000000000000000000000000000BB", By: client, ChainID: 5, OwnerID: me, Platform: "erc20-hoodi-tglm"}
	story  = estest.For(wallet.Rules)
)

func seen(block uint64, token string, nonce uint64) wallet.Observe {
	return wallet.Observe{Block: block, Native: money.MustParse("1"), Nonce: nonce, Token: money.MustParse(token)}
}

func reserve(id, x string) wallet.Reserve {
	return wallet.Reserve{AllocationID: id, Amount: money.MustParse(x)}
}

func TestOnlyWhatIsFreeCanBeReserved(t *testing.T) {
	t.Parallel()
	s := story.After(t, open)
	s.When(reserve("a", "1")).Refused(t, wallet.ErrNotObserved)
	s = s.After(t, seen(10, "100", 0), reserve("a", "60"))
	_, err := wallet.Rules.Decide(s.State(), reserve("b", "41"))
	var short *wallet.InsufficientFunds
	if !errors.As(err, &short) || short.Available.String() != "40" || short.Reserved.String() != "60" || short.Requested.String() != "41" {
		t.Fatalf("%v", err)
	}
	s.After(t, reserve("b", "40"))
	free := reserve("b", "1000")
	free.Unchecked = true
	s.After(t, free)
	s.When(wallet.Return{AllocationID: "a", Amount: money.MustParse("61")}).Refused(t, wallet.ErrHolding)
	story.When(reserve("a", "1")).Refused(t, wallet.ErrUnknown)
}

// A final transfer lowers both what is held and what is there, whichever of
// the balance and the transfer is seen first.
func TestAFinalTransferIsCountedOnce(t *testing.T) {
	t.Parallel()
	before := story.After(t, open, seen(10, "100", 0), reserve("a", "60"))
	spend := wallet.Spend{AllocationID: "a", Amount: money.MustParse("5"), Block: 12, IntentID: "i"}
	for name, s := range map[string]wallet.State{
		"transfer first": before.After(t, spend, seen(12, "95", 1)).State(),
		"balance first":  before.After(t, seen(12, "95", 1), spend).State(),
		"not seen yet":   before.After(t, spend).State(),
	} {
		if s.Available().String() != "40" || s.Held.String() != "55" || s.Holding("a").String() != "55" {
			t.Errorf("%s: available %s, held %s", name, s.Available(), s.Held)
		}
	}
	before.After(t, spend).When(spend).Then(t)
}

func TestNoncesAreGivenOutOnce(t *testing.T) {
	t.Parallel()
	s := story.After(t, open)
	s.When(wallet.ReserveNonce{BatchID: "b1"}).Refused(t, wallet.ErrNotObserved)
	s = s.After(t, seen(10, "100", 7), wallet.ReserveNonce{BatchID: "b1", OrderID: "o"})
	s.When(wallet.ReserveNonce{BatchID: "b1"}).Then(t)
	s.When(wallet.ReserveNonce{BatchID: "b2", OrderID: "o"}).Then(t, wallet.NonceReserved{
		Address: string(me), BatchID: "b2", ChainID: 5, Nonce: 8, OrderID: "o",
	})
	// The chain lags behind what was given out: that is our own pipeline.
	late := s.After(t, wallet.ReserveNonce{BatchID: "b2"}, seen(11, "99", 8))
	if n := late.State().NextNonce; n != 9 || late.State().Suspended != "" {
		t.Fatalf("next nonce %d, suspended %q", n, late.State().Suspended)
	}
}

func TestAForeignNonceStopsSpending(t *testing.T) {
	t.Parallel()
	s := story.After(t, open, seen(10, "100", 7), wallet.ReserveNonce{BatchID: "b1"}, seen(11, "90", 9))
	s.When(wallet.ReserveNonce{BatchID: "b2"}).Refused(t, wallet.ErrSuspended)
	s.When(seen(12, "90", 10)).Then(t, wallet.FundsObserved{
		Address: string(me), Block: 12, ChainID: 5, Native: money.MustParse("1"), Nonce: 10, Token: money.MustParse("90"),
	})
	stranger := identity.Caller{Actor: es.ActorPeer, Node: me}
	s.When(wallet.Resume{By: stranger}).Refused(t, identity.ErrForbidden)
	if n := s.After(t, wallet.Resume{By: client}).State().NextNonce; n != 9 {
		t.Fatalf("next nonce %d", n)
	}
}

func TestOnlyNewsIsRecorded(t *testing.T) {
	t.Parallel()
	s := story.After(t, open, seen(10, "100", 0))
	s.When(open).Then(t)
	s.When(seen(11, "100", 0)).Then(t)
	s.When(seen(9, "50", 0)).Then(t)
	s.When(wallet.ReportHealth{Properties: "[]"}).Then(t)
	sick := s.After(t, wallet.ReportHealth{Properties: `[{"kind":"TxStuck"}]`})
	sick.When(wallet.ReportHealth{Properties: `[{"kind":"TxStuck"}]`}).Then(t)
	sick.When(wallet.ReportHealth{Properties: "[]"}).Then(t, wallet.HealthChanged{Address: string(me), ChainID: 5, Properties: "[]"})
}

func TestFundingIsAnsweredOnce(t *testing.T) {
	t.Parallel()
	s := story.After(t, open, wallet.Fund{By: client, RequestID: "r"})
	s.When(wallet.Fund{By: client, RequestID: "r"}).Then(t)
	s.When(wallet.AnswerFund{RequestID: "r", Text: "1000 tGLM"}).Then(t, wallet.Funded{Address: string(me), ChainID: 5, RequestID: "r", Text: "1000 tGLM"})
	done := s.After(t, wallet.AnswerFund{RequestID: "r", Failure: "dry"})
	done.When(wallet.AnswerFund{RequestID: "r"}).Then(t)
}
