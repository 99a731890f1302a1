package fake

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"sync"
	"time"

	"github.com/emet-node/emet/adapters/chain/evm"
	"github.com/emet-node/emet/domain/payment/onchain"
)

// start is when the first block was made.
var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// gasUsed is what every transaction takes; only that it is paid matters here.
const gasUsed = 60_000

// block is a head, what is in it, and the state after it.
type block struct {
	head     onchain.Head
	receipts []*onchain.Receipt
	state    *state
	txs      []transaction
}

type transaction struct {
	evm.Signed
	raw []byte
}

// Chain is a network. The zero value is not usable, see [New].
type Chain struct {
	faultMu sync.Mutex
	faults  Faults

	mu      sync.Mutex
	auto    bool
	baseFee uint64
	blocks  []block // [0] is the genesis
	forks   uint64  // so that a block mined again has another hash
	pool    map[onchain.Address]map[uint64]transaction
	profile onchain.Profile
}

var _ onchain.Chain = (*Chain)(nil)

// New is an empty chain for p. With auto it makes a block for each
// transaction; otherwise [Chain.Mine] does.
func New(p onchain.Profile, auto bool) *Chain {
	c := &Chain{profile: p, auto: auto, baseFee: 1_000_000_000, pool: map[onchain.Address]map[uint64]transaction{}}
	c.blocks = []block{{head: onchain.Head{Hash: c.name(0, onchain.Hash{}, nil), Time: start}, state: newState()}}
	return c
}

// name makes the hash of a block.
func (c *Chain) name(number uint64, parent onchain.Hash, txs []transaction) onchain.Hash {
	b := binary.BigEndian.AppendUint64(nil, c.profile.ChainID)
	b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, number), c.forks)
	b = append(b, parent[:]...)
	for _, t := range txs {
		b = append(b, t.Hash[:]...)
	}
	return onchain.Keccak256(b)
}

func (c *Chain) top() *block { return &c.blocks[len(c.blocks)-1] }

// Profile is the network that the chain plays.
func (c *Chain) Profile() onchain.Profile { return c.profile }

// Give adds to an account, in wei of gas coin and GLM, by a block of its own.
func (c *Chain) Give(to onchain.Address, native, token *big.Int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.top().state.clone()
	add(s.native, to, native)
	add(s.token, to, token)
	c.push(block{state: s})
}

// Mine makes one block of all transactions that fit, or an empty one.
func (c *Chain) Mine() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.mine()
}

func (c *Chain) mine() {
	b := block{state: c.top().state.clone()}
	for again := true; again; {
		again = false
		for _, from := range c.senders() {
			waiting := c.pool[from]
			if t, ok := waiting[b.state.nonces[from]]; ok && c.affordable(b.state, t) && t.Fees.MaxFee >= c.baseFee {
				delete(waiting, t.Nonce)
				b.txs = append(b.txs, t)
				again = true
				b.state = c.execute(&b, t)
			}
		}
	}
	c.push(b)
}

// senders are in order, so that the same transactions make the same block.
func (c *Chain) senders() []onchain.Address {
	return slices.SortedFunc(maps.Keys(c.pool), func(a, b onchain.Address) int { return bytes.Compare(a[:], b[:]) })
}

// execute runs t on the state of b, adds its receipt to b, and returns the
// state after it.
func (c *Chain) execute(b *block, t transaction) *state {
	from := t.Call.From
	price := min(t.Fees.MaxFee, c.baseFee+t.Fees.Tip)
	r := &onchain.Receipt{From: from, EffectiveGasPrice: price, GasUsed: gasUsed, TxHash: t.Hash}
	paid := b.state.clone()
	sub(paid.native, from, r.Fee())
	paid.nonces[from]++
	after := paid.clone()
	logs, err := after.run(c.profile, t.Call)
	if c.strikes(func(f *Faults) *int { return &f.Revert }) {
		err = fmt.Errorf("reverted by the test")
	}
	b.receipts = append(b.receipts, r)
	if err != nil {
		return paid
	}
	r.Succeeded, r.Logs = true, logs
	return after
}

// push makes b the head.
func (c *Chain) push(b block) {
	parent := c.top().head
	n := parent.Number + 1
	b.head = onchain.Head{
		Hash: c.name(n, parent.Hash, b.txs), Number: n, ParentHash: parent.Hash, Time: start.Add(time.Duration(n) * time.Second),
	}
	index := uint64(0)
	for _, r := range b.receipts {
		r.BlockHash, r.BlockNumber = b.head.Hash, n
		for i := range r.Logs {
			r.Logs[i].Index, index = index, index+1
		}
	}
	c.blocks = append(c.blocks, b)
}

func (c *Chain) affordable(s *state, t transaction) bool {
	need := new(big.Int).Mul(new(big.Int).SetUint64(t.Gas), new(big.Int).SetUint64(t.Fees.MaxFee))
	if t.Call.Value != nil {
		need.Add(need, t.Call.Value)
	}
	return of(s.native, t.Call.From).Cmp(need) >= 0
}

// Send takes a transaction into the pool, by the rules of real nodes.
func (c *Chain) Send(ctx context.Context, raw []byte) (onchain.Hash, error) {
	signed, err := evm.Decode(raw)
	if err != nil {
		return onchain.Hash{}, err
	}
	if signed.ChainID != c.profile.ChainID {
		return signed.Hash, &onchain.RejectedError{Text: "invalid chain id for signer"}
	}
	if err := c.reach(ctx); err != nil {
		return signed.Hash, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.strikes(func(f *Faults) *int { return &f.Drop }) {
		return signed.Hash, nil
	}
	if err := c.admit(transaction{signed, raw}); err != nil {
		return signed.Hash, err
	}
	if c.auto {
		c.mine()
	}
	if c.strikes(func(f *Faults) *int { return &f.Mute }) {
		return signed.Hash, fmt.Errorf("%w: the answer was lost", onchain.ErrUnavailable)
	}
	return signed.Hash, nil
}

func (c *Chain) admit(t transaction) error {
	from, s := t.Call.From, c.top().state
	old, taken := c.pool[from][t.Nonce]
	switch {
	case taken && old.Hash == t.Hash:
		return onchain.ErrAlreadyKnown
	case t.Nonce < s.nonces[from]:
		return fmt.Errorf("%w: next nonce %d, tx nonce %d", onchain.ErrNonceTooLow, s.nonces[from], t.Nonce)
	case taken && (t.Fees.MaxFee < old.Fees.MaxFee+old.Fees.MaxFee/10 || t.Fees.Tip < old.Fees.Tip+old.Fees.Tip/10):
		return fmt.Errorf("%w: replacement", onchain.ErrUnderpriced)
	case !c.affordable(s, t):
		return fmt.Errorf("%w: balance %v", onchain.ErrInsufficientFunds, of(s.native, from))
	}
	if c.pool[from] == nil {
		c.pool[from] = map[uint64]transaction{}
	}
	c.pool[from][t.Nonce] = t
	return nil
}
