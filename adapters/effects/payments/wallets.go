package payments

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/ops"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/payment/wallet"
)

// free is an error that asks for another attempt while nothing may be paid.
func (e *Effects) free(ctx context.Context) error {
	if e.Held == nil {
		return nil
	}
	if err := e.Held(ctx); err != nil {
		return &effects.RetryAfter{In: time.Minute, Err: err}
	}
	return nil
}

// Observe asks the chain what an address holds and records it in its wallet,
// which it takes into use if need be. When the chain holds payments of the
// wallet that the log knows nothing of, the node is frozen.
func (e *Effects) Observe(ctx context.Context, owner identity.NodeID, platform pay.Platform, address string) error {
	chain, err := e.chainOf(platform)
	if err != nil {
		return err
	}
	id := wallet.StreamID(chain.Profile().ChainID, address)
	m := es.Meta{Key: "open/" + id, Actor: es.ActorChain, Identity: string(owner), Grade: es.GradeChainIncluded}
	s, err := e.Wallets.Do(ctx, id, wallet.Open{
		Address: address, By: effects.Own(), ChainID: chain.Profile().ChainID, OwnerID: owner, Platform: platform,
	}, m)
	if err != nil {
		return err
	}
	_, err = e.look(ctx, chain, s)
	return err
}

// look records what a wallet holds.
func (e *Effects) look(ctx context.Context, chain onchain.Chain, s wallet.State) (wallet.State, error) {
	addr, err := onchain.ParseAddress(s.Address)
	if err != nil {
		return s, err
	}
	funds, err := chain.Funds(ctx, addr)
	if err != nil {
		return s, fmt.Errorf("balance of %s on %s: %w", s.Address, chain.Profile().Network, err)
	}
	nonce, err := chain.Nonce(ctx, addr, false)
	if err != nil {
		return s, err
	}
	unrecorded, err := e.unrecorded(ctx, chain, s, addr, nonce)
	if err != nil {
		return s, err
	}
	return e.observe(ctx, s, wallet.Observe{
		Block: funds.At.Number, Native: money.FromWei(funds.Native), Nonce: nonce, Token: money.FromWei(funds.Token), Unrecorded: unrecorded,
	})
}

// observe records what a chain said, and freezes the node if the wallet paid
// without the log knowing.
func (e *Effects) observe(ctx context.Context, s wallet.State, o wallet.Observe) (wallet.State, error) {
	expected := s.NextNonce
	m := es.Meta{Actor: es.ActorChain, Identity: string(s.OwnerID), Grade: es.GradeChainIncluded}
	m.Key = fmt.Sprintf("observe/%d/%s/%s/%d", o.Block, o.Token.WeiString(), o.Native.WeiString(), o.Nonce)
	if o.Unrecorded {
		m.Key += "/unrecorded"
	}
	s, err := e.Wallets.Do(ctx, wallet.StreamID(s.ChainID, s.Address), o, m)
	if err == nil && s.Foreign && e.Freeze != nil {
		err = e.Freeze(ctx, ledger.Frozen{Kind: ledger.Spent, Address: s.Address, ChainID: s.ChainID, Expected: expected, Seen: s.ChainNonce()})
	}
	return s, err
}

// gone freezes the node when the nonce of a transaction was used up by another
// one: a newer copy of this log sent it. The chain must have said so twice.
func (w *Watcher) gone(ctx context.Context, id string) (bool, error) {
	s, _, err := w.Txs.Load(ctx, id)
	if err != nil {
		return false, err
	}
	chain, err := w.Chains.Chain(s.Plan.ChainID)
	if err != nil {
		return false, err
	}
	from, err := onchain.ParseAddress(s.Plan.Address)
	if err != nil {
		return false, err
	}
	nonce, err := chain.Nonce(ctx, from, false)
	if err != nil || nonce <= s.Plan.Nonce {
		w.usedUp.Delete(id)
		return false, err
	}
	for _, v := range s.Versions { // it may be in a block since
		hash, err := onchain.ParseHash(v.Hash)
		if err != nil {
			return false, err
		}
		if r, err := chain.Receipt(ctx, hash); r != nil || err != nil {
			return r != nil, err
		}
	}
	if _, before := w.usedUp.LoadOrStore(id, true); !before {
		return false, nil
	}
	wallets, _, err := w.Wallets.Load(ctx, wallet.StreamID(s.Plan.ChainID, s.Plan.Address))
	if err != nil || wallets.Suspended != "" {
		return true, err
	}
	funds, err := chain.Funds(ctx, from)
	if err != nil {
		return true, err
	}
	_, err = w.observe(ctx, wallets, wallet.Observe{
		Block: funds.At.Number, Native: money.FromWei(funds.Native), Nonce: nonce, Token: money.FromWei(funds.Token), Unrecorded: true,
	})
	return true, err
}

// unrecorded says whether the wallet paid without the log knowing. A wallet
// that gave out nonces here is used by nobody else; one that did not may have
// sent anything but tokens.
func (e *Effects) unrecorded(ctx context.Context, chain onchain.Chain, s wallet.State, addr onchain.Address, nonce uint64) (bool, error) {
	switch {
	case s.Suspended != "" || !s.Observed:
		return false, nil
	case s.Used():
		return nonce > s.NextNonce, nil
	case nonce <= s.ChainNonce():
		return false, nil
	}
	found, err := Unrecorded(ctx, e.Log, chain, addr, s.Block+1)
	return len(found) > 0, err
}

// logSpan is how many blocks a chain's node is asked about at once.
const logSpan = 5000

// Unrecorded lists the transfers of the network's token by an address from a
// block on that no transaction signed in the log made, oldest first.
func Unrecorded(ctx context.Context, l *es.Log, chain onchain.Chain, from onchain.Address, since uint64) ([]wallet.TransferLearned, error) {
	p := chain.Profile()
	ours, err := signed(ctx, l, p.ChainID, from)
	if err != nil {
		return nil, err
	}
	all, err := Transfers(ctx, chain, from, since)
	if err != nil {
		return nil, err
	}
	var out []wallet.TransferLearned
	for _, f := range all {
		to, ok := payeeOf(f.Log)
		if !ok || ours[f.Tx.String()] {
			continue
		}
		block, err := blockOf(ctx, chain, f.Tx)
		if err != nil {
			return nil, err
		}
		out = append(out, wallet.TransferLearned{
			Address: strings.ToLower(from.String()), Amount: money.FromWei(new(big.Int).SetBytes(f.Log.Data)), Block: block, ChainID: p.ChainID,
			Index: f.Log.Index, PayeeAddr: strings.ToLower(to.String()), Platform: pay.Platform(p.Platform()), TxHash: f.Tx.String(),
		})
	}
	return out, nil
}

// Transfers lists what the network's token says that an address paid from a
// block on, oldest first.
func Transfers(ctx context.Context, chain onchain.Chain, from onchain.Address, since uint64) (all []onchain.FoundLog, err error) {
	p := chain.Profile()
	head, err := chain.Head(ctx)
	if err != nil {
		return nil, err
	}
	for ; since <= head.Number; since += logSpan {
		found, err := chain.Logs(ctx, onchain.LogQuery{
			Address: p.Token, From: since, To: min(since+logSpan-1, head.Number),
			Topics: []onchain.Hash{onchain.TransferTopic(), onchain.AddressTopic(from)},
		})
		if err != nil {
			return nil, fmt.Errorf("transfers of %s on %s: %w", from, p.Network, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

func payeeOf(l onchain.Log) (onchain.Address, bool) {
	if len(l.Topics) != 3 || len(l.Data) != 32 {
		return onchain.Address{}, false
	}
	return l.Topics[2].Address()
}

func blockOf(ctx context.Context, chain onchain.Chain, hash onchain.Hash) (uint64, error) {
	r, err := chain.Receipt(ctx, hash)
	if err == nil && r == nil {
		err = fmt.Errorf("transaction %s left the chain: %w", hash, onchain.ErrUnavailable)
	}
	if err != nil {
		return 0, err
	}
	return r.BlockNumber, nil
}

// signed are the hashes of all transactions of a wallet that were signed here.
func signed(ctx context.Context, l *es.Log, chainID uint64, from onchain.Address) (map[string]bool, error) {
	out := make(map[string]bool)
	prefix := tx.Category + "-" + wallet.StreamID(chainID, from.String()) + "-"
	for r, err := range l.ReadAll(ctx, 0, es.Filter{StreamPrefixes: []string{prefix}, Types: []string{"tx.signed.v1"}}) {
		if err != nil {
			return nil, err
		}
		if s, ok := r.Data.(tx.Signed); ok {
			out[s.Hash] = true
		}
	}
	return out, nil
}

// Compared gives out nonces only of wallets that were held against the chain
// a moment ago: a copy of an old log would pay once more what was paid. What a
// contract refuses gets none: nonces are used in order, and a payee with an
// address that cannot be paid would hold up everybody else.
type Compared struct {
	effects.Handler // of ops
	*Effects
}

// How long a chain is waited for before a nonce is refused; the next run of
// the cycle asks again.
const (
	comparedFor  = time.Minute // a machine may go back while the process runs
	compareTries = 3
	comparePause = 2 * time.Second
	silentFor    = 10 * time.Second // others are not kept waiting for the same silence
)

// compared is what came of holding a wallet against its chain.
type compared struct {
	at     time.Time
	silent error // nil = it was compared
}

// silence is what a chain failed with. When it did not answer in time that is no
// deadline of whoever asked, who would have it asked again at once, with
// everything else waiting behind it.
type silence struct{ error }

func (s silence) Is(target error) bool { return target == onchain.ErrUnavailable }

// Handle implements effects.Handler.
func (c Compared) Handle(ctx context.Context, id string, cmd any, m es.Meta) error {
	if r, ok := cmd.(ops.ReserveNonce); ok {
		if err := c.compare(ctx, wallet.StreamID(r.ChainID, r.Address)); err != nil {
			return err
		}
		if err := c.try(ctx, r); err != nil {
			return err
		}
	}
	return c.Handler.Handle(ctx, id, cmd, m)
}

// try fails when a contract refuses the call, whatever the wallet holds. What
// only needs money, or a chain that answers, waits for it with its nonce.
func (e *Effects) try(ctx context.Context, r ops.ReserveNonce) error {
	chain, err := e.Chains.Chain(r.ChainID)
	if err != nil {
		return err
	}
	call, err := callOf(tx.Planned{Address: r.Address, Calldata: r.Calldata, To: r.To, Value: r.Value})
	if err != nil {
		return err
	}
	var refuses *onchain.RevertError
	if _, err := chain.Estimate(ctx, call); errors.As(err, &refuses) && !errors.Is(err, onchain.ErrInsufficientToken) {
		return fmt.Errorf("order %s: it gets no nonce and is tried again at the next run: %w", r.OrderID, err)
	}
	return nil
}

func (e *Effects) compare(ctx context.Context, id string) (err error) {
	if known, ok := e.compared.Load(id); ok {
		c := known.(compared) //nolint:forcetypeassert // nothing else is stored
		if age := time.Since(c.at); age < silentFor || c.silent == nil && age < comparedFor {
			return c.silent
		}
	}
	for try := range compareTries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(comparePause):
			}
		}
		if err = e.compareOnce(ctx, id); err == nil {
			e.compared.Store(id, compared{at: time.Now()})
			return nil
		}
	}
	err = fmt.Errorf("nothing is paid before the chain was asked what it knows of the wallet, which is tried again at the next run: %w", err)
	if errors.Is(err, onchain.ErrUnavailable) && ctx.Err() == nil {
		err = silence{err}
		e.compared.Store(id, compared{at: time.Now(), silent: err})
	}
	return err
}

func (e *Effects) compareOnce(ctx context.Context, id string) error {
	s, _, err := e.Wallets.Load(ctx, id)
	if err != nil || s.Address == "" {
		return err // the rules refuse it
	}
	chain, err := e.Chains.Chain(s.ChainID)
	if err != nil {
		return err
	}
	_, err = e.look(ctx, chain, s)
	return err
}
