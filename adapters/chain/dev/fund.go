package dev

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/emet-node/emet/domain/payment/onchain"
)

// What one call of Fund gives, in wei.
var (
	giftOfGas = new(big.Int).Mul(big.NewInt(10), ether)
	giftOfGLM = new(big.Int).Mul(big.NewInt(1000), ether)
)

// gift is the JSON-RPC namespace "emet".
type gift struct{ c *Chain }

// Fund is emet_fund(address): 10 of the gas coin and 1000 GLM. The answer is
// the hash of the last transaction, which is in a block by then.
func (g *gift) Fund(ctx context.Context, to common.Address) (common.Hash, error) {
	h, err := g.c.Fund(ctx, onchain.Address(to))
	return common.Hash(h), err
}

// Reorganise is emet_reorganise(depth, drop), see [Chain.Reorganise].
func (g *gift) Reorganise(depth uint64, drop bool) error { return g.c.Reorganise(depth, drop) }

// Fund gives to an account 10 of the gas coin and 1000 GLM, and returns when
// it has them.
func (c *Chain) Fund(_ context.Context, to onchain.Address) (onchain.Hash, error) {
	token, err := onchain.TransferData(onchain.Payment{To: to, Amount: giftOfGLM})
	if err != nil {
		return onchain.Hash{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.eth.TxPool().Sync(); err != nil {
		return onchain.Hash{}, c.giving(to, err)
	}
	native, err := c.fromBank(0, common.Address(to), giftOfGas, nil)
	if err != nil {
		return onchain.Hash{}, c.giving(to, err)
	}
	glm, err := c.fromBank(1, common.Address(c.profile.Token), nil, token)
	if err != nil {
		return onchain.Hash{}, c.giving(to, err)
	}
	if err := c.give(native, glm); err != nil {
		return onchain.Hash{}, c.giving(to, err)
	}
	return onchain.Hash(glm.Hash()), nil
}

func (c *Chain) giving(to onchain.Address, err error) error {
	return fmt.Errorf("development chain %s: give to %s: %w", c.profile.Network, to, err)
}

// give mines transactions of the bank at once. The caller holds mu.
func (c *Chain) give(txs ...*types.Transaction) error {
	if err := errors.Join(c.eth.TxPool().Add(txs, true)...); err != nil {
		return err
	}
	for {
		n, err := c.seal(false)
		if err != nil {
			return err
		}
		if c.mined(txs) {
			return nil
		}
		if n == 0 {
			return errors.New("the bank's transactions do not fit into a block")
		}
	}
}

func (c *Chain) mined(txs []*types.Transaction) bool {
	for _, tx := range txs {
		if found, _, _, _ := rawdb.ReadCanonicalTransaction(c.eth.ChainDb(), tx.Hash()); found == nil {
			return false
		}
	}
	return true
}

// fromBank signs a transaction of the bank, ahead by so many nonces. The
// caller holds mu.
func (c *Chain) fromBank(ahead uint64, to common.Address, value *big.Int, data []byte) (*types.Transaction, error) {
	if value == nil {
		value = new(big.Int)
	}
	head := c.eth.BlockChain().CurrentBlock()
	fee := new(big.Int).Add(new(big.Int).Mul(head.BaseFee, big.NewInt(2)), big.NewInt(baseFee))
	id := new(big.Int).SetUint64(c.profile.ChainID)
	return types.SignNewTx(bankKey(), types.LatestSignerForChainID(id), &types.DynamicFeeTx{
		ChainID: id, Nonce: c.eth.TxPool().Nonce(bank()) + ahead, To: &to, Value: value, Data: data, Gas: 200_000,
		GasTipCap: big.NewInt(baseFee), GasFeeCap: fee,
	})
}

// fundPoor funds the account if it has nothing at all.
func (c *Chain) fundPoor(ctx context.Context, to onchain.Address) error {
	state, err := c.eth.BlockChain().State()
	if err != nil {
		return c.giving(to, err)
	}
	glm := state.GetState(common.Address(c.profile.Token), mapped(common.Address(to), 1))
	if state.GetBalance(common.Address(to)).Sign() > 0 || glm != (common.Hash{}) {
		return nil
	}
	_, err = c.Fund(ctx, to)
	return err
}
