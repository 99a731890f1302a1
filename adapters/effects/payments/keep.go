package payments

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/payment/tx"
)

// ProofKeeper fetches the proof of each transfer when its block is final, and
// keeps it, so that the payment can be proved when the chain cannot be asked
// any more. It does its best: nothing waits for it, a proof that cannot be had
// is given up until the next start, and the rules take each one once.
type ProofKeeper struct {
	*Effects
	// Inclusion asks a chain for the proof of a transaction, nil = no block
	// holds it now.
	Inclusion func(ctx context.Context, chainID uint64, tx onchain.Hash) (*onchain.Inclusion, error)
	// Put keeps a proof for good and returns its address and size in bytes. The
	// same proof has the same address.
	Put func(onchain.Inclusion) (blob string, size int64, err error)
	// Sent and Received list the transactions and the payments that are final
	// and whose proof is not kept, oldest first.
	Sent, Received func(context.Context) ([]string, error)
	Every          time.Duration // between looks; 0 = one second
}

const (
	proofTries   = 10               // with 2, 4, 8 … seconds between them
	proofLimit   = 30 * time.Second // for one of them
	proofBacklog = 256              // the newest of those that a start finds
)

var errNoProof = errors.New("no block holds the transaction now")

// Run keeps proofs until ctx ends.
func (k *ProofKeeper) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	lists := []*proofs{
		{ProofKeeper: k, fact: "tx.finalised.v1", open: k.Sent, keep: k.keepSent},
		{ProofKeeper: k, fact: "payment.finalised.v1", open: k.Received, keep: k.keepReceived},
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
}

type tries struct {
	n    int
	next time.Time
}

func (p *proofs) run(ctx context.Context) error {
	p.tries = make(map[string]tries)
	return p.watched.run(ctx, watch{
		log: p.Log, fact: p.fact, open: p.newest, every: or(p.Every, time.Second), look: p.lookAt,
		failed: func(id string, err error) {
			p.Logger.Info("the proof of a payment is not kept yet", "after", p.fact, "id", id, "error", err)
		},
	})
}

// newest bounds what a log of long ago asks of a chain.
func (p *proofs) newest(ctx context.Context) ([]string, error) {
	ids, err := p.open(ctx)
	return ids[max(0, len(ids)-proofBacklog):], err
}

func (p *proofs) lookAt(ctx context.Context, id string) (done bool, err error) {
	t := p.tries[id]
	if time.Now().Before(t.next) {
		return false, nil
	}
	limited, cancel := context.WithTimeout(ctx, proofLimit)
	defer cancel()
	err = p.keep(limited, id)
	if t.n++; err == nil || t.n == proofTries {
		delete(p.tries, id)
		if err != nil {
			err = fmt.Errorf("given up until the next start; evidence create asks the chain itself: %w", err)
		}
		return true, err
	}
	t.next = time.Now().Add(time.Second << t.n)
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
