package fake_test

import (
	"context"
	"errors"
	"testing"

	"github.com/emet-node/emet/adapters/chain/chaintest"
	"github.com/emet-node/emet/adapters/chain/fake"
	"github.com/emet-node/emet/domain/payment/onchain"
)

func hoodi(t testing.TB) onchain.Profile {
	t.Helper()
	p, ok := onchain.Network("hoodi")
	if !ok {
		t.Fatal("no hoodi")
	}
	return p
}

func TestConformance(t *testing.T) {
	t.Parallel()
	chaintest.Run(t, func(t *testing.T) chaintest.Lab {
		c := fake.New(hoodi(t), true)
		return chaintest.Lab{
			Chain:      c,
			Fund:       func(a onchain.Address) { c.Give(a, chaintest.GLM(10), chaintest.GLM(1000)) },
			Reorganise: c.Reorganise,
		}
	})
}

// ready is a chain on which an account has signed a transfer of 1 GLM.
func ready(t *testing.T, auto bool) (c *fake.Chain, payee onchain.Address, raw []byte, hash onchain.Hash) {
	t.Helper()
	c = fake.New(hoodi(t), auto)
	payer := chaintest.NewAccount(t)
	payee = chaintest.NewAccount(t).Address
	c.Give(payer.Address, chaintest.GLM(1), chaintest.GLM(1))
	call, err := onchain.Pay(c.Profile(), payer.Address, []onchain.Payment{{To: payee, Amount: chaintest.GLM(1)}})
	if err != nil {
		t.Fatal(err)
	}
	e, err := c.Estimate(context.Background(), call)
	if err != nil {
		t.Fatal(err)
	}
	raw, hash = chaintest.Sign(t, c, payer, call, 0, e)
	return c, payee, raw, hash
}

func send(t *testing.T, c *fake.Chain, raw []byte) {
	t.Helper()
	if _, err := c.Send(context.Background(), raw); err != nil {
		t.Fatal(err)
	}
}

func receipt(t *testing.T, c *fake.Chain, tx onchain.Hash) *onchain.Receipt {
	t.Helper()
	r, err := c.Receipt(context.Background(), tx)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestASilentChainDecidesNothing(t *testing.T) {
	t.Parallel()
	c, _, raw, hash := ready(t, true)
	c.Disturb(func(f *fake.Faults) { f.Silent = 2 })
	if _, err := c.Send(context.Background(), raw); !errors.Is(err, onchain.ErrUnavailable) {
		t.Errorf("send: %v", err)
	}
	if _, err := c.Receipt(context.Background(), hash); !errors.Is(err, onchain.ErrUnavailable) {
		t.Errorf("receipt: %v", err)
	}
	if r := receipt(t, c, hash); r != nil {
		t.Errorf("receipt %+v of what was never taken", r)
	}
}

func TestALostAnswerIsNotALostTransaction(t *testing.T) {
	t.Parallel()
	c, payee, raw, hash := ready(t, true)
	c.Disturb(func(f *fake.Faults) { f.Mute = 1 })
	if got, err := c.Send(context.Background(), raw); !errors.Is(err, onchain.ErrUnavailable) || got != hash {
		t.Errorf("send: %v, %v", got, err)
	}
	if _, err := c.Send(context.Background(), raw); !errors.Is(err, onchain.ErrNonceTooLow) {
		t.Errorf("sent again: %v", err)
	}
	if n, err := c.TokenBalance(context.Background(), payee); err != nil || n.Cmp(chaintest.GLM(1)) != 0 {
		t.Errorf("payee has %v, %v", n, err)
	}
}

func TestADroppedTransactionCanBeSentAgain(t *testing.T) {
	t.Parallel()
	c, _, raw, hash := ready(t, true)
	c.Disturb(func(f *fake.Faults) { f.Drop = 1 })
	send(t, c, raw)
	if r := receipt(t, c, hash); r != nil {
		t.Fatalf("receipt %+v of what was dropped", r)
	}
	send(t, c, raw)
	if receipt(t, c, hash) == nil {
		t.Error("no receipt")
	}
}

func TestAScriptedRevertMovesNothing(t *testing.T) {
	t.Parallel()
	c, payee, raw, hash := ready(t, true)
	c.Disturb(func(f *fake.Faults) { f.Revert = 1 })
	send(t, c, raw)
	if r := receipt(t, c, hash); r == nil || r.Succeeded {
		t.Errorf("receipt %+v, want a failure", r)
	}
	if n, err := c.TokenBalance(context.Background(), payee); err != nil || n.Sign() != 0 {
		t.Errorf("payee has %v, %v", n, err)
	}
}

func TestALieIsTold(t *testing.T) {
	t.Parallel()
	c, _, _, hash := ready(t, true)
	c.Disturb(func(f *fake.Faults) {
		f.Lie = func(tx onchain.Hash, _ *onchain.Receipt) *onchain.Receipt {
			return &onchain.Receipt{TxHash: tx, Succeeded: true}
		}
	})
	if r := receipt(t, c, hash); r == nil || !r.Succeeded {
		t.Errorf("receipt %+v, want the lie", r)
	}
}

func TestAHighBaseFeeMakesTransactionsWait(t *testing.T) {
	t.Parallel()
	c, _, raw, hash := ready(t, false)
	c.SetBaseFee(1 << 60)
	send(t, c, raw)
	c.Mine()
	if r := receipt(t, c, hash); r != nil {
		t.Fatalf("receipt %+v in spite of the fee", r)
	}
	if waiting := c.Pending(); len(waiting) != 1 || waiting[0] != hash {
		t.Errorf("waiting: %v, want %v", waiting, hash)
	}
	c.SetBaseFee(1)
	c.Mine()
	if receipt(t, c, hash) == nil {
		t.Error("no receipt after the fee fell")
	}
}
