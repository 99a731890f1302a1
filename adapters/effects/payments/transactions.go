package payments

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"sync"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/tx"
)

func txOutcome(a effects.Attempt, c tx.Command) effects.Outcome {
	return effects.Outcome{Order: es.Order{Category: tx.Category, ID: a.Intent.Stream.Key(), Command: c}}
}

// signTx signs the transaction of a nonce. Its payload is fixed; only the fees
// are chosen here, and they are kept with the signed bytes.
func (e *Effects) signTx(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
	f := a.Intent.Data.(tx.SigningRequested)
	s, _, err := e.Txs.Load(ctx, a.Intent.Stream.Key())
	if err != nil {
		return effects.Outcome{}, err
	}
	if s.Final() {
		return txOutcome(a, tx.AnswerSigning{Code: tx.Rejected, Why: tx.ErrFinal.Error()}), nil
	}
	if err := e.free(ctx); err != nil {
		return effects.Outcome{}, err
	}
	chain, err := e.Chains.Chain(f.ChainID)
	if err != nil { // it may be configured again at the next start
		return effects.Outcome{}, soon(a, err)
	}
	call, err := callOf(s.Plan)
	if err != nil {
		return txOutcome(a, tx.AnswerSigning{Code: tx.Rejected, Why: err.Error()}), nil
	}
	est, err := chain.Estimate(ctx, call)
	if out, done := estimateFailed(a, err); done {
		return out, nil
	}
	if err != nil {
		return effects.Outcome{}, soon(a, err)
	}
	fees := est.Fees
	if f.Replaces != "" {
		old := s.Newest()
		bumped, ok := onchain.Fees{MaxFee: weiOf(old.MaxFee), Tip: weiOf(old.PriorityFee)}.Bump(chain.Profile().MaxFee)
		if !ok {
			return txOutcome(a, tx.AnswerSigning{Code: tx.Rejected, Why: "the highest fee that is allowed was offered already"}), nil
		}
		fees = onchain.Fees{MaxFee: max(fees.MaxFee, bumped.MaxFee), Tip: max(fees.Tip, bumped.Tip)}
	}
	unsigned, err := e.Chains.Build(chain.Profile(), call, s.Plan.Nonce, est.Gas, fees)
	if err != nil {
		return txOutcome(a, tx.AnswerSigning{Code: tx.Rejected, Why: err.Error()}), nil
	}
	sig, err := e.Signer.SignTransaction(ctx, s.Plan.OwnerID, unsigned.SigningHash())
	if ctx.Err() != nil {
		return effects.Outcome{}, ctx.Err() // the node stops; that says nothing of the key
	}
	if err != nil {
		code := tx.Rejected
		if e.Locked(err) {
			code = tx.Locked
		}
		return txOutcome(a, tx.AnswerSigning{Code: code, Why: err.Error()}), nil
	}
	raw, hash, err := unsigned.Assemble(sig)
	if err != nil {
		return txOutcome(a, tx.AnswerSigning{Code: tx.Rejected, Why: err.Error()}), nil
	}
	return txOutcome(a, tx.AnswerSigning{
		GasLimit: est.Gas, Hash: hash.String(), MaxFee: wei(fees.MaxFee), PriorityFee: wei(fees.Tip), Raw: raw,
	}), nil
}

// estimateFailed turns what an estimate says about the payload into an outcome.
func estimateFailed(a effects.Attempt, err error) (effects.Outcome, bool) {
	var reverts *onchain.RevertError
	switch {
	case errors.Is(err, onchain.ErrInsufficientFunds):
		return txOutcome(a, tx.AnswerSigning{Code: tx.NoGas, Why: err.Error()}), true
	case errors.As(err, &reverts):
		return txOutcome(a, tx.AnswerSigning{Code: tx.NoToken, Why: err.Error()}), true
	}
	return effects.Outcome{}, false
}

func callOf(p tx.Planned) (onchain.Call, error) {
	from, err := onchain.ParseAddress(p.Address)
	if err != nil {
		return onchain.Call{}, err
	}
	to, err := onchain.ParseAddress(p.To)
	if err != nil {
		return onchain.Call{}, err
	}
	data, err := hex.DecodeString(strings.TrimPrefix(p.Calldata, "0x"))
	return onchain.Call{Data: data, From: from, To: to, Value: p.Value.Wei()}, err
}

func wei(n uint64) money.Amount { return money.FromWei(new(big.Int).SetUint64(n)) }

func weiOf(a money.Amount) uint64 { return a.Wei().Uint64() }

// broadcast hands the newest signed bytes to the network. What it says is
// recorded; only a receipt tells what became of them.
func (e *Effects) broadcast(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
	f := a.Intent.Data.(tx.BroadcastRequested)
	s, _, err := e.Txs.Load(ctx, a.Intent.Stream.Key())
	if err != nil {
		return effects.Outcome{}, err
	}
	if err := e.free(ctx); err != nil && !s.Final() {
		return effects.Outcome{}, err
	}
	chain, err := e.Chains.Chain(f.ChainID)
	if err != nil {
		return effects.Outcome{}, err
	}
	result := "accepted"
	_, err = chain.Send(ctx, rawOf(s, f.Hash))
	switch {
	case err == nil, errors.Is(err, onchain.ErrAlreadyKnown):
	case errors.Is(err, onchain.ErrUnavailable), ctx.Err() != nil:
		return effects.Outcome{}, soon(a, err)
	default:
		result = err.Error()
	}
	return txOutcome(a, tx.AnswerBroadcast{Hash: f.Hash, Result: result, RPC: chain.Profile().Network}), nil
}

// soon asks for the next attempt within a minute: a chain that could not be
// reached comes back.
func soon(a effects.Attempt, err error) error {
	return &effects.RetryAfter{In: min(time.Duration(a.N)*time.Second, time.Minute), Err: err}
}

func rawOf(s tx.State, hash string) []byte {
	for _, v := range s.Versions {
		if v.Hash == hash {
			return v.Raw
		}
	}
	return s.Newest().Raw
}

// Watcher looks for the receipts of transactions that were sent, until they
// are final.
type Watcher struct {
	*Effects
	// Open lists the transactions that were planned and are not final.
	Open func(ctx context.Context) ([]string, error)
	// Every is the pause between looks at the chain; 0 = one second.
	Every time.Duration

	open   watched
	usedUp sync.Map // transactions whose nonce another one has used up
}

// Rebroadcast is how long a transaction may be unseen before its bytes are
// sent again.
const Rebroadcast = 30 * time.Second

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) error {
	return w.open.run(ctx, watch{
		log: w.Log, fact: "tx.broadcast.v1", open: w.Open, every: or(w.Every, time.Second), look: w.lookAt,
		failed: func(id string, err error) {
			w.Logger.Info("a transaction could not be looked at", "tx", id, "error", err)
		},
	})
}

func or(d, usual time.Duration) time.Duration {
	if d == 0 {
		return usual
	}
	return d
}

func (w *Watcher) lookAt(ctx context.Context, id string) (final bool, err error) {
	s, rev, err := w.Txs.Load(ctx, id)
	if err != nil || s.Final() {
		return s.Final(), err
	}
	if !s.Watching() {
		return false, nil
	}
	chain, err := w.Chains.Chain(s.Plan.ChainID)
	if err != nil {
		return false, err
	}
	if s.Inclusion.Hash != "" {
		return w.settle(ctx, id, rev, s, chain)
	}
	for _, v := range s.Versions {
		hash, err := onchain.ParseHash(v.Hash)
		if err != nil {
			return false, err
		}
		r, err := chain.Receipt(ctx, hash)
		if err != nil {
			return false, err
		}
		if r == nil {
			continue
		}
		// A receipt from a block that the chain does not have is old, or from a
		// node that is on a branch of its own.
		if where, err := blockAt(ctx, chain, r.BlockNumber, r.BlockHash.String()); err != nil || where == left {
			return false, err
		}
		if s, err = w.include(ctx, id, rev, *r); err != nil {
			return false, err
		}
		return w.settle(ctx, id, rev+1, s, chain)
	}
	return false, w.again(ctx, id)
}

// again sends bytes that the chain seems to have forgotten.
func (w *Watcher) again(ctx context.Context, id string) error {
	if !w.open.due(id, Rebroadcast) {
		return nil
	}
	if gone, err := w.gone(ctx, id); gone || err != nil {
		return err
	}
	_, err := w.Txs.Do(ctx, id, tx.RequestBroadcast{}, w.meta(ctx, id, fmt.Sprintf("again/%d", time.Now().UnixNano()), "tx.broadcast.v1", es.GradeSelf))
	return err
}

// look keys name the revision that was looked at: the same block may come and
// go and come again.
func look(what, block string, rev es.Revision) string {
	return fmt.Sprintf("%s/%s/%d", what, block, rev)
}

// meta says what a look at the chain follows from, and whose transaction it is
// about.
func (w *Watcher) meta(ctx context.Context, id, key, after string, grade es.Grade) es.Meta {
	m := es.Meta{Key: id + "/" + key, Actor: es.ActorChain, Grade: grade}
	if s, _, err := w.Txs.Load(ctx, id); err == nil {
		m.Identity = string(s.Plan.OwnerID)
	}
	return effects.Because(ctx, w.Log.Store, m, es.StreamOf(tx.Category, id), after)
}

func (w *Watcher) include(ctx context.Context, id string, rev es.Revision, r onchain.Receipt) (tx.State, error) {
	c := tx.Include{
		BlockHash: r.BlockHash.String(), BlockNumber: r.BlockNumber, Fee: money.FromWei(r.Fee()), GasUsed: r.GasUsed, Hash: r.TxHash.String(),
	}
	if r.Succeeded {
		c.Status = 1
	}
	for _, l := range r.Logs {
		entry := tx.Log{Address: l.Address.String(), Data: "0x" + hex.EncodeToString(l.Data), Index: l.Index}
		for _, t := range l.Topics {
			entry.Topics = append(entry.Topics, t.String())
		}
		c.Logs = append(c.Logs, entry)
	}
	return w.Txs.Do(ctx, id, c, w.meta(ctx, id, look("included", r.BlockHash.String(), rev), "tx.broadcast.v1", es.GradeChainIncluded))
}

// settle makes an inclusion final, or takes it back when its block left the chain.
func (w *Watcher) settle(ctx context.Context, id string, rev es.Revision, s tx.State, chain onchain.Chain) (bool, error) {
	at := s.Inclusion
	where, err := blockAt(ctx, chain, at.BlockNumber, at.BlockHash)
	if err != nil || where == unsettled {
		return false, err
	}
	if where == left {
		_, err := w.Txs.Do(ctx, id, tx.Orphan{BlockHash: at.BlockHash}, w.meta(ctx, id, look("orphaned", at.BlockHash, rev), "tx.included.v1", es.GradeChainIncluded))
		return false, err
	}
	s, err = w.Txs.Do(ctx, id, tx.Finalise{BlockHash: at.BlockHash}, w.meta(ctx, id, look("final", at.BlockHash, rev), "tx.included.v1", es.GradeChainFinal))
	return s.Final(), err
}

// whereabouts of a block.
type whereabouts int

const (
	unsettled whereabouts = iota // it may stay or go
	stays
	left
)

// blockAt says whether a block is final or left the chain. A node of the chain
// that is behind knows neither.
func blockAt(ctx context.Context, chain onchain.Chain, number uint64, hash string) (whereabouts, error) {
	final, err := chain.Finalised(ctx)
	if err != nil {
		return unsettled, err
	}
	block, err := chain.Block(ctx, number)
	switch {
	case err != nil:
		return unsettled, err
	case block == nil:
		return unsettled, nil
	case block.Hash.String() != hash:
		return left, nil
	case final.Number < number:
		return unsettled, nil
	}
	return stays, nil
}
