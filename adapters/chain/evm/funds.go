package evm

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/emet-node/emet/domain/payment/onchain"
)

// Funds are gas coin and GLM of owner, both at the same block.
func (c *Client) Funds(ctx context.Context, owner onchain.Address) (f onchain.Funds, err error) {
	err = c.pool.ask(ctx, func(ctx context.Context, e *rpc.Client) error {
		var head *wireHead
		if err := e.CallContext(ctx, &head, "eth_getBlockByNumber", "latest", false); err != nil || head == nil {
			return orNothing(err)
		}
		var native hexutil.Big
		var token hexutil.Bytes
		at := rpc.BlockNumberOrHashWithHash(head.Hash, false)
		balance := wireOf(onchain.Call{To: c.profile.Token, Data: onchain.BalanceData(owner)})
		batch := []rpc.BatchElem{
			{Method: "eth_getBalance", Args: []any{common.Address(owner), at}, Result: &native},
			{Method: "eth_call", Args: []any{balance, at}, Result: &token},
		}
		if err := e.BatchCallContext(ctx, batch); err != nil {
			return err
		}
		if err := errors.Join(batch[0].Error, batch[1].Error); err != nil {
			return err
		}
		amount, ok := number(token)
		if !ok {
			return c.silent("balance")
		}
		f = onchain.Funds{At: head.head(), Native: native.ToInt(), Token: amount}
		return nil
	})
	return f, err
}

func orNothing(err error) error {
	if err == nil {
		err = errors.New("the endpoint has no block")
	}
	return err
}

func (c *Client) silent(what string) error {
	return &ContractError{Address: c.profile.Token, Network: c.profile.Network, What: "token", Why: "it does not tell the " + what}
}

// TokenBalance is the GLM of owner.
func (c *Client) TokenBalance(ctx context.Context, owner onchain.Address) (*big.Int, error) {
	return c.askToken(ctx, "balance", onchain.BalanceData(owner))
}

// Allowance is the GLM of owner that spender may move.
func (c *Client) Allowance(ctx context.Context, owner, spender onchain.Address) (*big.Int, error) {
	return c.askToken(ctx, "allowance", onchain.AllowanceData(owner, spender))
}

func (c *Client) askToken(ctx context.Context, what string, data []byte) (*big.Int, error) {
	out, err := c.Call(ctx, onchain.Call{To: c.profile.Token, Data: data})
	if err != nil {
		return nil, err
	}
	n, ok := number(out)
	if !ok {
		return nil, c.silent(what)
	}
	return n, nil
}

// number reads one word that a contract returned.
func number(out []byte) (*big.Int, bool) {
	return new(big.Int).SetBytes(out), len(out) == 32
}

// NativeBalance is the gas coin of owner.
func (c *Client) NativeBalance(ctx context.Context, owner onchain.Address) (*big.Int, error) {
	var n hexutil.Big
	if err := c.call(ctx, &n, "eth_getBalance", common.Address(owner), "latest"); err != nil {
		return nil, err
	}
	return n.ToInt(), nil
}

// Estimate tries the call and looks at recent fees. The limit has a fifth and
// 20 000 gas to spare; the fee covers a doubling of the base fee, within the
// profile's bounds. When the gas coin of the sender does not cover value and
// fee, the estimate comes with onchain.ErrInsufficientFunds.
func (c *Client) Estimate(ctx context.Context, call onchain.Call) (onchain.Estimate, error) {
	var gas hexutil.Uint64
	if err := c.call(ctx, &gas, "eth_estimateGas", wireOf(call)); err != nil {
		return onchain.Estimate{}, err
	}
	var fees wireFees
	if err := c.call(ctx, &fees, "eth_feeHistory", hexutil.Uint64(10), "latest", []float64{50}); err != nil {
		return onchain.Estimate{}, err
	}
	native, err := c.NativeBalance(ctx, call.From)
	if err != nil {
		return onchain.Estimate{}, err
	}
	out := onchain.Estimate{Gas: margin(uint64(gas)), BaseFee: fees.base()}
	out.Fees = price(c.profile, out.BaseFee, fees.tip())
	if need := new(big.Int).Add(out.Cost(), value(call)); need.Cmp(native) > 0 {
		return out, fmt.Errorf("%w: %s has %v wei of %s, the call may need %v", onchain.ErrInsufficientFunds, call.From, native, c.profile.GasCoin, need)
	}
	return out, nil
}

// margin keeps a liar's number from overflowing.
func margin(gas uint64) uint64 { return min(gas, math.MaxInt32)*6/5 + 20_000 }

// base is the base fee of the block to come.
func (w wireFees) base() uint64 {
	if n := len(w.BaseFee); n > 0 {
		return uint64(w.BaseFee[n-1])
	}
	return 0
}

// tip is the highest median that recent blocks were paid.
func (w wireFees) tip() (top uint64) {
	for _, r := range w.Reward {
		for _, n := range r {
			top = max(top, uint64(n))
		}
	}
	return top
}

// price is twice the base fee and the tip, within the bounds of the profile.
// The tip is what others pay, but at least the profile's, and at most four
// times that or a tenth of the profile's limit, whichever is more: a single
// endpoint must not be able to drive it up.
func price(p onchain.Profile, base, tip uint64) onchain.Fees {
	tip = min(max(tip, p.Tip), max(4*p.Tip, p.MaxFee/10), p.MaxFee)
	if base > (p.MaxFee-tip)/2 {
		return onchain.Fees{MaxFee: p.MaxFee, Tip: tip}
	}
	return onchain.Fees{MaxFee: 2*base + tip, Tip: tip}
}

// Fund asks a development chain to give owner gas coin and GLM, and returns
// when it has them. Other networks refuse.
func (c *Client) Fund(ctx context.Context, owner onchain.Address) error {
	var ignored any
	err := c.call(ctx, &ignored, "emet_fund", common.Address(owner))
	var rejected *onchain.RejectedError
	if errors.As(err, &rejected) {
		return fmt.Errorf("%s gives nothing away over JSON-RPC: %w", c.profile.Network, err)
	}
	return err
}
