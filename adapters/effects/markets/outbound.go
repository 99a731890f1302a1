package markets

import (
	"context"
	"log/slog"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/demand"
	"github.com/emet-node/emet/domain/market/negotiation"
	"github.com/emet-node/emet/domain/market/offer"
	"github.com/emet-node/emet/domain/peer"
)

// Aggregates are the streams of the market.
type Aggregates struct {
	Log          *es.Log
	Offers       *es.Aggregate[offer.Command, offer.Event, offer.State]
	Demands      *es.Aggregate[demand.Command, demand.Event, demand.State]
	Negotiations *es.Aggregate[negotiation.Command, negotiation.Event, negotiation.State]
	Agreements   *es.Aggregate[agreement.Command, agreement.Event, agreement.State]
}

// Signer signs agreements with the key of an identity.
type Signer interface {
	// SignAgreement returns "emet1:" and hex over the text's SHA3-256, or
	// "NoSignature" when the key is locked.
	SignAgreement(ctx context.Context, as identity.NodeID, text []byte) (string, error)
}

// Outbound carries out the intents of the market.
type Outbound struct {
	Aggregates
	Peers  effects.Peers
	Signer Signer
	Logger *slog.Logger
}

// How long the other side is tried.
const (
	tryTime     = 5 * time.Second         // one call
	counterTime = 4500 * time.Millisecond // clients give a counter five seconds
	draftTime   = 2 * time.Minute         // nobody waits for the counter of a saga
	confirmTime = 20 * time.Second
	noticeTime  = 30 * 24 * time.Hour
	retrySoon   = 250 * time.Millisecond
	commitPause = time.Second
)

// Counter sends a counter-proposal.
func (o *Outbound) Counter(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
	e := a.Intent.Data.(negotiation.CounterRequested)
	s, _, err := o.Negotiations.Load(ctx, e.NegotiationID)
	if err != nil {
		return effects.Outcome{}, err
	}
	text := peer.ProposalText{
		Constraints: e.Proposal.Constraints, Created: e.Proposal.Created, Expires: e.Proposal.Expires,
		ID: e.Proposal.ProposalID, Properties: e.Proposal.Properties,
	}
	var m peer.Message = peer.ProposalCountered{Prev: e.Prev, Proposal: text}
	if prev, ok := s.Find(e.Prev); ok && prev.Prev == "" && s.Side == identity.Requestor {
		m = peer.ProposalOpened{DemandExpires: s.DemandExpires, DemandID: s.DemandID, OfferID: s.OfferID, Proposal: text}
	}
	patience := counterTime
	if a.Intent.Info.Actor == es.ActorSaga {
		patience = draftTime
	}
	fail, err := o.within(ctx, a, patience, s.Owner(), s.Peer(), m)
	if err != nil {
		return effects.Outcome{}, err
	}
	return effects.Outcome{Peer: string(s.Peer()), Order: es.Order{
		Category: negotiation.Category, ID: e.NegotiationID, Command: negotiation.FinishCounter{Failure: fail, ProposalID: e.Proposal.ProposalID},
	}}, nil
}

// within tries a peer-final act until patience is over. It returns an error
// when it should be tried again, else the failure (or none) that is the outcome.
func (o *Outbound) within(ctx context.Context, a effects.Attempt, patience time.Duration, from, to identity.NodeID, m peer.Message) (market.Failure, error) {
	return within(ctx, a, patience, func(ctx context.Context) error {
		_, err := o.Peers.Call(ctx, from, to, m)
		return err
	})
}

func within(ctx context.Context, a effects.Attempt, patience time.Duration, act func(context.Context) error) (market.Failure, error) {
	left := patience - time.Since(a.Intent.Recorded)
	if left <= 0 && a.N == 1 {
		left = time.Second // found after a restart: one honest try
	}
	if left <= 0 {
		return market.Failure{Code: market.Timeout, Text: "the other side did not answer in time"}, nil
	}
	// A reply can get lost: there must be time to ask again.
	call, cancel := context.WithTimeout(ctx, min(left, tryTime, max(patience*2/5, time.Second)))
	defer cancel()
	err := act(call)
	if err == nil {
		return market.Failure{}, nil
	}
	if ctx.Err() != nil {
		return market.Failure{}, ctx.Err()
	}
	if no, refused := effects.RefusalOf(err); refused && !no.Passing() {
		return market.FailureOf(err), nil
	}
	if time.Since(a.Intent.Recorded)+retrySoon >= patience {
		return market.FailureOf(err), nil
	}
	return market.Failure{}, &effects.RetryAfter{In: retrySoon, Err: err}
}

// notice tells the other side something that is final here. Its refusals mean
// that there is nothing left to tell.
func (o *Outbound) notice(ctx context.Context, a effects.Attempt, from, to identity.NodeID, m peer.Message) (market.Failure, error) {
	call, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	_, err := o.Peers.Call(call, from, to, m)
	if err == nil {
		return market.Failure{}, nil
	}
	no, refused := effects.RefusalOf(err)
	if refused && !no.MayPass() || time.Since(a.Intent.Recorded) > noticeTime {
		return market.FailureOf(err), nil
	}
	return market.Failure{}, err
}

// Reject tells that a proposal was rejected.
func (o *Outbound) Reject(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
	e := a.Intent.Data.(negotiation.RejectionRequested)
	s, _, err := o.Negotiations.Load(ctx, e.NegotiationID)
	if err != nil {
		return effects.Outcome{}, err
	}
	m := peer.ProposalRejected{ProposalID: e.ProposalID, Reason: e.Reason, Initial: e.Initial}
	if e.Initial {
		m.OfferID, m.DemandID = s.OfferID, s.DemandID
	}
	fail, err := o.notice(ctx, a, s.Owner(), s.Peer(), m)
	if err != nil {
		return effects.Outcome{}, err
	}
	return effects.Outcome{Peer: string(s.Peer()), Order: es.Order{
		Category: negotiation.Category, ID: e.NegotiationID, Command: negotiation.FinishRejection{Failure: fail, ProposalID: e.ProposalID},
	}}, nil
}

// deal loads an agreement and the two parties in our order.
func (o *Outbound) deal(ctx context.Context, a effects.Attempt) (s agreement.State, from, to identity.NodeID, err error) {
	s, _, err = o.Agreements.Load(ctx, a.Intent.Stream.Key())
	if s.Side == identity.Provider {
		return s, s.Terms.Provider, s.Terms.Requestor, err
	}
	return s, s.Terms.Requestor, s.Terms.Provider, err
}

func (o *Outbound) outcome(a effects.Attempt, to identity.NodeID, c agreement.Command) effects.Outcome {
	return effects.Outcome{Peer: string(to), Order: es.Order{Category: agreement.Category, ID: a.Intent.Stream.Key(), Command: c}}
}

func (o *Outbound) sign(ctx context.Context, as identity.NodeID, stage agreement.Stage, s agreement.State) (string, error) {
	text, err := agreement.SigningInput(stage, s.AgreementID, s.Terms)
	if err != nil {
		return "", err
	}
	return o.Signer.SignAgreement(ctx, as, text)
}

// signedWithin signs a step and sends the message made of it, until patience is
// over. A key that is locked may be unlocked by then.
func (o *Outbound) signedWithin(
	ctx context.Context, a effects.Attempt, patience time.Duration, from, to identity.NodeID, s agreement.State,
	stage agreement.Stage, message func(signature string) peer.Message,
) (signature string, fail market.Failure, err error) {
	fail, err = within(ctx, a, patience, func(ctx context.Context) error {
		sig, err := o.sign(ctx, from, stage, s)
		if err != nil {
			return err
		}
		signature = sig
		_, err = o.Peers.Call(ctx, from, to, message(sig))
		return err
	})
	return signature, fail, err
}

// Confirm proposes an agreement to the provider. When the approval is there
// already, the proposal arrived and only its answer was lost.
func (o *Outbound) Confirm(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
	s, from, to, err := o.deal(ctx, a)
	if err != nil {
		return effects.Outcome{}, err
	}
	if s.Phase != agreement.PhaseProposal && !s.ApprovedAt.IsZero() {
		sig, err := o.sign(ctx, from, agreement.StageProposed, s)
		if err != nil {
			sig = "" // what was sent is at the provider
		}
		return o.outcome(a, to, agreement.FinishConfirmation{Signature: sig}), nil
	}
	sig, fail, err := o.signedWithin(ctx, a, confirmTime, from, to, s, agreement.StageProposed, func(sig string) peer.Message {
		return peer.AgreementProposed{
			AgreementID: s.AgreementID, Created: s.Terms.Created, ProposalID: s.Terms.ProposalID, Signature: sig, ValidTo: s.Terms.ValidTo,
		}
	})
	if err != nil {
		return effects.Outcome{}, err
	}
	return o.outcome(a, to, agreement.FinishConfirmation{Failure: fail, Signature: sig}), nil
}

// Approve tells the requestor that we approve.
func (o *Outbound) Approve(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
	e := a.Intent.Data.(agreement.ApprovalRequested)
	s, from, to, err := o.deal(ctx, a)
	if err != nil {
		return effects.Outcome{}, err
	}
	patience := e.Deadline.Sub(a.Intent.Recorded)
	sig, fail, err := o.signedWithin(ctx, a, patience, from, to, s, agreement.StageApproved, func(sig string) peer.Message {
		return peer.AgreementApproved{AgreementID: s.AgreementID, ApprovedAt: e.ApprovedAt, Signature: sig}
	})
	if err != nil {
		return effects.Outcome{}, err
	}
	return o.outcome(a, to, agreement.FinishApproval{Failure: fail, Signature: sig}), nil
}

// Commit tells the provider that the agreement holds, until it answers.
func (o *Outbound) Commit(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
	s, from, to, err := o.deal(ctx, a)
	if err != nil {
		return effects.Outcome{}, err
	}
	sig, err := o.sign(ctx, from, agreement.StageCommitted, s)
	if err != nil {
		return effects.Outcome{}, err
	}
	call, cancel := context.WithTimeout(ctx, tryTime)
	defer cancel()
	_, err = o.Peers.Call(call, from, to, peer.AgreementCommitted{AgreementID: s.AgreementID, Signature: sig})
	if err != nil {
		no, refused := effects.RefusalOf(err)
		if !refused || no.MayPass() {
			return effects.Outcome{}, &effects.RetryAfter{In: min(commitPause*time.Duration(a.N), time.Minute), Err: err}
		}
	}
	return o.outcome(a, to, agreement.FinishCommit{Failure: market.FailureOf(err), Signature: sig}), nil
}

// Notice tells that we rejected, cancelled or terminated an agreement.
func (o *Outbound) Notice(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
	s, from, to, err := o.deal(ctx, a)
	if err != nil {
		return effects.Outcome{}, err
	}
	var (
		m     peer.Message
		phase agreement.Phase
	)
	switch e := a.Intent.Data.(type) {
	case agreement.Rejected:
		m, phase = peer.AgreementRejected{AgreementID: s.AgreementID, At: a.Intent.Recorded, Reason: e.Reason}, agreement.PhaseRejected
	case agreement.Cancelled:
		m, phase = peer.AgreementCancelled{AgreementID: s.AgreementID, At: a.Intent.Recorded, Reason: e.Reason}, agreement.PhaseCancelled
	case agreement.Terminated:
		m, phase = peer.AgreementTerminated{AgreementID: s.AgreementID, At: a.Intent.Recorded, Reason: e.Reason}, agreement.PhaseTerminated
	}
	fail, err := o.notice(ctx, a, from, to, m)
	if err != nil {
		return effects.Outcome{}, err
	}
	return o.outcome(a, to, agreement.FinishNotice{Failure: fail, Notice: phase}), nil
}

// Effects is the table of what is carried out, by event type.
func (o *Outbound) Effects() map[string]effects.Effect {
	return map[string]effects.Effect{
		"negotiation.counter_requested.v1":    o.Counter,
		"negotiation.rejection_requested.v1":  o.Reject,
		"agreement.confirmation_requested.v1": o.Confirm,
		"agreement.approval_requested.v1":     o.Approve,
		"agreement.commit_requested.v1":       o.Commit,
		"agreement.rejected.v1":               o.Notice,
		"agreement.cancelled.v1":              o.Notice,
		"agreement.terminated.v1":             o.Notice,
	}
}
