package fake

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/emet-node/emet/domain/payment/onchain"
)

// look is what every question does first: it may go wrong, else it sees the
// newest block.
func (c *Chain) look(ctx context.Context, see func(b *block)) error {
	if err := c.reach(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	see(c.top())
	return nil
}

// Head is the newest block.
func (c *Chain) Head(ctx context.Context) (h onchain.Head, err error) {
	err = c.look(ctx, func(b *block) { h = b.head })
	return h, err
}

// Finalised is the block Profile.FinalDepth below the head.
func (c *Chain) Finalised(ctx context.Context) (h onchain.Head, err error) {
	err = c.look(ctx, func(b *block) { h = c.blocks[b.head.Number-min(b.head.Number, c.profile.FinalDepth)].head })
	return h, err
}

// Block is the canonical block at that height, nil beyond the head.
func (c *Chain) Block(ctx context.Context, n uint64) (h *onchain.Head, err error) {
	err = c.look(ctx, func(b *block) {
		if n <= b.head.Number {
			found := c.blocks[n].head
			h = &found
		}
	})
	return h, err
}

// Funds are gas coin and GLM of owner.
func (c *Chain) Funds(ctx context.Context, owner onchain.Address) (f onchain.Funds, err error) {
	err = c.look(ctx, func(b *block) {
		f = onchain.Funds{At: b.head, Native: of(b.state.native, owner), Token: of(b.state.token, owner)}
	})
	return f, err
}

// TokenBalance is the GLM of owner.
func (c *Chain) TokenBalance(ctx context.Context, owner onchain.Address) (*big.Int, error) {
	f, err := c.Funds(ctx, owner)
	return f.Token, err
}

// NativeBalance is the gas coin of owner.
func (c *Chain) NativeBalance(ctx context.Context, owner onchain.Address) (*big.Int, error) {
	f, err := c.Funds(ctx, owner)
	return f.Native, err
}

// Allowance is the GLM of owner that spender may move.
func (c *Chain) Allowance(ctx context.Context, owner, spender onchain.Address) (n *big.Int, err error) {
	err = c.look(ctx, func(b *block) { n = of(b.state.allowed, [2]onchain.Address{owner, spender}) })
	return n, err
}

// Nonce counts the owner's transactions, with pending also those that wait.
func (c *Chain) Nonce(ctx context.Context, owner onchain.Address, pending bool) (n uint64, err error) {
	err = c.look(ctx, func(b *block) {
		n = b.state.nonces[owner]
		for pending {
			if _, pending = c.pool[owner][n]; pending {
				n++
			}
		}
	})
	return n, err
}

// Estimate tries the call on the newest state.
func (c *Chain) Estimate(ctx context.Context, call onchain.Call) (e onchain.Estimate, err error) {
	var native *big.Int
	var refused error
	err = c.look(ctx, func(b *block) {
		native = of(b.state.native, call.From)
		_, refused = b.state.clone().run(c.profile, call)
		tip := min(c.profile.Tip, c.profile.MaxFee)
		e = onchain.Estimate{Gas: 2 * gasUsed, BaseFee: c.baseFee, Fees: onchain.Fees{Tip: tip, MaxFee: min(2*c.baseFee+tip, c.profile.MaxFee)}}
	})
	if err != nil {
		return e, err
	}
	if refused != nil {
		return onchain.Estimate{}, revert(refused)
	}
	need := e.Cost()
	if call.Value != nil {
		need.Add(need, call.Value)
	}
	if need.Cmp(native) > 0 {
		return e, fmt.Errorf("%w: has %v wei, may need %v", onchain.ErrInsufficientFunds, native, need)
	}
	return e, nil
}

func revert(why error) error {
	e := &onchain.RevertError{Reason: why.Error()}
	if e.Reason == "ERC20: transfer amount exceeds balance" {
		return fmt.Errorf("%w: %w", onchain.ErrInsufficientToken, e)
	}
	return e
}

// Call answers balanceOf and allowance of the token, and tries all else.
func (c *Chain) Call(ctx context.Context, call onchain.Call) (out []byte, err error) {
	var refused error
	err = c.look(ctx, func(b *block) {
		word := func(n *big.Int) []byte { return n.FillBytes(make([]byte, 32)) }
		switch {
		case call.To == c.profile.Token && asks(call.Data, onchain.BalanceData(onchain.Address{})):
			out = word(of(b.state.token, onchain.Address(call.Data[16:36])))
		case call.To == c.profile.Token && asks(call.Data, onchain.AllowanceData(onchain.Address{}, onchain.Address{})):
			out = word(of(b.state.allowed, [2]onchain.Address{onchain.Address(call.Data[16:36]), onchain.Address(call.Data[48:68])}))
		default:
			_, refused = b.state.clone().run(c.profile, call)
		}
	})
	return out, errors.Join(err, orNil(refused))
}

func orNil(refused error) error {
	if refused == nil {
		return nil
	}
	return revert(refused)
}

// asks reports whether data is the same function as sample.
func asks(data, sample []byte) bool {
	return len(data) == len(sample) && string(data[:4]) == string(sample[:4])
}

// Receipt is what became of tx, nil when no block holds it.
func (c *Chain) Receipt(ctx context.Context, tx onchain.Hash) (r *onchain.Receipt, err error) {
	err = c.look(ctx, func(*block) {
		for _, b := range c.blocks {
			for _, found := range b.receipts {
				if found.TxHash == tx {
					copied := *found
					r = &copied
				}
			}
		}
		r = c.lie(tx, r)
	})
	return r, err
}

// Logs are events in a range of blocks.
func (c *Chain) Logs(ctx context.Context, q onchain.LogQuery) (out []onchain.FoundLog, err error) {
	err = c.look(ctx, func(top *block) {
		for n := q.From; n <= min(q.To, top.head.Number); n++ {
			for _, r := range c.blocks[n].receipts {
				for _, l := range r.Logs {
					if matches(q, l) {
						out = append(out, onchain.FoundLog{Block: r.BlockHash, Log: l, Tx: r.TxHash})
					}
				}
			}
		}
	})
	return out, err
}

func matches(q onchain.LogQuery, l onchain.Log) bool {
	if l.Address != q.Address || len(l.Topics) < len(q.Topics) {
		return false
	}
	for i, t := range q.Topics {
		if !t.IsZero() && t != l.Topics[i] {
			return false
		}
	}
	return true
}
