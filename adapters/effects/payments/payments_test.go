package payments_test

import (
	"context"
	"math/big"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/chain/chaintest"
	chainfake "github.com/emet-node/emet/adapters/chain/fake"
	netmemory "github.com/emet-node/emet/adapters/net/memory"
	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/payment/wallet"
)

func TestDocumentsAreDeliveredAndAccepted(t *testing.T) {
	for name, fault := range map[string]netmemory.Fault{"": {}, "twice": {Twice: true}, "reply lost": {LoseReply: true}, "refused": {Refuse: true}} {
		t.Run("fault "+name, func(t *testing.T) {
			with(t, func(t *testing.T, w *world) {
				var mu sync.Mutex
				struck := map[string]bool{}
				w.n.Faults(func(_, _ identity.NodeID, kind string) netmemory.Fault {
					mu.Lock()
					defer mu.Unlock()
					if struck[kind] {
						return netmemory.Fault{}
					}
					struck[kind] = true
					return fault
				})
				id := w.invoice("1.5")
				time.Sleep(10 * time.Second)
				amount, err := money.ParseDecimal("1.5")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := w.payer.money.Bills.Do(t.Context(), bill.StreamID(identity.Requestor, w.deal), bill.AcceptInvoice{
					AllocationID: "a", Amount: amount, By: w.payer.client(), InvoiceID: id,
				}, w.meta(w.payer)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Second)
				r, q := w.payer.types("bill", "R-"+w.deal), w.payee.types("bill", "P-"+w.deal)
				if strings.Count(r, "invoice_received") != 1 || strings.Count(q, "invoice_accepted") != 1 {
					t.Errorf("%s\n%s", r, q)
				}
				w.settled()
			})
		})
	}
}

func TestATransactionFromPlanToFinality(t *testing.T) {
	for name, fault := range map[string]func(*chainfake.Faults){
		"":         func(*chainfake.Faults) {},
		"silent":   func(f *chainfake.Faults) { f.Silent = 5 },
		"dropped":  func(f *chainfake.Faults) { f.Drop = 1 },
		"mute":     func(f *chainfake.Faults) { f.Mute = 1 },
		"reverted": func(f *chainfake.Faults) { f.Revert = 1 },
	} {
		t.Run("fault "+name, func(t *testing.T) {
			with(t, func(t *testing.T, w *world) {
				w.chain.Disturb(fault)
				id := w.transfer(0, 7)
				time.Sleep(time.Minute)
				s := w.final(id)
				want, paid := tx.PhaseFinalised, chaintest.GLM(7)
				if name == "reverted" {
					want, paid = tx.PhaseReverted, new(big.Int)
				}
				got, err := w.chain.TokenBalance(t.Context(), w.payee.account.Address)
				if err != nil || s.Phase != want || got.Cmp(paid) != 0 {
					t.Errorf("%s, %v, %v: %s", s.Phase, got, err, w.payer.types("tx", id))
				}
				w.settled()
			})
		})
	}
}

// A block with the transaction leaves the chain, and a later one has it again.
func TestAReorganisationIsFollowed(t *testing.T) {
	with(t, func(t *testing.T, w *world) {
		id := w.transfer(0, 7)
		w.mine(2)
		if s := w.tx(id); s.Phase != tx.PhaseIncluded {
			t.Fatalf("%s", w.payer.types("tx", id))
		}
		for range 2 {
			w.chain.Reorganise(2, false)
			w.mine(3)
		}
		if s := w.final(id); s.Phase != tx.PhaseFinalised {
			t.Error(s.Phase)
		}
		if got := w.payer.types("tx", id); !strings.Contains(got, "orphaned") {
			t.Error(got)
		}
		if n, _ := w.chain.TokenBalance(t.Context(), w.payee.account.Address); n.Cmp(chaintest.GLM(7)) != 0 {
			t.Errorf("paid %v", n)
		}
		w.settled()
	})
}

// A receipt from a block that the chain does not have is not believed, however
// often it is told.
func TestAReceiptFromElsewhereIsNotBelieved(t *testing.T) {
	with(t, func(t *testing.T, w *world) {
		wrong := onchain.Hash{1}
		w.chain.Disturb(func(f *chainfake.Faults) {
			f.Lie = func(_ onchain.Hash, r *onchain.Receipt) *onchain.Receipt {
				if r == nil {
					return nil
				}
				lie := *r
				lie.BlockHash = wrong
				return &lie
			}
		})
		w.invoice("7")
		id := w.transfer(0, 7)
		w.mine(5)
		if s := w.tx(id); s.Phase != tx.PhaseBroadcast {
			t.Error(w.payer.types("tx", id))
		}
		if _, s := w.prove(w.tx(id).Newest().Hash, "7"); s.Claim.Phase != payment.PhaseClaimed {
			t.Error(s.Claim.Phase)
		}
		w.chain.Disturb(func(f *chainfake.Faults) { f.Lie = nil })
		if s := w.final(id); s.Phase != tx.PhaseFinalised || s.Inclusion.BlockHash == wrong.String() {
			t.Error(s.Phase)
		}
	})
}

// The chain's node shows another block for a while, then the same one again.
func TestTheSameBlockMayComeBack(t *testing.T) {
	with(t, func(t *testing.T, w *world) {
		id := w.transfer(0, 7)
		w.mine(2)
		for range 2 {
			w.payer.astray.Store(true)
			time.Sleep(5 * time.Second)
			w.payer.astray.Store(false)
			time.Sleep(5 * time.Second)
		}
		if got := w.payer.types("tx", id); strings.Count(got, "orphaned") != 2 || !strings.HasSuffix(got, "included") && !strings.HasSuffix(got, "broadcast") {
			t.Error(got)
		}
		if s := w.final(id); s.Phase != tx.PhaseFinalised {
			t.Error(s.Phase)
		}
	})
}

// shaky is a node of the chain that can be on a branch of its own.
type shaky struct {
	onchain.Chain
	astray *atomic.Bool
}

func (s shaky) Block(ctx context.Context, n uint64) (*onchain.Head, error) {
	b, err := s.Chain.Block(ctx, n)
	if b != nil && s.astray.Load() {
		other := *b
		other.Hash = onchain.Hash{9}
		return &other, err
	}
	return b, err
}

func TestALockedKeySignsAfterItIsUnlocked(t *testing.T) {
	with(t, func(t *testing.T, w *world) {
		w.payer.locked.Store(true)
		id := w.transfer(0, 7)
		time.Sleep(time.Minute)
		if s := w.tx(id); s.Trouble != tx.Locked {
			t.Fatalf("%s: %s", s.Trouble, w.payer.types("tx", id))
		}
		w.payer.locked.Store(false)
		if _, err := w.payer.money.Txs.Do(t.Context(), id, tx.RequestSigning{}, w.meta(w.payer)); err != nil { // as the saga does when it hears of it
			t.Fatal(err)
		}
		if s := w.final(id); s.Phase != tx.PhaseFinalised {
			t.Error(s.Phase)
		}
	})
}

func TestADaemonThatComesBackFollowsItsTransactions(t *testing.T) {
	with(t, func(t *testing.T, w *world) {
		id := w.transfer(0, 7)
		w.mine(1)
		store := w.payer.l.Store.(*memory.Store)
		w.payer.stop()
		w.payer = start(t, w.n, w.chain, w.payer.account, store)
		if s := w.final(id); s.Phase != tx.PhaseFinalised {
			t.Error(s.Phase)
		}
	})
}

func TestFunding(t *testing.T) {
	with(t, func(t *testing.T, w *world) {
		platform := pay.Platform(w.chain.Profile().Platform())
		if err := w.payee.money.Observe(t.Context(), w.payee.id, platform, string(w.payee.id)); err != nil {
			t.Fatal(err)
		}
		id := wallet.StreamID(w.chain.Profile().ChainID, string(w.payee.id))
		for _, dry := range []bool{false, true} {
			w.payee.dry.Store(dry)
			if _, err := w.payee.money.Wallets.Do(t.Context(), id, wallet.Fund{By: w.payee.client(), RequestID: w.key()}, w.meta(w.payee)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		w.settled()
		if n, _ := w.chain.TokenBalance(t.Context(), w.payee.account.Address); n.Cmp(chaintest.GLM(100)) != 0 {
			t.Errorf("%v: %s", n, w.payee.types("wallet", id))
		}
	})
}

// Nothing is sent that the gas coin does not cover at the highest fee, and it
// goes on when there is some.
func TestWithoutGasNothingIsSentUntilThereIsSome(t *testing.T) {
	with(t, func(t *testing.T, w *world) {
		w.observe()
		all, err := w.chain.NativeBalance(t.Context(), w.payer.account.Address)
		if err != nil {
			t.Fatal(err)
		}
		w.chain.SetBaseFee(1)
		little := big.NewInt(1_000_000_000_000_000) // less than a transfer may cost at the highest fee
		w.elsewhere(0, onchain.Call{From: w.payer.account.Address, To: w.payee.account.Address, Value: new(big.Int).Sub(all, little)})
		w.chain.SetBaseFee(w.chain.Profile().MaxFee)
		id := w.transfer(1, 7)
		time.Sleep(time.Minute)
		if s := w.tx(id); s.Trouble != tx.NoGas || len(s.Versions) > 0 {
			t.Fatalf("%q: %s", s.Trouble, w.payer.types("tx", id))
		}
		w.chain.SetBaseFee(1)
		w.chain.Give(w.payer.account.Address, chaintest.GLM(1), new(big.Int))
		w.mine(1)
		w.observe()
		if s := w.final(id); s.Phase != tx.PhaseFinalised {
			t.Error(s.Phase)
		}
		w.settled()
	})
}
