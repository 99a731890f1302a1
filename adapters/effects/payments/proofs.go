package payments

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/peer"
)

func paymentOutcome(a effects.Attempt, c payment.Command) effects.Outcome {
	return effects.Outcome{Order: es.Order{Category: payment.Category, ID: a.Intent.Stream.Key(), Command: c}}
}

// signPayment signs the proof for one payee.
func (e *Effects) signPayment(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
	f := a.Intent.Data.(payment.SigningRequested)
	canonical, err := f.Document().Canonical()
	if err != nil {
		return paymentOutcome(a, payment.AnswerSigning{Failure: err.Error(), PayeeID: f.PayeeID}), nil
	}
	sig, err := e.Signer.SignPayment(ctx, f.PayerID, canonical)
	if ctx.Err() != nil {
		return effects.Outcome{}, ctx.Err() // the node stops; that says nothing of the key
	}
	if err != nil {
		return paymentOutcome(a, payment.AnswerSigning{Failure: err.Error(), PayeeID: f.PayeeID}), nil
	}
	return paymentOutcome(a, payment.AnswerSigning{PayeeID: f.PayeeID, Signature: sig}), nil
}

// deliverPayment sends the proof to its payee.
func (e *Effects) deliverPayment(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
	f := a.Intent.Data.(payment.DeliveryRequested)
	s, _, err := e.Payments.Load(ctx, a.Intent.Stream.Key())
	if err != nil {
		return effects.Outcome{}, err
	}
	sent := s.Sent[f.PayeeID]
	if sent.Canonical == nil {
		return paymentOutcome(a, payment.AnswerDelivery{PayeeID: f.PayeeID, Refusal: "another transaction carries the payment now"}), nil
	}
	refusal, err := e.send(ctx, a, f.PayerID, f.PayeeID, peer.PaymentSent{Canonical: sent.Canonical, Signature: sent.Signature})
	if err != nil {
		return effects.Outcome{}, err
	}
	out := paymentOutcome(a, payment.AnswerDelivery{PayeeID: f.PayeeID, Refusal: refusal})
	out.Peer = string(f.PayeeID)
	return out, nil
}

// claimPatience is how long a transaction may be nowhere to be found.
const claimPatience = time.Hour

// checkClaim looks at the chain. A transaction that is not there yet may come;
// one that shows something else never will.
func (e *Effects) checkClaim(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
	f := a.Intent.Data.(payment.Claimed)
	chain, err := e.chainOf(f.Platform)
	if err != nil { // it may be configured at the next start
		if time.Since(a.Intent.Recorded) > claimPatience {
			return paymentOutcome(a, payment.AnswerClaim{Why: err.Error()}), nil
		}
		return effects.Outcome{}, soon(a, err)
	}
	hash, err := onchain.ParseHash(f.TxHash)
	if err != nil {
		return paymentOutcome(a, payment.AnswerClaim{Why: err.Error()}), nil
	}
	if why, err := e.owed(ctx, f); err != nil || why != "" {
		return paymentOutcome(a, payment.AnswerClaim{Why: why}), err
	}
	r, err := chain.Receipt(ctx, hash)
	if err != nil {
		return effects.Outcome{}, soon(a, err)
	}
	if r == nil {
		if time.Since(a.Intent.Recorded) > claimPatience {
			return paymentOutcome(a, payment.AnswerClaim{Why: "no block holds the transaction"}), nil
		}
		return effects.Outcome{}, &effects.RetryAfter{In: min(time.Duration(a.N)*500*time.Millisecond, 10*time.Second), Err: errors.New("no block holds the transaction yet")}
	}
	where, err := blockAt(ctx, chain, r.BlockNumber, r.BlockHash.String())
	if err != nil {
		return effects.Outcome{}, soon(a, err)
	}
	if where == left {
		return effects.Outcome{}, soon(a, fmt.Errorf("block %s is not in the chain", r.BlockHash))
	}
	head, err := chain.Head(ctx)
	if err != nil {
		return effects.Outcome{}, soon(a, err)
	}
	answer, err := e.prove(ctx, a.Intent.Stream.Key(), chain.Profile(), *r, f)
	if err != nil {
		return effects.Outcome{}, err
	}
	answer.Depth = r.Confirmations(head.Number)
	out := paymentOutcome(a, answer)
	out.Actor, out.Grade, out.Endpoint = es.ActorChain, es.GradeChainIncluded, chain.Profile().Network
	return out, nil
}

// owed says why a claim's shares are not about debts of this payer to this
// payee, "" when they are.
func (e *Effects) owed(ctx context.Context, f payment.Claimed) (why string, err error) {
	for _, share := range f.Shares {
		agreement := share.AgreementID
		if share.ActivityID != "" {
			if agreement, err = e.AgreementOf(ctx, share.ActivityID); err != nil {
				return "", err
			}
		}
		s, _, err := e.Bills.Load(ctx, bill.StreamID(identity.Provider, agreement))
		if err != nil {
			return "", err
		}
		t := s.Terms
		switch {
		case s.AgreementID == "":
			return fmt.Sprintf("nothing is owed for agreement %q, activity %q", agreement, share.ActivityID), nil
		case t.PayerID != f.PayerID || t.PayeeID != f.PayeeID:
			return fmt.Sprintf("agreement %s is between other nodes", agreement), nil
		case !pay.SameAddress(t.PayerAddr, f.PayerAddr) || !pay.SameAddress(t.PayeeAddr, f.PayeeAddr) || t.Platform != f.Platform:
			return fmt.Sprintf("agreement %s is paid from %s to %s on %s", agreement, t.PayerAddr, t.PayeeAddr, t.Platform), nil
		}
	}
	return "", nil
}

// prove compares a receipt with a claim. Two claims at once are looked at one
// after the other, and what was found for one is not there for the other, also
// before it is in the log.
func (e *Effects) prove(ctx context.Context, id string, p onchain.Profile, r onchain.Receipt, f payment.Claimed) (payment.AnswerClaim, error) {
	payer, err := onchain.ParseAddress(f.PayerAddr)
	if err != nil {
		return payment.AnswerClaim{Why: err.Error()}, nil
	}
	payee, err := onchain.ParseAddress(f.PayeeAddr)
	if err != nil {
		return payment.AnswerClaim{Why: err.Error()}, nil
	}
	e.proving.Lock()
	defer e.proving.Unlock()
	var failed error
	used := func(ref onchain.LogRef) *big.Int {
		n, err := e.used(ctx, ref, id, f.PaymentID+"/"+string(f.PayeeID))
		if err != nil {
			failed = err
			return new(big.Int)
		}
		return n
	}
	shares, err := onchain.Verify(p, r, onchain.Claim{Amount: f.Amount.Wei(), Payer: payer, Payee: payee}, used)
	if failed != nil {
		return payment.AnswerClaim{}, failed
	}
	if err != nil {
		return payment.AnswerClaim{Why: err.Error()}, nil
	}
	if e.proved == nil {
		e.proved = make(map[string][]onchain.Share)
	}
	e.proved[id] = shares
	out := payment.AnswerClaim{BlockHash: r.BlockHash.String(), BlockNumber: r.BlockNumber}
	for _, s := range shares {
		out.Logs = append(out.Logs, payment.LogShare{Amount: money.FromWei(s.Amount), Index: s.Ref.Index})
	}
	return out, nil
}

// used is how much of a transfer belongs to other payments, in the log and on
// its way there. It looks again when something arrived between the two looks.
func (e *Effects) used(ctx context.Context, ref onchain.LogRef, id, except string) (*big.Int, error) {
	before, err := e.found(ctx, ref, id)
	for err == nil {
		var inLog, after *big.Int
		if inLog, err = e.Claims.Claimed(ctx, ref, except); err != nil {
			break
		}
		if after, err = e.found(ctx, ref, id); err == nil && after.Cmp(before) == 0 {
			return inLog.Add(inLog, after), nil
		}
		before = after
	}
	return nil, err
}

// found is how much of a transfer was found for other payments whose outcome
// is not in the log yet.
func (e *Effects) found(ctx context.Context, ref onchain.LogRef, except string) (*big.Int, error) {
	sum := new(big.Int)
	for id, shares := range e.proved {
		if id == except {
			continue
		}
		s, _, err := e.Payments.Load(ctx, id)
		if err != nil {
			return nil, err
		}
		if s.Claim.Answered() {
			delete(e.proved, id)
			continue
		}
		for _, share := range shares {
			if share.Ref == ref {
				sum.Add(sum, share.Amount)
			}
		}
	}
	return sum, nil
}

// FinalityWatcher follows verified payments until their block is final, and
// takes those back whose block left the chain.
type FinalityWatcher struct {
	*Effects
	// Verified lists the payments that were verified and are not final.
	Verified func(ctx context.Context) ([]string, error)
	Every    time.Duration // 0 = five seconds

	open watched
}

// Run watches until ctx ends.
func (w *FinalityWatcher) Run(ctx context.Context) error {
	return w.open.run(ctx, watch{
		log: w.Log, fact: "payment.verified.v1", open: w.Verified, every: or(w.Every, 5*time.Second), look: w.lookAt,
		failed: func(id string, err error) {
			w.Logger.Info("a received payment could not be looked at", "payment", id, "error", err)
		},
	})
}

func (w *FinalityWatcher) lookAt(ctx context.Context, id string) (done bool, err error) {
	s, rev, err := w.Payments.Load(ctx, id)
	if err != nil || s.Claim.Phase != payment.PhaseVerified {
		return err == nil, err
	}
	proof := s.Claim.Proof
	chain, err := w.chainOf(s.Claim.Claimed.Platform)
	if err != nil {
		return false, err
	}
	where, err := blockAt(ctx, chain, proof.BlockNumber, proof.BlockHash)
	if err != nil || where == unsettled {
		return false, err
	}
	m := effects.Because(ctx, w.Log.Store, es.Meta{Correlation: s.Claim.Claimed.PaymentID, Actor: es.ActorChain, Identity: string(s.Claim.Claimed.PayeeID), Grade: es.GradeChainFinal}, es.StreamOf(payment.Category, id), "payment.verified.v1")
	if where == left {
		m.Key = id + "/" + look("reversed", proof.BlockHash, rev)
		_, err := w.Payments.Do(ctx, id, payment.Reverse{Why: "its block " + proof.BlockHash + " left the chain"}, m)
		return err == nil, err
	}
	m.Key = id + "/" + look("final", proof.BlockHash, rev)
	_, err = w.Payments.Do(ctx, id, payment.Finalise{BlockNumber: proof.BlockNumber}, m)
	return err == nil, err
}
