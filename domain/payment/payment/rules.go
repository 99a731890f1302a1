package payment

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	pay "github.com/emet-node/emet/domain/payment"
)

// Rules say what may happen to a payment, and what it then is.
var Rules = es.Decider[Command, Event, State]{Decide: decide, Evolve: evolve}

// Refusals.
var (
	ErrUnknown      = errors.New("there is no such payment")
	ErrNotSigned    = errors.New("there is no signed proof for this payee")
	ErrOtherContent = errors.New("another payment with this id was presented before")
	ErrSigner       = errors.New("the payment is not signed by its payer")
	ErrAddressee    = errors.New("the payment is for another node")
	ErrPayerAddr    = errors.New("the payment comes from an address that is not its payer's own")
	ErrUndecided    = errors.New("the chain is being asked about another payment with this id")
	ErrNotCovered   = errors.New("the shares are more than the payment")
	ErrOtherBlock   = errors.New("the proof is of another block")
	ErrTooOften     = errors.New("the claim was disproved too often")
)

const maxClaims = 16 // times that a payer may present one payment

// State is where one payment stands.
type State struct {
	ID    string // "" = there is none
	Side  identity.Side
	Sent  map[identity.NodeID]Sent // at the payer, by payee
	Claim Received                 // at the payee
	Kept  ProofKept                // at the payer, of the last transfer; Blob "" = none
}

// Sent is the proof for one payee, at the payer.
type Sent struct {
	Request   SigningRequested
	Canonical []byte // nil = not signed
	Signature []byte
	Delivered bool
	Refusal   string // the last one

	signing, delivering bool // open intents
	outdated            int  // open deliveries of proofs that were made anew since
}

// open is how many deliveries were not answered.
func (x *Sent) open() int {
	if x.delivering {
		return x.outdated + 1
	}
	return x.outdated
}

// answer takes in how the oldest open delivery ended.
func (x *Sent) answer(delivered bool, refusal string) {
	if x.outdated > 0 {
		x.outdated--
		return
	}
	x.delivering, x.Delivered, x.Refusal = false, x.Delivered || delivered, refusal
}

// Phase says what the payee knows of a payment.
type Phase string

// The phases.
const (
	PhaseClaimed   Phase = "claimed"
	PhaseVerified  Phase = "verified"
	PhaseDisproved Phase = "disproved"
	PhaseFinalised Phase = "finalised"
	PhaseReversed  Phase = "reversed"
)

// Received is a payment as its payee sees it.
type Received struct {
	Phase   Phase
	Claimed Claimed
	Proof   Verified  // when verified or finalised
	Why     string    // it was disproved or reversed
	Kept    ProofKept // Blob "" = none
}

// Answered says whether the chain was looked at.
func (r Received) Answered() bool { return r.Phase != "" && r.Phase != PhaseClaimed }

// Document is what is to be signed.
func (e SigningRequested) Document() Document {
	var sum money.Amount
	for _, s := range e.Shares {
		sum = sum.Add(s.Amount)
	}
	return Document{
		Amount: sum, PayeeAddr: e.PayeeAddr, PayeeID: e.PayeeID, PayerAddr: e.PayerAddr, PayerID: e.PayerID,
		PaymentID: e.PaymentID, Platform: e.Platform, Shares: e.Shares, Timestamp: e.Timestamp, TxHash: e.TxHash,
	}
}

func evolve(s State, e Event) State {
	switch e := e.(type) {
	case SigningRequested:
		s.ID, s.Side = e.PaymentID, e.Side
		return s.with(e.PayeeID, func(x *Sent) { *x = Sent{Request: e, signing: true, outdated: x.open()} })
	case Signed:
		return s.with(e.PayeeID, func(x *Sent) { x.signing, x.Canonical, x.Signature = false, e.Canonical, e.Signature })
	case SigningFailed:
		return s.with(e.PayeeID, func(x *Sent) { x.signing = false })
	case DeliveryRequested:
		return s.with(e.PayeeID, func(x *Sent) { x.delivering = true })
	case Delivered:
		return s.with(e.PayeeID, func(x *Sent) { x.answer(true, "") })
	case Refused:
		return s.with(e.PayeeID, func(x *Sent) { x.answer(false, e.Why) })
	case Claimed:
		s.ID, s.Side = e.PaymentID, e.Side
		s.Claim = Received{Phase: PhaseClaimed, Claimed: e}
	case Verified:
		s.Claim.Phase, s.Claim.Proof = PhaseVerified, e
	case Disproved:
		s.Claim.Phase, s.Claim.Why = PhaseDisproved, e.Why
	case Finalised:
		s.Claim.Phase = PhaseFinalised
	case Reversed:
		s.Claim.Phase, s.Claim.Why = PhaseReversed, e.Why
	case ProofKept:
		if e.Side == identity.Requestor {
			s.Kept = e
		} else {
			s.Claim.Kept = e
		}
	}
	return s
}

func (s State) with(payee identity.NodeID, change func(*Sent)) State {
	sent := maps.Clone(s.Sent)
	if sent == nil {
		sent = make(map[identity.NodeID]Sent)
	}
	x := sent[payee]
	change(&x)
	sent[payee] = x
	s.Sent = sent
	return s
}

func decide(s State, c Command) ([]Event, error) {
	switch c := c.(type) {
	case RequestSigning:
		return requestSigning(s, c)
	case SignAgain:
		return signAgain(s)
	case AnswerSigning:
		return answerSigning(s, c)
	case RequestDelivery:
		return requestDelivery(s, c)
	case AnswerDelivery:
		return answerDelivery(s, c)
	case Claim:
		return claim(s, c)
	case AnswerClaim:
		return answerClaim(s, c)
	case Finalise:
		if s.Claim.Phase != PhaseVerified {
			return nil, nil
		}
		return []Event{Finalised{BlockNumber: c.BlockNumber, PayeeID: s.Claim.Claimed.PayeeID, PaymentID: s.ID, Side: s.Side}}, nil
	case Reverse:
		if s.Claim.Phase != PhaseVerified {
			return nil, nil
		}
		return reverse(s, c), nil
	case KeepProof:
		return keepProof(s, c)
	}
	return nil, es.ErrWrongCommand
}

func requestSigning(s State, c RequestSigning) ([]Event, error) {
	have, ok := s.Sent[c.PayeeID]
	if ok && (have.signing || have.Canonical != nil && have.Request.TxHash == c.TxHash) {
		return nil, nil
	}
	return []Event{SigningRequested{
		PayeeAddr: c.PayeeAddr, PayeeID: c.PayeeID, PayerAddr: c.PayerAddr, PayerID: c.PayerID, PaymentID: c.PaymentID,
		Platform: c.Platform, Shares: c.Shares, Side: identity.Requestor, Timestamp: c.Timestamp.UTC(), TxHash: c.TxHash,
	}}, nil
}

func signAgain(s State) ([]Event, error) {
	var facts []Event
	for _, payee := range slices.Sorted(maps.Keys(s.Sent)) {
		if x := s.Sent[payee]; !x.signing && x.Canonical == nil {
			facts = append(facts, x.Request)
		}
	}
	return facts, nil
}

func answerSigning(s State, c AnswerSigning) ([]Event, error) {
	have := s.Sent[c.PayeeID]
	if !have.signing {
		return nil, nil
	}
	canonical, err := have.Request.Document().Canonical()
	if err != nil {
		c.Failure = err.Error()
	}
	if c.Failure != "" {
		return []Event{SigningFailed{PayeeID: c.PayeeID, PaymentID: s.ID, Side: s.Side, Why: c.Failure}}, nil
	}
	return []Event{Signed{
		Canonical: canonical, PayeeID: c.PayeeID, PaymentID: s.ID, Shares: have.Request.Shares, Side: s.Side, Signature: c.Signature,
	}}, nil
}

func requestDelivery(s State, c RequestDelivery) ([]Event, error) {
	have := s.Sent[c.PayeeID]
	switch {
	case have.Canonical == nil:
		return nil, ErrNotSigned
	case have.Delivered || have.delivering:
		return nil, nil
	}
	return []Event{DeliveryRequested{PayeeID: c.PayeeID, PayerID: have.Request.PayerID, PaymentID: s.ID, Side: s.Side}}, nil
}

func answerDelivery(s State, c AnswerDelivery) ([]Event, error) {
	have := s.Sent[c.PayeeID]
	switch {
	case have.open() == 0:
		return nil, nil
	case c.Refusal != "":
		return []Event{Refused{PayeeID: c.PayeeID, PaymentID: s.ID, Side: s.Side, Why: c.Refusal}}, nil
	}
	return []Event{Delivered{PayeeID: c.PayeeID, PaymentID: s.ID, Side: s.Side}}, nil
}

func claim(s State, c Claim) ([]Event, error) {
	d, err := ParseDocument(c.Canonical)
	if err != nil {
		return nil, err
	}
	if err := c.By.IsPeer(d.PayerID); err != nil {
		return nil, err
	}
	switch have := s.Claim; {
	case c.Signer != d.PayerID:
		return nil, ErrSigner
	case c.PayeeID != d.PayeeID:
		return nil, ErrAddressee
	case !pay.SameAddress(d.PayerAddr, string(d.PayerID)):
		return nil, ErrPayerAddr // a demand may name any address; the transfers of others pay nothing of ours
	case !d.Covered():
		return nil, ErrNotCovered
	case s.ID != "" && have.Claimed.PayerID != d.PayerID:
		return nil, ErrOtherContent
	case s.ID != "" && !bytes.Equal(have.Claimed.Canonical, c.Canonical):
		if err := have.replaceable(); err != nil {
			return nil, err
		}
	}
	switch have := s.Claim; {
	case have.Phase == PhaseClaimed || have.Phase == PhaseVerified || have.Phase == PhaseFinalised:
		return nil, nil
	case have.Claimed.Attempt >= maxClaims:
		return nil, fmt.Errorf("%w: %s", ErrTooOften, have.Why)
	}
	return []Event{Claimed{
		Amount: d.Amount, Attempt: s.Claim.Claimed.Attempt + 1, Canonical: c.Canonical, PayeeAddr: d.PayeeAddr, PayeeID: d.PayeeID,
		PayerAddr: d.PayerAddr, PayerID: d.PayerID, PaymentID: d.PaymentID, Platform: d.Platform, Shares: d.Shares,
		Side: identity.Provider, Signature: c.Signature, Timestamp: d.Timestamp, TxHash: d.TxHash,
	}}, nil
}

// replaceable is nil when another document of the payer may take the place of
// the one that was claimed: it proved nothing, or its block was lost and the
// debt was paid by another transaction.
func (r Received) replaceable() error {
	switch r.Phase {
	case PhaseClaimed:
		return ErrUndecided
	case PhaseDisproved, PhaseReversed:
		return nil
	}
	return ErrOtherContent
}

// reverse takes the payment back and looks at the chain anew: most often
// another block has the transfer already. That is no new attempt of the payer.
func reverse(s State, c Reverse) []Event {
	again := s.Claim.Claimed
	return []Event{Reversed{PayeeID: again.PayeeID, PaymentID: s.ID, Side: s.Side, Why: c.Why}, again}
}

func answerClaim(s State, c AnswerClaim) ([]Event, error) {
	if s.Claim.Phase != PhaseClaimed {
		return nil, nil
	}
	payee, why := s.Claim.Claimed.PayeeID, c.Why
	if why == "" && logSum(c.Logs).Less(s.Claim.Claimed.Amount) {
		why = fmt.Sprintf("the transfers give %s, the payment says %s", logSum(c.Logs), s.Claim.Claimed.Amount)
	}
	if why != "" {
		return []Event{Disproved{PayeeID: payee, PaymentID: s.ID, Side: s.Side, Why: why}}, nil
	}
	return []Event{Verified{
		BlockHash: c.BlockHash, BlockNumber: c.BlockNumber, Depth: c.Depth, Logs: c.Logs, PayeeID: payee,
		PaymentID: s.ID, Side: s.Side, TxHash: s.Claim.Claimed.TxHash,
	}}, nil
}

func logSum(logs []LogShare) money.Amount {
	var sum money.Amount
	for _, l := range logs {
		sum = sum.Add(l.Amount)
	}
	return sum
}

// keepSent keeps the proof of a transfer that a payment of this node rests on.
func keepSent(s State, c KeepProof) ([]Event, error) {
	for _, payee := range slices.Sorted(maps.Keys(s.Sent)) {
		if s.Sent[payee].Request.TxHash != c.TxHash || s.Kept.TxHash == c.TxHash {
			continue
		}
		return []Event{ProofKept{
			Blob: c.Blob, BlockHash: c.BlockHash, BlockNumber: c.BlockNumber, PayeeID: payee, PaymentID: s.ID, Side: s.Side, Size: c.Size, TxHash: c.TxHash,
		}}, nil
	}
	return nil, nil
}

func keepProof(s State, c KeepProof) ([]Event, error) {
	if s.Side == identity.Requestor {
		return keepSent(s, c)
	}
	proof := s.Claim.Proof
	switch {
	case s.Claim.Phase != PhaseFinalised || s.Claim.Kept.Blob != "":
		return nil, nil
	case c.BlockHash != proof.BlockHash:
		return nil, fmt.Errorf("%w: %s, the transfer is in %s", ErrOtherBlock, c.BlockHash, proof.BlockHash)
	}
	return []Event{ProofKept{
		Blob: c.Blob, BlockHash: proof.BlockHash, BlockNumber: proof.BlockNumber, PayeeID: s.Claim.Claimed.PayeeID, PaymentID: s.ID,
		Side: s.Side, Size: c.Size, TxHash: proof.TxHash,
	}}, nil
}
