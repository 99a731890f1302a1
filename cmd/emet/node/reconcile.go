package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/emet-node/emet/adapters/effects/payments"
	"github.com/emet-node/emet/adapters/ledger"
	"github.com/emet-node/emet/domain/es"
	domain "github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/payment/wallet"
)

// Lost is what is known of the history that a frozen node does not have, and
// what is done about it.
type Lost struct {
	LogID    string // the name of the log
	Epoch    int64
	Findings []domain.Frozen
	Wallets  []LostWallet // of which the chain knows more
	// NewLogID is the name under which the log goes on; "" = it was not reconciled.
	NewLogID string
}

// LostWallet is what a chain knows of a wallet and the log does not.
type LostWallet struct {
	Address   string
	ChainID   uint64
	NextNonce uint64 // as the log has it
	Seen      uint64 // as the chain has it
	// Transfers count as paid from now on; Stuck are transactions whose nonce
	// one of the lost ones used up.
	Transfers []wallet.TransferLearned
	Stuck     []string

	since  uint64
	native money.Amount
	token  money.Amount
	block  uint64
}

// ErrNotFrozen says that there is nothing to reconcile.
var ErrNotFrozen = errors.New("this node is not frozen: nothing speaks against its log")

// Reconcile looks what a frozen node has lost. With a reason it goes on with
// what there is: what the chains know is written down, the log gets another
// name, under which nothing was signed yet, and the reason is kept. No node may
// run on the directory. All chains of wallets that are in use must answer.
func Reconcile(ctx context.Context, o Options, reason string) (lost Lost, err error) {
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return lost, err
	}
	if !HasData(o.Dir) {
		return lost, fmt.Errorf("%w: %s", ErrNoData, o.Dir)
	}
	l, err := OpenLedger(ctx, o)
	if err != nil {
		return lost, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	agg := newAggregates(l.Log)
	standing, err := agg.Watch.Standing(ctx)
	if err != nil {
		return lost, err
	}
	if len(standing.Findings) == 0 {
		return lost, ErrNotFrozen
	}
	lost = Lost{LogID: standing.LogID, Epoch: standing.Epoch, Findings: standing.Findings}
	c, err := openChains(o.Chains)
	if err != nil {
		return lost, err
	}
	defer c.Close()
	if lost.Wallets, err = lostWallets(ctx, l.Log, agg, c); err != nil || reason == "" {
		return lost, err
	}
	for _, w := range lost.Wallets {
		if err := w.learn(ctx, agg); err != nil {
			return lost, err
		}
	}
	if err := renew(ctx, l, standing, reason); err != nil {
		return lost, err
	}
	if standing, err = agg.Watch.Standing(ctx); err != nil {
		return lost, err
	}
	lost.NewLogID = standing.LogID
	return lost, retire(filepath.Join(o.Dir, "store"), standing)
}

// renew gives the log another name and an epoch more, so that nothing that it
// signs contradicts what the lost history signed.
func renew(ctx context.Context, l *Ledger, s domain.Standing, reason string) error {
	source, ok := l.Store.(domain.Source)
	if !ok {
		return fmt.Errorf("store %q: %w", l.Store.Caps().Name, domain.ErrUnprovable)
	}
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	name := hex.EncodeToString(id)
	before := s.LogID
	if before == "" {
		store := l.Store.LogID()
		before = hex.EncodeToString(store[:])
	}
	size, root := source.Root()
	m := es.Meta{Key: "log/reconciled/" + name, Actor: es.ActorOperator, Grade: es.GradeSelf}
	_, err := l.Log.Append(ctx, m, nil, es.Facts{Stream: domain.LogStream, Expected: s.Revision, Facts: []any{
		domain.Reconciled{At: time.Now().UTC().Truncate(time.Second), LogID: before, Reason: reason},
		domain.Opened{
			Engine: l.Store.Caps().Name, Epoch: s.Epoch + 1, LogID: name,
			Predecessor: &domain.Predecessor{LogID: before, Root: root.String(), Size: int64(size)}, //nolint:gosec // below 2^53
		},
	}})
	return err
}

// lostWallets holds all wallets that are in use against their chains.
func lostWallets(ctx context.Context, l *es.Log, agg *Aggregates, c *chains) (out []LostWallet, err error) {
	for r, err := range l.ReadAll(ctx, 0, es.Filter{StreamPrefixes: []string{wallet.Category + "-"}, Types: []string{"wallet.opened.v1"}}) {
		if err != nil {
			return nil, err
		}
		w, err := lostWallet(ctx, l, agg, c, r.Stream.Key())
		if err != nil {
			return nil, err
		}
		if w != nil {
			out = append(out, *w)
		}
	}
	return out, nil
}

// lostWallet is nil when the log knows all of a wallet that the chain does.
func lostWallet(ctx context.Context, l *es.Log, agg *Aggregates, c *chains, id string) (*LostWallet, error) {
	s, _, err := agg.Wallets.Load(ctx, id)
	if err != nil || !s.Observed {
		return nil, err
	}
	chain, err := c.Chain(s.ChainID)
	if err != nil {
		return nil, fmt.Errorf("what was paid from %s must be known before anything is paid again: %w", s.Address, err)
	}
	addr, err := onchain.ParseAddress(s.Address)
	if err != nil {
		return nil, err
	}
	w := &LostWallet{Address: s.Address, ChainID: s.ChainID, NextNonce: s.NextNonce}
	if w.Seen, err = chain.Nonce(ctx, addr, false); err != nil {
		return nil, fmt.Errorf("nonce of %s on %s: %w", s.Address, chain.Profile().Network, err)
	}
	if w.since, err = lastSeen(ctx, l, id); err != nil {
		return nil, err
	}
	if w.Transfers, err = payments.Unrecorded(ctx, l, chain, addr, w.since); err != nil {
		return nil, err
	}
	if w.Stuck, err = stuck(ctx, l, agg, chain, id, w.Seen, w.since); err != nil {
		return nil, err
	}
	if !s.Foreign && len(w.Transfers)+len(w.Stuck) == 0 && (!s.Used() || w.Seen <= s.NextNonce) {
		return nil, nil
	}
	funds, err := chain.Funds(ctx, addr)
	if err != nil {
		return nil, err
	}
	w.block, w.native, w.token = funds.At.Number, money.FromWei(funds.Native), money.FromWei(funds.Token)
	return w, nil
}

// lastSeen is the block after the last one at which the log still knew all of
// a wallet.
func lastSeen(ctx context.Context, l *es.Log, id string) (since uint64, err error) {
	var before, last uint64
	foreign := false
	for r, err := range l.ReadStream(ctx, es.StreamOf(wallet.Category, id), 0) {
		if err != nil {
			return 0, err
		}
		switch e := r.Data.(type) {
		case wallet.FundsObserved:
			if !foreign {
				before, last = last, e.Block
			}
		case wallet.ForeignNonceSeen: // it comes with the observation that showed it
			last, foreign = before, true
		case wallet.SpendingResumed:
			foreign = false
		}
	}
	return last + 1, nil
}

// stuckPause is between two looks for the receipt of a transaction.
const stuckPause = 3 * time.Second

// stuck are the transactions of a wallet whose nonce is used up while none of
// what was signed for it is in a block. What they were to pay is paid again, so
// a receipt that is not found is not enough: nodes forget old ones, and one may
// be behind the other that told the nonce. The token must know of no transfer
// by them either, and the chain must say so twice.
func stuck(ctx context.Context, l *es.Log, agg *Aggregates, chain onchain.Chain, walletID string, nonce, since uint64) ([]string, error) {
	lost, err := unseen(ctx, l, agg, chain, walletID, nonce)
	if err != nil || len(lost) == 0 {
		return nil, err
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-time.After(stuckPause):
	}
	if lost, err = unseen(ctx, l, agg, chain, walletID, nonce); err != nil {
		return nil, err
	}
	var out []string
	moved := make(map[string]bool)
	for i, s := range lost {
		if i == 0 {
			from, err := onchain.ParseAddress(s.Plan.Address)
			if err != nil {
				return nil, err
			}
			transfers, err := payments.Transfers(ctx, chain, from, since)
			if err != nil {
				return nil, err
			}
			for _, t := range transfers {
				moved[t.Tx.String()] = true
			}
		}
		if !slices.ContainsFunc(s.Versions, func(v tx.Signed) bool { return moved[v.Hash] }) {
			out = append(out, tx.StreamID(s.Plan.ChainID, s.Plan.Address, s.Plan.Nonce))
		}
	}
	return out, nil
}

// unseen are the transactions below a nonce of which no receipt is found.
func unseen(ctx context.Context, l *es.Log, agg *Aggregates, chain onchain.Chain, walletID string, nonce uint64) (out []tx.State, err error) {
	for r, err := range l.ReadAll(ctx, 0, es.Filter{StreamPrefixes: []string{tx.Category + "-" + walletID + "-"}, Types: []string{"tx.planned.v1"}}) {
		if err != nil {
			return nil, err
		}
		s, _, err := agg.Txs.Load(ctx, r.Stream.Key())
		if err != nil {
			return nil, err
		}
		if s.Final() || s.Inclusion.Hash != "" || s.Plan.Nonce >= nonce {
			continue
		}
		found := false
		for _, v := range s.Versions {
			hash, err := onchain.ParseHash(v.Hash)
			if err != nil {
				return nil, err
			}
			receipt, err := chain.Receipt(ctx, hash)
			if err != nil {
				return nil, err
			}
			found = found || receipt != nil
		}
		if !found {
			out = append(out, s)
		}
	}
	return out, nil
}

// learn writes down what the chain knows, and lets the wallet pay again from
// the nonce that the chain expects.
func (w LostWallet) learn(ctx context.Context, agg *Aggregates) error {
	id := wallet.StreamID(w.ChainID, w.Address)
	s, _, err := agg.Wallets.Load(ctx, id)
	if err != nil {
		return err
	}
	key := newKey()
	m := func(what string, actor es.Actor, grade es.Grade) es.Meta {
		return es.Meta{Key: key + "/" + what, Actor: actor, Identity: string(s.OwnerID), Grade: grade}
	}
	steps := []struct {
		meta es.Meta
		cmd  wallet.Command
	}{
		{m("observed", es.ActorChain, es.GradeChainIncluded), wallet.Observe{Block: w.block, Native: w.native, Nonce: w.Seen, Token: w.token, Unrecorded: !s.Foreign}},
		{m("learned", es.ActorChain, es.GradeChainIncluded), wallet.Learn{Transfers: w.Transfers}},
		{m("resumed", es.ActorOperator, es.GradeSelf), wallet.Resume{By: operator}},
	}
	for _, step := range steps {
		if _, err := agg.Wallets.Do(ctx, id, step.cmd, step.meta); err != nil {
			return err
		}
	}
	for _, id := range w.Stuck {
		why := "its nonce was used up by a transaction that the log has lost"
		if _, err := agg.Txs.Do(ctx, id, tx.Supersede{Why: why}, m("superseded/"+strings.TrimPrefix(id, tx.Category), es.ActorChain, es.GradeChainIncluded)); err != nil {
			return err
		}
	}
	return nil
}

// Standing is whether the node may act on its log.
func (l *Ledger) Standing(ctx context.Context) (domain.Standing, error) {
	return ledger.NewWatch(l.Log, nil).Standing(ctx)
}
