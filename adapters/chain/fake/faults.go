package fake

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/emet-node/emet/domain/payment/onchain"
)

// Faults are what goes wrong next. Numbers count down as it happens.
type Faults struct {
	Silent int // so many questions stay unanswered; negative: all
	Drop   int // so many transactions are accepted and forgotten
	Mute   int // so many transactions are taken, but the answer is lost
	Revert int // so many transactions are mined and fail
	// Lie changes or invents the receipt of a transaction; it gets nil when
	// there is none. It must not ask the chain.
	Lie func(tx onchain.Hash, r *onchain.Receipt) *onchain.Receipt
}

// Disturb changes what goes wrong from now on.
func (c *Chain) Disturb(change func(f *Faults)) {
	c.faultMu.Lock()
	defer c.faultMu.Unlock()
	change(&c.faults)
}

// strikes reports whether a counted fault happens now.
func (c *Chain) strikes(count func(f *Faults) *int) (hit bool) {
	c.Disturb(func(f *Faults) {
		n := count(f)
		hit = *n != 0
		*n = max(*n-1, min(*n, 0)) // negative stays
	})
	return hit
}

func (c *Chain) lie(tx onchain.Hash, r *onchain.Receipt) *onchain.Receipt {
	var lie func(onchain.Hash, *onchain.Receipt) *onchain.Receipt
	c.Disturb(func(f *Faults) { lie = f.Lie })
	if lie == nil {
		return r
	}
	return lie(tx, r)
}

// reach fails when the chain is silent or the caller has no time left.
func (c *Chain) reach(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", onchain.ErrUnavailable, err)
	}
	if c.strikes(func(f *Faults) *int { return &f.Silent }) {
		return fmt.Errorf("%w: no answer", onchain.ErrUnavailable)
	}
	return nil
}

// Reorganise takes the newest depth blocks back and makes an empty one
// instead. Their transactions wait again, or, with drop, are forgotten. What
// was given by [Chain.Give] in these blocks is gone.
func (c *Chain) Reorganise(depth uint64, drop bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	keep := uint64(len(c.blocks)) - min(depth, uint64(len(c.blocks)-1))
	gone := slices.Clone(c.blocks[keep:])
	c.blocks = c.blocks[:keep:keep]
	c.forks++
	if !drop {
		for _, b := range gone {
			c.requeue(b.txs)
		}
	}
	c.push(block{state: c.top().state.clone()})
	if c.auto && !drop {
		c.mine()
	}
}

func (c *Chain) requeue(txs []transaction) {
	for _, t := range txs {
		if c.pool[t.Call.From] == nil {
			c.pool[t.Call.From] = map[uint64]transaction{}
		}
		c.pool[t.Call.From][t.Nonce] = t
	}
}

// Forget empties the pool.
func (c *Chain) Forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pool = map[onchain.Address]map[uint64]transaction{}
}

// SetBaseFee sets what gas costs from now on, in wei. Transactions that offer
// less wait.
func (c *Chain) SetBaseFee(wei uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.baseFee = wei
}

// Pending are the hashes of the transactions that wait, in no order.
func (c *Chain) Pending() (out []onchain.Hash) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, waiting := range c.pool {
		for t := range maps.Values(waiting) {
			out = append(out, t.Hash)
		}
	}
	return out
}
