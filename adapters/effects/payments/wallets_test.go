package payments_test

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/chain/chaintest"
	chainfake "github.com/emet-node/emet/adapters/chain/fake"
	"github.com/emet-node/emet/adapters/effects/payments"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/ops"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/payment/wallet"
)

// ice keeps what freezes a node.
type ice struct {
	mu    sync.Mutex
	found []ledger.Frozen
}

func (i *ice) freeze(_ context.Context, f ledger.Frozen) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.found = append(i.found, f)
	return nil
}

func (i *ice) held(context.Context) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if len(i.found) == 0 {
		return nil
	}
	return &ledger.Held{Findings: i.found}
}

// given is what comes after the comparison.
type given struct{ n int }

func (g *given) Handle(context.Context, string, any, es.Meta) error { g.n++; return nil }

// observed takes the payer's wallet into use.
func (w *world) observed() (i *ice, id string) {
	w.t.Helper()
	i = &ice{}
	w.payer.money.Held, w.payer.money.Freeze = i.held, i.freeze
	w.observe()
	return i, wallet.StreamID(w.chain.Profile().ChainID, string(w.payer.id))
}

func (w *world) observe() {
	w.t.Helper()
	platform := pay.Platform(w.chain.Profile().Platform())
	if err := w.payer.money.Observe(w.t.Context(), w.payer.id, platform, string(w.payer.id)); err != nil {
		w.t.Fatal(err)
	}
}

// elsewhere sends a call with the payer's key from another place.
func (w *world) elsewhere(nonce uint64, call onchain.Call) onchain.Hash {
	w.t.Helper()
	e, err := w.chain.Estimate(w.t.Context(), call)
	if err != nil {
		w.t.Fatal(err)
	}
	e.Fees = onchain.Fees{MaxFee: 2 * e.Fees.MaxFee, Tip: 2 * e.Fees.Tip}
	raw, hash := chaintest.Sign(w.t, w.chain, w.payer.account, call, nonce, e)
	if _, err := w.chain.Send(w.t.Context(), raw); err != nil {
		w.t.Fatal(err)
	}
	w.mine(1)
	return hash
}

func (w *world) pays(glm int64) onchain.Call {
	w.t.Helper()
	call, err := onchain.Pay(w.chain.Profile(), w.payer.account.Address, []onchain.Payment{{To: w.payee.account.Address, Amount: chaintest.GLM(glm)}})
	if err != nil {
		w.t.Fatal(err)
	}
	return call
}

func (w *world) reserve() error { return w.reserveFor(w.pays(1)) }

func (w *world) reserveFor(call onchain.Call) error {
	g := &given{}
	err := payments.Compared{Handler: g, Effects: w.payer.money}.Handle(w.t.Context(), "x", ops.ReserveNonce{
		Address: string(w.payer.id), ChainID: w.chain.Profile().ChainID, Calldata: "0x" + hex.EncodeToString(call.Data), To: call.To.String(),
	}, es.Meta{Key: w.key()})
	if err == nil && g.n != 1 {
		w.t.Error("it was not handed on")
	}
	return err
}

// A wallet that the copy knows as unused has paid: the chain's logs say so.
func TestAPaymentThatTheLogDoesNotKnowFreezesTheNode(t *testing.T) {
	with(t, func(t *testing.T, w *world) {
		i, id := w.observed()
		hash := w.elsewhere(0, w.pays(7))
		if err := w.reserve(); err != nil {
			t.Fatal(err)
		}
		s, _, _ := w.payer.money.Wallets.Load(t.Context(), id)
		if len(i.found) != 1 || i.found[0].Kind != ledger.Spent || i.found[0].Expected != 0 || i.found[0].Seen != 1 || s.Suspended == "" {
			t.Fatalf("%+v, %q", i.found, s.Suspended)
		}
		got, err := payments.Unrecorded(t.Context(), w.payer.l, w.chain, w.payer.account.Address, 0)
		if err != nil || len(got) != 1 || got[0].TxHash != hash.String() || got[0].PayeeAddr != string(w.payee.id) || got[0].Amount.Wei().Cmp(chaintest.GLM(7)) != 0 {
			t.Errorf("%+v %v", got, err)
		}
		w.observe() // it is still so
		if i.found[len(i.found)-1].Kind != ledger.Spent {
			t.Errorf("%+v", i.found)
		}
	})
}

// Other transactions of a wallet from which nothing was paid here mean nothing.
func TestWhatMovesNoTokensFreezesNobody(t *testing.T) {
	with(t, func(t *testing.T, w *world) {
		i, _ := w.observed()
		w.elsewhere(0, onchain.Call{From: w.payer.account.Address, To: w.payee.account.Address, Value: big.NewInt(1)})
		if err := w.reserve(); err != nil || len(i.found) > 0 {
			t.Errorf("%v %+v", err, i.found)
		}
	})
}

// Own transactions are known, before and after they are in a block.
func TestOwnPaymentsFreezeNobody(t *testing.T) {
	with(t, func(t *testing.T, w *world) {
		i, id := w.observed()
		if _, err := w.payer.money.Wallets.Do(t.Context(), id, wallet.ReserveNonce{BatchID: "b", OrderID: "o"}, w.meta(w.payer)); err != nil {
			t.Fatal(err)
		}
		w.final(w.transfer(0, 7))
		if err := w.reserve(); err != nil {
			t.Fatal(err)
		}
		w.observe()
		if got, err := payments.Unrecorded(t.Context(), w.payer.l, w.chain, w.payer.account.Address, 0); len(i.found)+len(got) > 0 || err != nil {
			t.Errorf("%+v %+v %v", i.found, got, err)
		}
		w.elsewhere(1, w.pays(1))
		w.observe()
		if len(i.found) != 1 || i.found[0].Expected != 1 || i.found[0].Seen != 2 {
			t.Errorf("%+v", i.found)
		}
	})
}

// Nothing is paid before the chain was asked.
func TestASilentChainGivesNoNonce(t *testing.T) {
	with(t, func(t *testing.T, w *world) {
		w.observed()
		w.chain.Disturb(func(f *chainfake.Faults) { f.Silent = 100 })
		if err := w.reserve(); !errors.Is(err, onchain.ErrUnavailable) {
			t.Fatal(err)
		}
		w.chain.Disturb(func(f *chainfake.Faults) { f.Silent = 0 })
		time.Sleep(10 * time.Second)
		if err := w.reserve(); err != nil {
			t.Fatal(err)
		}
		w.chain.Disturb(func(f *chainfake.Faults) { f.Silent = 100 })
		if err := w.reserve(); err != nil {
			t.Errorf("it is asked again and again: %v", err)
		}
	})
}

// asleep are networks of which none answers in time.
type asleep struct {
	payments.Chains
	asked *atomic.Int64
}

func (a asleep) Chain(id uint64) (onchain.Chain, error) {
	c, err := a.Chains.Chain(id)
	return dozing{c, a.asked}, err
}

type dozing struct {
	onchain.Chain
	asked *atomic.Int64
}

func (d dozing) Funds(ctx context.Context, _ onchain.Address) (onchain.Funds, error) {
	d.asked.Add(1)
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	<-ctx.Done()
	return onchain.Funds{}, fmt.Errorf("%w: %w", onchain.ErrUnavailable, ctx.Err())
}

// A chain that does not answer in time is asked again at the next run: it holds
// up neither the saga, which repeats what ran into a deadline, nor the other
// payments of the run.
func TestAChainThatSleepsHoldsUpNobody(t *testing.T) {
	with(t, func(t *testing.T, w *world) {
		w.observed()
		var asked atomic.Int64
		w.payer.money.Chains = asleep{w.payer.money.Chains, &asked}
		for range 3 {
			if err := w.reserve(); !errors.Is(err, onchain.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
		}
		if n := asked.Load(); n != 3 { // times for the first
			t.Errorf("it was asked %d times", n)
		}
	})
}

// Nonces are used in order: what the token refuses for ever must not get one.
// What waits for money gets one.
func TestAPayeeThatCannotBePaidHoldsUpNobody(t *testing.T) {
	with(t, func(t *testing.T, w *world) {
		w.observed()
		nowhere, err := onchain.Pay(w.chain.Profile(), w.payer.account.Address, []onchain.Payment{{Amount: chaintest.GLM(1)}})
		if err != nil {
			t.Fatal(err)
		}
		var refuses *onchain.RevertError
		if err := w.reserveFor(nowhere); !errors.As(err, &refuses) {
			t.Errorf("it got a nonce: %v", err)
		}
		for _, glm := range []int64{1, 1000} {
			if err := w.reserveFor(w.pays(glm)); err != nil {
				t.Errorf("%d GLM: %v", glm, err)
			}
		}
	})
}

// A copy was taken while a transaction was on its way, and its nonce was used
// for another one by the history that is lost.
func TestANonceThatWasUsedUpFreezesTheNode(t *testing.T) {
	with(t, func(t *testing.T, w *world) {
		i, _ := w.observed()
		w.chain.Disturb(func(f *chainfake.Faults) { f.Drop = 1 })
		id := w.transfer(0, 7)
		time.Sleep(10 * time.Second)
		w.chain.Disturb(func(f *chainfake.Faults) { f.Drop = 0 })
		w.elsewhere(0, w.pays(7))
		time.Sleep(payments.Rebroadcast)
		if len(i.found) > 0 {
			t.Error("one look was enough")
		}
		time.Sleep(2 * payments.Rebroadcast)
		if len(i.found) == 0 || i.found[0].Seen != 1 {
			t.Fatalf("%+v", i.found)
		}
		said := w.payer.types("tx", id)
		time.Sleep(time.Hour)
		if now := w.payer.types("tx", id); now != said || w.tx(id).Phase != tx.PhaseBroadcast {
			t.Errorf("it goes on: %s", now)
		}
	})
}

// A frozen node signs and sends nothing, and goes on when it is let.
func TestAFrozenNodePaysNothing(t *testing.T) {
	with(t, func(t *testing.T, w *world) {
		i, _ := w.observed()
		i.found = []ledger.Frozen{{Kind: ledger.Cosigned}}
		id := w.transfer(0, 7)
		time.Sleep(10 * time.Minute)
		if got := w.payer.types("tx", id); got != "planned signing_requested" {
			t.Fatal(got)
		}
		i.mu.Lock()
		i.found = nil
		i.mu.Unlock()
		time.Sleep(2 * time.Minute)
		if s := w.final(id); s.Phase != tx.PhaseFinalised {
			t.Error(s.Phase)
		}
	})
}
