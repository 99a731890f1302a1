package payments_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/adapters/effects/payments"
	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/order"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/eventschemas"
)

// archive is a node that keeps proofs, with a chain that may be gone.
type archive struct {
	t    *testing.T
	l    *es.Log
	k    *payments.ProofKeeper
	mu   sync.Mutex
	asks int
	// asked are the hashes that the chain was asked for, one for each ask.
	asked []string
	puts  []string
	// answer is what the chain tells at the nth time, from 1.
	answer func(n int) (*onchain.Inclusion, error)
	full   bool // the disk
}

const (
	paidBy = "0x00000000000000000000000000000000000000b1"
	paidTo = "0x00000000000000000000000000000000000000b2"
)

var (
	header = []byte("a header")
	block  = onchain.Keccak256(header).String()
	hash   = "0x" + strings.Repeat("12", 32)
	whole  = &onchain.Inclusion{ChainID: 560048, Header: header, Receipt: [][]byte{{1}}, Transaction: [][]byte{{2}}}
)

func (a *archive) ask(_ context.Context, chain uint64, tx onchain.Hash) (*onchain.Inclusion, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asks++
	if chain != 560048 || !strings.HasPrefix(tx.String(), hash[:34]) {
		a.t.Errorf("asked for %s of chain %d", tx, chain)
	}
	a.asked = append(a.asked, tx.String())
	return a.answer(a.asks)
}

func (a *archive) put(i onchain.Inclusion) (string, int64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.full {
		return "", 0, errors.New("the disk is full")
	}
	a.puts = append(a.puts, string(i.Header))
	return strings.Repeat("ab", 32), 7, nil
}

func (a *archive) open(prefix, fact, kept string) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		return effects.OpenStreams(ctx, a.l.Store, prefix, []string{fact}, []string{kept})
	}
}

func newArchive(t *testing.T, answer func(n int) (*onchain.Inclusion, error)) *archive {
	t.Helper()
	l := &es.Log{Store: memory.New(), Codec: eventschemas.New()}
	a := &archive{t: t, l: l, answer: answer}
	a.k = &payments.ProofKeeper{
		Effects: &payments.Effects{
			Aggregates: payments.Aggregates{Log: l, Txs: es.NewAggregate(l, tx.Category, tx.Rules), Payments: es.NewAggregate(l, payment.Category, payment.Rules)},
			Logger:     slog.New(slog.DiscardHandler),
		},
		Inclusion: a.ask, Put: a.put, Sent: a.open("tx-", "tx.finalised.v1", "tx.proof_kept.v1"),
		Received: a.open("payment-P-", "payment.finalised.v1", "payment.proof_kept.v1"),
		Adopted: func(ctx context.Context) ([]string, error) {
			return effects.OpenStreams(ctx, l.Store, "order-", []string{"order.transfer_adopted.v1"}, nil)
		},
	}
	return a
}

// run keeps proofs for a while, as a process of its own would.
func (a *archive) run(d time.Duration) {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), d)
	defer cancel()
	if err := a.k.Run(ctx); err != nil {
		a.t.Error(err)
	}
}

func do[C, E, S any](a *archive, agg *es.Aggregate[C, E, S], id string, commands ...C) {
	a.t.Helper()
	for i, c := range commands {
		if _, err := agg.Do(a.t.Context(), id, c, es.Meta{Key: id + string(rune('a'+i)), Actor: es.ActorSaga, Grade: es.GradeSelf}); err != nil {
			a.t.Fatal(err)
		}
	}
}

// send makes a transaction that is final.
func (a *archive) send() string { return a.sendAs(0, hash) }

// hashOf is the hash of the transaction with a nonce.
func hashOf(nonce uint64) string { return fmt.Sprintf("%s%032x", hash[:34], nonce) }

func (a *archive) sendAs(nonce uint64, hash string) string {
	id := tx.StreamID(560048, paidBy, nonce)
	do(a, a.k.Txs, id, []tx.Command{
		tx.Plan{Address: paidBy, ChainID: 560048, Nonce: nonce, OwnerID: paidBy},
		tx.RequestSigning{},
		tx.AnswerSigning{Hash: hash, Raw: []byte{1}},
		tx.RequestBroadcast{},
		tx.AnswerBroadcast{Hash: hash, Result: tx.Accepted},
		tx.Include{BlockHash: block, BlockNumber: 9, Hash: hash, Status: 1},
		tx.Finalise{BlockHash: block},
	}...)
	return id
}

// receive makes a payment that is final.
func (a *archive) receive() string {
	a.t.Helper()
	one := money.MustParse("1")
	text, err := payment.Document{
		Amount: one, PayeeAddr: paidTo, PayeeID: paidTo, PayerAddr: paidBy, PayerID: paidBy, PaymentID: strings.Repeat("0", 32),
		Platform: "erc20-hoodi-tglm", Shares: []pay.Share{{AgreementID: "a", Amount: one}}, Timestamp: time.Now().UTC(), TxHash: hash,
	}.Canonical()
	if err != nil {
		a.t.Fatal(err)
	}
	id := payment.ReceivedID(paidTo, strings.Repeat("0", 32))
	do(a, a.k.Payments, id, []payment.Command{
		payment.Claim{By: identity.Caller{Actor: es.ActorPeer, Node: paidBy}, Canonical: text, PayeeID: paidTo, Signature: make([]byte, 65), Signer: paidBy},
		payment.AnswerClaim{BlockHash: block, BlockNumber: 9, Depth: 1, Logs: []payment.LogShare{{Amount: one}}},
		payment.Finalise{BlockNumber: 9},
	}...)
	return id
}

// kept are the facts that say where a proof lies.
func (a *archive) kept() (out []es.Recorded) {
	a.t.Helper()
	for r, err := range a.l.ReadAll(a.t.Context(), 0, es.Filter{Types: []string{"tx.proof_kept.v1", "payment.proof_kept.v1"}}) {
		if err != nil {
			a.t.Fatal(err)
		}
		out = append(out, r)
	}
	return out
}

func TestProofsOfBothSidesAreKeptOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newArchive(t, func(int) (*onchain.Inclusion, error) { return whole, nil })
		a.send() // found at the start
		time.AfterFunc(time.Minute, func() { a.receive() })
		a.run(time.Hour)
		a.run(time.Hour)
		kept := a.kept()
		if len(kept) != 2 || a.asks != 2 || len(a.puts) != 2 {
			t.Fatalf("%d are kept, %d asks, %d blobs", len(kept), a.asks, len(a.puts))
		}
		for i, want := range []string{"tx.finalised.v1", "payment.finalised.v1"} {
			m := kept[i].Info
			if cause, ok := causeOf(a, m.CausationID); !ok || cause.Type != want || m.Actor != es.ActorChain || m.Grade != es.GradeChainFinal {
				t.Errorf("%s follows from %s: %+v", kept[i].Type, cause.Type, m)
			}
		}
		sent, received := kept[0].Data.(tx.ProofKept), kept[1].Data.(payment.ProofKept)
		if sent.Hash != hash || sent.BlockHash != block || sent.Size != 7 || received.TxHash != hash || received.BlockHash != block || received.Blob != sent.Blob {
			t.Errorf("%+v, %+v", sent, received)
		}
	})
}

func causeOf(a *archive, id es.ID) (es.Recorded, bool) {
	for r, err := range a.l.ReadAll(a.t.Context(), 0, es.Filter{}) {
		if err == nil && r.ID == id {
			return r, true
		}
	}
	return es.Recorded{}, false
}

// A chain that says nothing, nonsense, or something of another block is asked
// again for two weeks, but not for ever; the next start tries anew.
func TestAProofThatCannotBeHadIsTriedAgainAndGivenUp(t *testing.T) {
	t.Parallel()
	errDown := errors.New("down")
	for name, wrong := range map[string]func() (*onchain.Inclusion, error){
		"down":      func() (*onchain.Inclusion, error) { return nil, errDown },
		"not there": func() (*onchain.Inclusion, error) { return nil, nil },
		"elsewhere": func() (*onchain.Inclusion, error) { return &onchain.Inclusion{Header: []byte("another")}, nil },
	} {
		for when, found := range map[string]bool{"before": true, "later": false} {
			t.Run(name+" "+when, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					a := newArchive(t, func(n int) (*onchain.Inclusion, error) {
						if n <= 66 {
							return wrong()
						}
						return whole, nil
					})
					a.k.Every = time.Minute
					if found {
						a.send()
					} else {
						time.AfterFunc(time.Minute, func() { a.send() })
					}
					a.run(30 * 24 * time.Hour)
					if a.asks != 64 || len(a.kept()) != 0 || len(a.puts) != 0 {
						t.Fatalf("%d asks, %d kept, %d blobs", a.asks, len(a.kept()), len(a.puts))
					}
					a.run(time.Hour)
					if a.asks != 67 || len(a.kept()) != 1 {
						t.Fatalf("after the next start: %d asks, %d kept", a.asks, len(a.kept()))
					}
				})
			})
		}
	}
}

// A disk that takes nothing for a while is no reason to give up.
func TestAProofIsKeptAfterTheDiskWasFull(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newArchive(t, func(int) (*onchain.Inclusion, error) { return whole, nil })
		a.receive()
		a.full = true
		time.AfterFunc(10*time.Second, func() {
			a.mu.Lock()
			defer a.mu.Unlock()
			a.full = false
		})
		a.run(time.Minute)
		if len(a.kept()) != 1 || len(a.puts) != 1 || a.asks < 2 {
			t.Fatalf("%d kept, %d blobs, %d asks", len(a.kept()), len(a.puts), a.asks)
		}
	})
}

// What was final before, as after an upgrade, is made up for to the end: one by
// one, the newest first, and what is new in between is not kept waiting.
func TestAllProofsOfLongAgoAreMadeUpFor(t *testing.T) {
	t.Parallel()
	const old = 600
	synctest.Test(t, func(t *testing.T) {
		a := newArchive(t, func(int) (*onchain.Inclusion, error) { return whole, nil })
		for n := range uint64(old) {
			a.sendAs(n, hashOf(n))
		}
		a.receive()
		a.run(30*time.Second + time.Second/2) // it ends between two asks
		if n := len(a.kept()); n < 25 || n > 32 {
			t.Errorf("%d proofs were fetched in half a minute", n)
		}
		if a.asked[0] != hashOf(old-1) && a.asked[1] != hashOf(old-1) {
			t.Errorf("first: %v", a.asked[:2])
		}
		before := len(a.kept())
		time.AfterFunc(30*time.Second, func() { a.sendAs(old, hashOf(old)) })
		time.AfterFunc(32*time.Second, func() {
			for _, r := range a.kept()[before:] {
				if r.Data.(tx.ProofKept).Hash == hashOf(old) {
					return
				}
			}
			t.Error("a new proof waits for those of long ago")
		})
		a.run(old * time.Second)
		if len(a.kept()) != old+2 || a.asks != old+2 {
			t.Errorf("%d are kept after %d asks, want %d", len(a.kept()), a.asks, old+2)
		}
	})
}

// A proof that nobody has any more does not hinder others, and a chain that is
// away for an hour is asked again when it is back.
func TestProofsOfLongAgoThatCannotBeHadAreInNobodysWay(t *testing.T) {
	t.Parallel()
	const old = 300
	synctest.Test(t, func(t *testing.T) {
		var back time.Time
		a := newArchive(t, nil)
		a.answer = func(n int) (*onchain.Inclusion, error) {
			switch {
			case time.Now().Before(back):
				return nil, errors.New("down")
			case a.asked[n-1] >= hashOf(old-20): // the newest are not there any more
				return nil, nil
			}
			return whole, nil
		}
		for n := range uint64(old) {
			a.sendAs(n, hashOf(n))
		}
		back = time.Now().Add(time.Hour)
		a.run(24 * time.Hour)
		if len(a.kept()) != old-20 {
			t.Errorf("%d are kept, want %d", len(a.kept()), old-20)
		}
		if down := 3600/10 + 1; a.asks > down+old+20*20 {
			t.Errorf("%d asks", a.asks)
		}
	})
}

// A transfer that the log had lost has no transaction here: its proof is kept
// with the payment that rests on it, when that is signed and the block is final.
func TestTheProofOfATransferThatWasLostIsKept(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newArchive(t, func(int) (*onchain.Inclusion, error) { return whole, nil })
		c := &settling{final: 8}
		a.k.Chains = only{c: c}
		orders := es.NewAggregate(a.l, order.Category, order.Rules)
		intent, one := strings.Repeat("7", 64), money.MustParse("1")
		do(a, orders, "o", []order.Command{
			order.Open{
				ChainID: 560048, OrderID: "o", PayerAddr: paidBy, PayerID: paidBy, Platform: "erc20-hoodi-tglm",
				Intents: []order.Intent{{ID: intent, PayeeAddr: paidTo, Ranges: []pay.Range{{AgreementID: "a", To: one}}}},
			},
			order.Adopt{Block: 9, IntentID: intent, TxHash: hash},
		}...)
		a.run(time.Minute)
		if len(a.kept()) != 0 || a.asks != 0 {
			t.Fatalf("%d proofs of a payment that is not signed, %d asks", len(a.kept()), a.asks)
		}
		do(a, a.k.Payments, payment.SentID(intent[:32]), []payment.Command{payment.RequestSigning{
			PayeeAddr: paidTo, PayeeID: paidTo, PayerAddr: paidBy, PayerID: paidBy, PaymentID: intent[:32], Platform: "erc20-hoodi-tglm",
			Shares: []pay.Share{{AgreementID: "a", Amount: one}}, Timestamp: time.Now(), TxHash: hash,
		}}...)
		a.run(time.Minute)
		if len(a.kept()) != 0 || a.asks != 0 {
			t.Fatalf("%d proofs of a block that may go, %d asks", len(a.kept()), a.asks)
		}
		time.AfterFunc(time.Minute, func() { c.settle(9) })
		a.run(time.Hour)
		a.run(time.Hour)
		kept := a.kept()
		if len(kept) != 1 || a.asks != 1 {
			t.Fatalf("%d are kept after %d asks", len(kept), a.asks)
		}
		got, m := kept[0].Data.(payment.ProofKept), kept[0].Info
		if got.Side != identity.Requestor || got.TxHash != hash || got.BlockHash != block || got.BlockNumber != 9 || got.Size != 7 || got.PayeeID != paidTo {
			t.Errorf("%+v", got)
		}
		if cause, ok := causeOf(a, m.CausationID); !ok || cause.Type != "order.transfer_adopted.v1" || m.Actor != es.ActorChain || m.Grade != es.GradeChainFinal {
			t.Errorf("it follows from %s: %+v", cause.Type, m)
		}
	})
}

// settling is a chain with one transaction, in block 9.
type settling struct {
	onchain.Chain
	mu    sync.Mutex
	final uint64
}

func (c *settling) settle(n uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.final = n
}

func (c *settling) at9() onchain.Head {
	return onchain.Head{Hash: onchain.Keccak256(header), Number: 9}
}

// only are the chains of a node that knows one.
type only struct {
	payments.Chains
	c onchain.Chain
}

func (o only) Chain(uint64) (onchain.Chain, error) { return o.c, nil }

func (c *settling) Finalised(context.Context) (onchain.Head, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return onchain.Head{Number: c.final}, nil
}

func (c *settling) Block(_ context.Context, n uint64) (*onchain.Head, error) {
	if at := c.at9(); n == at.Number {
		return &at, nil
	}
	return nil, nil
}

func (c *settling) Receipt(_ context.Context, tx onchain.Hash) (*onchain.Receipt, error) {
	if tx.String() != hash {
		return nil, nil
	}
	return &onchain.Receipt{BlockHash: c.at9().Hash, BlockNumber: 9, Succeeded: true, TxHash: tx}, nil
}
