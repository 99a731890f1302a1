package fake

import (
	"errors"
	"maps"
	"math/big"

	"github.com/emet-node/emet/domain/payment/onchain"
)

// state is what all accounts own after a block.
type state struct {
	native, token map[onchain.Address]*big.Int
	allowed       map[[2]onchain.Address]*big.Int // owner, spender
	nonces        map[onchain.Address]uint64
}

func newState() *state {
	return &state{
		native: map[onchain.Address]*big.Int{}, token: map[onchain.Address]*big.Int{},
		allowed: map[[2]onchain.Address]*big.Int{}, nonces: map[onchain.Address]uint64{},
	}
}

// clone copies the maps; amounts are replaced, never changed in place.
func (s *state) clone() *state {
	return &state{
		native: maps.Clone(s.native), token: maps.Clone(s.token),
		allowed: maps.Clone(s.allowed), nonces: maps.Clone(s.nonces),
	}
}

func of[K comparable](m map[K]*big.Int, key K) *big.Int {
	if n := m[key]; n != nil {
		return n
	}
	return new(big.Int)
}

func add[K comparable](m map[K]*big.Int, key K, n *big.Int) {
	m[key] = new(big.Int).Add(of(m, key), n)
}

func sub[K comparable](m map[K]*big.Int, key K, n *big.Int) {
	m[key] = new(big.Int).Sub(of(m, key), n)
}

// Limits of the faucet, in wei of GLM.
var (
	ether     = big.NewInt(1_000_000_000_000_000_000)
	mintLimit = new(big.Int).Mul(big.NewInt(400), ether)
	mintGift  = new(big.Int).Mul(big.NewInt(1000), ether)
)

// run executes a call. On an error it may have changed s, which the caller
// then throws away, as a revert does.
func (s *state) run(p onchain.Profile, c onchain.Call) ([]onchain.Log, error) {
	if v := c.Value; v != nil && v.Sign() > 0 {
		sub(s.native, c.From, v)
		add(s.native, c.To, v)
	}
	switch {
	case len(c.Data) == 0:
		return nil, nil
	case c.To == p.Faucet && string(c.Data) == string(onchain.MintData()):
		if of(s.token, c.From).Cmp(mintLimit) > 0 {
			return nil, errors.New("Cannot acquire more funds") //nolint:staticcheck // the contract says it so
		}
		return []onchain.Log{s.credit(p, onchain.Address{}, c.From, mintGift)}, nil
	case c.To == p.Token && isApprove(c.Data):
		spender, amount := argsOf(c.Data)
		s.allowed[[2]onchain.Address{c.From, spender}] = amount
		return nil, nil
	}
	payments, err := onchain.Payments(p, c.To, c.Data)
	if err != nil {
		return nil, errors.New("the contract knows no such call")
	}
	return s.pay(p, c, payments)
}

func (s *state) pay(p onchain.Profile, c onchain.Call, payments []onchain.Payment) (logs []onchain.Log, err error) {
	for _, one := range payments {
		if c.To != p.Token {
			key := [2]onchain.Address{c.From, c.To}
			if of(s.allowed, key).Cmp(one.Amount) < 0 {
				return nil, errors.New("ERC20: transfer amount exceeds allowance")
			}
			sub(s.allowed, key, one.Amount)
		}
		if one.To.IsZero() {
			return nil, errors.New("ERC20: transfer to the zero address")
		}
		if of(s.token, c.From).Cmp(one.Amount) < 0 {
			return nil, errors.New("ERC20: transfer amount exceeds balance")
		}
		sub(s.token, c.From, one.Amount)
		logs = append(logs, s.credit(p, c.From, one.To, one.Amount))
	}
	return logs, nil
}

// credit adds to a balance and says what the token says then.
func (s *state) credit(p onchain.Profile, from, to onchain.Address, amount *big.Int) onchain.Log {
	add(s.token, to, amount)
	return onchain.Log{
		Address: p.Token, Data: amount.FillBytes(make([]byte, 32)),
		Topics: []onchain.Hash{onchain.TransferTopic(), onchain.AddressTopic(from), onchain.AddressTopic(to)},
	}
}

func isApprove(data []byte) bool {
	want, err := onchain.ApproveData(onchain.Address{}, new(big.Int))
	return err == nil && len(data) == 68 && string(data[:4]) == string(want[:4])
}

func argsOf(data []byte) (onchain.Address, *big.Int) {
	return onchain.Address(data[16:36]), new(big.Int).SetBytes(data[36:68])
}
