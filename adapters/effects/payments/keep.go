package payments

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/order"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/payment/tx"
)

// ProofKeeper fetches the proof of each transfer when its block is final, and
// keeps it, so that the payment can be proved when the chain cannot be asked
// any more. What is final already when it starts, as after an upgrade, it makes
// up for one by one, the newest first, and what is new goes before. It does its best:
// nothing waits for it, a proof that cannot be had is given up until the next
// start, and the rules take each one once.
type ProofKeeper struct {
	*Effects
	// Inclusion asks a chain for the proof of a transaction, nil = no block
	// holds it now.
	Inclusion func(ctx context.Context, chainID uint64, tx onchain.Hash) (*onchain.Inclusion, error)
	// Put keeps a proof for good and returns its address and size in bytes. The
	// same proof has the same address.
	Put func(onchain.Inclusion) (blob string, size int64, err error)
	// Sent and Received list the transactions and the payments that are final
	// and whose proof is not kept, oldest first. Adopted lists the orders with
	// transfers that the log had lost and learned from the chain; nil = none.
	Sent, Received, Adopted func(context.Context) ([]string, error)
	// Every is the time between looks, and between two proofs that are made up
	// for; 0 = one second.
	Every time.Duration
}

const (
	proofTries = 64               // which take two weeks
	proofLimit = 30 * time.Second // for one of them
	proofRest  = 6 * time.Hour    // at most, between two of them
	proofCare  = 10               // times longer waits who made up for one in vain
)

// afterTry is the time between the nth try, from 1, and the next: 2, 4, 8 … s.
func afterTry(n int) time.Duration {
	if n > 14 {
		return proofRest
	}
	return min(time.Second<<n, proofRest)
}

var errNoProof = errors.New("no block holds the transaction now")

// Run keeps proofs until ctx ends.
func (k *ProofKeeper) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lists := []*proofs{
		{ProofKeeper: k, fact: "tx.finalised.v1", open: k.Sent, keep: k.keepSent},
		{ProofKeeper: k, fact: "payment.finalised.v1", open: k.Received, keep: k.keepReceived},
	}
	if k.Adopted != nil {
		lists = append(lists, &proofs{ProofKeeper: k, fact: "order.transfer_adopted.v1", open: k.Adopted, keep: k.keepAdopted})
	}
	failed := make([]error, len(lists))
	var wg sync.WaitGroup
	for i, p := range lists {
		wg.Go(func() {
			defer cancel()
			failed[i] = p.run(ctx)
		})
	}
	wg.Wait()
	return errors.Join(failed...)
}

// proofs are those of the streams of one kind.
type proofs struct {
	*ProofKeeper
	fact string // after which a proof is kept
	open func(context.Context) ([]string, error)
	keep func(ctx context.Context, id string) error

	watched watched
	tries   map[string]tries
	found   chan []string // by the start
}

type tries struct {
	n    int
	next time.Time
}

func (p *proofs) run(ctx context.Context) error {
	p.tries, p.found = make(map[string]tries), make(chan []string, 1)
	ctx, cancel := context.WithCancel(ctx)
	var behind sync.WaitGroup
	defer behind.Wait()
	defer cancel()
	behind.Go(func() { p.makeUp(ctx) })
	return p.watched.run(ctx, watch{
		log: p.Log, fact: p.fact, open: p.find, every: or(p.Every, time.Second), look: p.lookAt, failed: p.tell,
	})
}

func (p *proofs) tell(id string, err error) {
	p.Logger.Info("the proof of a payment is not kept yet", "after", p.fact, "id", id, "error", err)
}

// find hands what a start finds to makeUp: nothing of it is watched.
func (p *proofs) find(ctx context.Context) ([]string, error) {
	ids, err := p.open(ctx)
	if err == nil {
		p.found <- ids
	}
	return nil, err
}

// makeUp keeps the proofs of long ago, one at a time: their number is that of
// all payments there ever were. What failed comes again when all others had
// their turn, so that an old transaction which nobody can prove any more, or a chain that
// is away, is in nobody's way.
func (p *proofs) makeUp(ctx context.Context) {
	var ids []string
	select {
	case ids = <-p.found:
	case <-ctx.Done():
		return
	}
	slices.Reverse(ids)
	for turn := 1; len(ids) > 0; turn++ {
		left, err := p.turn(ctx, ids)
		if ctx.Err() != nil {
			return
		}
		if turn == proofTries && err != nil {
			err = givenUp(err)
		}
		p.Logger.Info("proofs of earlier payments are kept", "after", p.fact, "kept", len(ids)-len(left), "left", len(left), "error", err)
		if ids = left; turn == proofTries || !pause(ctx, afterTry(turn)) {
			return
		}
	}
}

// turn tries each proof once and returns those that cannot be had now, with
// what was in the way of the last one.
func (p *proofs) turn(ctx context.Context, ids []string) (left []string, failed error) {
	for _, id := range ids {
		wait := or(p.Every, time.Second)
		if err := p.keepOnce(ctx, id); err != nil {
			left, failed, wait = append(left, id), err, wait*proofCare
		}
		if !pause(ctx, wait) {
			return left, ctx.Err()
		}
	}
	return left, failed
}

// pause waits, and says whether ctx goes on.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func (p *proofs) keepOnce(ctx context.Context, id string) error {
	limited, cancel := context.WithTimeout(ctx, proofLimit)
	defer cancel()
	return p.keep(limited, id)
}

func givenUp(err error) error {
	return fmt.Errorf("given up until the next start; evidence create asks the chain itself: %w", err)
}

func (p *proofs) lookAt(ctx context.Context, id string) (done bool, err error) {
	t := p.tries[id]
	if time.Now().Before(t.next) {
		return false, nil
	}
	err = p.keepOnce(ctx, id)
	if t.n++; err == nil || t.n == proofTries {
		delete(p.tries, id)
		if err != nil {
			err = givenUp(err)
		}
		return true, err
	}
	t.next = time.Now().Add(afterTry(t.n))
	p.tries[id] = t
	return false, err
}

// keepSent keeps the proof of a transaction that was sent from here.
func (k *ProofKeeper) keepSent(ctx context.Context, id string) error {
	s, _, err := k.Txs.Load(ctx, id)
	if err != nil || s.Phase != tx.PhaseFinalised || s.Proof.Blob != "" {
		return err
	}
	at := s.Inclusion
	blob, size, err := k.fetch(ctx, at.ChainID, at.Hash, at.BlockHash)
	if err != nil {
		return err
	}
	m := es.Meta{Key: id + "/proof/" + at.BlockHash, Actor: es.ActorChain, Identity: string(s.Plan.OwnerID), Grade: es.GradeChainFinal}
	m = effects.Because(ctx, k.Log.Store, m, es.StreamOf(tx.Category, id), "tx.finalised.v1")
	_, err = k.Txs.Do(ctx, id, tx.KeepProof{Blob: blob, BlockHash: at.BlockHash, Size: size}, m)
	return err
}

// keepReceived keeps the proof of the transfer of a payment that came here.
func (k *ProofKeeper) keepReceived(ctx context.Context, id string) error {
	s, _, err := k.Payments.Load(ctx, id)
	if err != nil || s.Claim.Phase != payment.PhaseFinalised || s.Claim.Kept.Blob != "" {
		return err
	}
	claimed, proof := s.Claim.Claimed, s.Claim.Proof
	platform, err := onchain.ParsePlatform(string(claimed.Platform))
	if err != nil {
		return err
	}
	blob, size, err := k.fetch(ctx, platform.ChainID, proof.TxHash, proof.BlockHash)
	if err != nil {
		return err
	}
	m := es.Meta{
		Key: id + "/proof/" + proof.BlockHash, Correlation: claimed.PaymentID, Actor: es.ActorChain, Identity: string(claimed.PayeeID), Grade: es.GradeChainFinal,
	}
	m = effects.Because(ctx, k.Log.Store, m, es.StreamOf(payment.Category, id), "payment.finalised.v1")
	_, err = k.Payments.Do(ctx, id, payment.KeepProof{Blob: blob, BlockHash: proof.BlockHash, Size: size}, m)
	return err
}

var (
	errNotSigned = errors.New("the payment that the transfer carries is not signed yet")
	errNotFinal  = errors.New("the block of the transfer is not final yet")
)

// keepAdopted keeps the proofs of the transfers which carry intents of an order
// although this log has not sent them: no transaction here has their proof.
func (k *ProofKeeper) keepAdopted(ctx context.Context, id string) error {
	var opened order.Opened
	intents := make(map[string]order.IntentRecorded)
	var failed []error
	for r, err := range k.Log.ReadStream(ctx, es.StreamOf(order.Category, id), 0) {
		if err != nil {
			return err
		}
		switch e := r.Data.(type) {
		case order.Opened:
			opened = e
		case order.IntentRecorded:
			intents[e.IntentID] = e
		case order.TransferAdopted:
			failed = append(failed, k.keepTransfer(ctx, r.ID, opened, intents[e.IntentID].PaymentID, e.TxHash))
		}
	}
	return errors.Join(failed...)
}

// keepTransfer keeps the proof of a transfer in the stream of the payment that
// rests on it.
func (k *ProofKeeper) keepTransfer(ctx context.Context, cause es.ID, o order.Opened, paymentID, txHash string) error {
	id := payment.SentID(paymentID)
	s, _, err := k.Payments.Load(ctx, id)
	switch {
	case err != nil || s.Kept.TxHash == txHash:
		return err
	case s.ID == "":
		return errNotSigned
	}
	hash, err := onchain.ParseHash(txHash)
	if err != nil {
		return err
	}
	chain, err := k.Chains.Chain(o.ChainID)
	if err != nil {
		return err
	}
	r, err := chain.Receipt(ctx, hash)
	if err != nil || r == nil {
		return errors.Join(err, errNoProof)
	}
	block := r.BlockHash.String()
	where, err := blockAt(ctx, chain, r.BlockNumber, block)
	if err != nil || where != stays {
		return errors.Join(err, errNotFinal)
	}
	blob, size, err := k.fetch(ctx, o.ChainID, txHash, block)
	if err != nil {
		return err
	}
	m := es.Meta{
		Key: id + "/proof/" + txHash, Correlation: paymentID, CausationID: cause, Actor: es.ActorChain, Identity: string(o.PayerID), Grade: es.GradeChainFinal,
	}
	_, err = k.Payments.Do(ctx, id, payment.KeepProof{Blob: blob, BlockHash: block, BlockNumber: r.BlockNumber, Size: size, TxHash: txHash}, m)
	return err
}

// fetch gets the proof of a transaction in the block that is final, and puts it
// where it is kept. An endpoint that tells another block is behind, or lies.
func (k *ProofKeeper) fetch(ctx context.Context, chainID uint64, text, block string) (blob string, size int64, err error) {
	hash, err := onchain.ParseHash(text)
	if err != nil {
		return "", 0, err
	}
	i, err := k.Inclusion(ctx, chainID, hash)
	switch {
	case err != nil:
		return "", 0, err
	case i == nil:
		return "", 0, errNoProof
	}
	if got := onchain.Keccak256(i.Header).String(); got != block {
		return "", 0, fmt.Errorf("the endpoint says that transaction %s is in block %s, and the final one is %s", text, got, block)
	}
	return k.Put(*i)
}
