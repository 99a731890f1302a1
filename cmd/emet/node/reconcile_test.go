package node

import (
	"encoding/hex"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/emet-node/emet/adapters/chain/chaintest"
	chainfake "github.com/emet-node/emet/adapters/chain/fake"
	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/payment/wallet"
	"github.com/emet-node/emet/eventschemas"
)

// A transaction whose receipt is not found is not lost when the token knows of
// its transfer: what it paid would be paid twice.
func TestOnlyATransactionThatMovedNothingIsStuck(t *testing.T) {
	t.Parallel()
	a, b := chaintest.NewAccount(t), chaintest.NewAccount(t)
	p, _ := onchain.Network("hoodi")
	for name, c := range map[string]struct {
		ours, forgotten bool
		late            bool // the receipt is found at the second look
		stuck           bool
	}{
		"in a block":                           {ours: true},
		"in a block, the receipt is forgotten": {ours: true, forgotten: true},
		"in a block that one node lacks":       {ours: true, late: true},
		"another one used the nonce":           {stuck: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				chain := chainfake.New(p, true)
				chain.Give(a.Address, chaintest.GLM(10), chaintest.GLM(100))
				l := &es.Log{Store: memory.New(), Codec: eventschemas.New()}
				agg := newAggregates(l)
				call := func(glm int64) onchain.Call {
					made, err := onchain.Pay(p, a.Address, []onchain.Payment{{To: b.Address, Amount: chaintest.GLM(glm)}})
					if err != nil {
						t.Fatal(err)
					}
					return made
				}
				est, err := chain.Estimate(t.Context(), call(7))
				if err != nil {
					t.Fatal(err)
				}
				raw, hash := chaintest.Sign(t, chain, a, call(7), 0, est)
				id := tx.StreamID(p.ChainID, a.Address.String(), 0)
				for i, cmd := range []tx.Command{
					tx.Plan{Address: a.Address.String(), BatchID: "b", Calldata: "0x" + hex.EncodeToString(call(7).Data), ChainID: p.ChainID, OrderID: "o", PayloadHash: "h", To: p.Token.String()},
					tx.RequestSigning{},
					tx.AnswerSigning{Hash: hash.String(), Raw: raw},
					tx.RequestBroadcast{},
					tx.AnswerBroadcast{Hash: hash.String(), Result: tx.Accepted},
				} {
					if _, err := agg.Txs.Do(t.Context(), id, cmd, es.Meta{Key: string(rune('a' + i)), Actor: es.ActorEffect}); err != nil {
						t.Fatal(err)
					}
				}
				if !c.ours {
					raw, _ = chaintest.Sign(t, chain, a, call(1), 0, est)
				}
				if _, err := chain.Send(t.Context(), raw); err != nil {
					t.Fatal(err)
				}
				asked := 0
				chain.Disturb(func(f *chainfake.Faults) {
					f.Lie = func(_ onchain.Hash, r *onchain.Receipt) *onchain.Receipt {
						if asked++; c.forgotten || c.late && asked == 1 {
							return nil
						}
						return r
					}
				})
				got, err := stuck(t.Context(), l, agg, chain, wallet.StreamID(p.ChainID, a.Address.String()), 1, 0)
				if err != nil || slices.Contains(got, id) != c.stuck {
					t.Errorf("stuck: %v, %v", got, err)
				}
			})
		})
	}
}
