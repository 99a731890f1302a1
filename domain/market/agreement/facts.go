// Package agreement is the life of a contract between a requestor and a
// provider, as one side sees it. The requestor proposes, the provider
// approves, the requestor commits; what one side decides alone (reject,
// cancel, terminate) is final at once and told afterwards.
package agreement

import (
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
)

// Category of the streams.
const Category = "agreement"

// StreamID is the id of the stream in which side keeps an agreement:
// "<R|P>-<64 hex>".
func StreamID(side identity.Side, agreementID string) string { return string(side) + "-" + agreementID }

// StreamOf is the whole name of that stream.
func StreamOf(side identity.Side, agreementID string) es.Stream {
	return es.StreamOf(Category, StreamID(side, agreementID))
}

// Event is a fact of an agreement.
type Event interface{ event() }

// Terms are what both sides agree to. The texts are those of the two last
// proposals, the ids those of the two subscriptions.
type Terms struct {
	Created           time.Time       `json:"created"` // the requestor's clock, nanoseconds; hashed into the id
	DemandConstraints string          `json:"demandConstraints"`
	DemandID          string          `json:"demandId"`
	DemandProperties  string          `json:"demandProperties"`
	NegotiationID     string          `json:"negotiationId,omitzero"` // this side's own thread
	OfferConstraints  string          `json:"offerConstraints"`
	OfferID           string          `json:"offerId"`
	OfferProperties   string          `json:"offerProperties"`
	ProposalID        string          `json:"proposalId"` // the provider's draft, 64 hex
	Provider          identity.NodeID `json:"provider"`
	Requestor         identity.NodeID `json:"requestor"`
	ValidTo           time.Time       `json:"validTo"` // until when it must be approved
}

// Facts of the requestor's side.
type (
	// Created says that the client made an agreement of a draft. The peer
	// knows nothing of it yet.
	Created struct {
		AgreementID string        `json:"agreementId"`
		Side        identity.Side `json:"side"`
		Terms       Terms         `json:"terms"`
	}
	// ConfirmationRequested says that it is to be proposed to the provider.
	ConfirmationRequested struct {
		AgreementID string        `json:"agreementId"`
		Session     string        `json:"session,omitzero"` // appSessionId of the requestor
		Side        identity.Side `json:"side"`
		Signature   string        `json:"signature,omitzero"`
	}
	// Confirmed says that the provider has it: Pending.
	Confirmed struct {
		AgreementID string        `json:"agreementId"`
		Side        identity.Side `json:"side"`
		Signature   string        `json:"signature,omitzero"` // that was sent, if it was made on sending
	}
	// ConfirmationFailed says why it has not; the client may confirm again.
	ConfirmationFailed struct {
		AgreementID string         `json:"agreementId"`
		Failure     market.Failure `json:"failure"`
		Side        identity.Side  `json:"side"`
	}
	// ApprovalReceived says that the provider approved: Approving.
	ApprovalReceived struct {
		AgreementID string        `json:"agreementId"`
		ApprovedAt  time.Time     `json:"approvedAt"` // the provider's clock
		Raw         []byte        `json:"raw,omitzero"`
		Side        identity.Side `json:"side"`
		Signature   string        `json:"signature,omitzero"`
	}
	// CommitRequested says that the provider is to be told that it holds. From
	// here on only its answer decides.
	CommitRequested struct {
		AgreementID string        `json:"agreementId"`
		Side        identity.Side `json:"side"`
		Signature   string        `json:"signature,omitzero"`
	}
	// CommitFailed says that the provider refused the commit: Pending again.
	CommitFailed struct {
		AgreementID string         `json:"agreementId"`
		Failure     market.Failure `json:"failure"`
		Side        identity.Side  `json:"side"`
	}
)

// Facts of the provider's side.
type (
	// Received says that a requestor proposes an agreement: Pending.
	Received struct {
		AgreementID string        `json:"agreementId"`
		Raw         []byte        `json:"raw,omitzero"`
		Side        identity.Side `json:"side"`
		Signature   string        `json:"signature,omitzero"`
		Terms       Terms         `json:"terms"`
	}
	// ApprovalRequested says that we approve and the requestor is to be told:
	// Approving. Without its commit until Deadline it falls back to Pending.
	ApprovalRequested struct {
		AgreementID string        `json:"agreementId"`
		ApprovedAt  time.Time     `json:"approvedAt"`
		Deadline    time.Time     `json:"deadline"`
		Session     string        `json:"session,omitzero"` // appSessionId of the provider
		Side        identity.Side `json:"side"`
		Signature   string        `json:"signature,omitzero"`
	}
	// ApprovalDelivered says that the requestor took the approval; its commit
	// is awaited.
	ApprovalDelivered struct {
		AgreementID string        `json:"agreementId"`
		Side        identity.Side `json:"side"`
		Signature   string        `json:"signature,omitzero"` // that was sent, if it was made on sending
	}
	// ApprovalFailed says why nothing came of it: Pending again, unless the
	// agreement ended meanwhile.
	ApprovalFailed struct {
		AgreementID string         `json:"agreementId"`
		Failure     market.Failure `json:"failure"`
		Side        identity.Side  `json:"side"`
	}
)

// Facts of both sides.
type (
	// Approved says that the agreement holds. At the requestor the provider
	// answered the commit, at the provider the commit arrived (Raw).
	Approved struct {
		AgreementID string        `json:"agreementId"`
		Raw         []byte        `json:"raw,omitzero"`
		Side        identity.Side `json:"side"`
		Signature   string        `json:"signature,omitzero"` // of the commit
	}
	// Rejected says that the provider does not want it.
	Rejected struct {
		AgreementID string        `json:"agreementId"`
		By          identity.Side `json:"by"`
		Notify      bool          `json:"notify,omitzero"` // the other side is to be told
		Raw         []byte        `json:"raw,omitzero"`
		Reason      string        `json:"reason"` // JSON object, as its author wrote it
		Side        identity.Side `json:"side"`
	}
	// Cancelled says that the requestor took it back.
	Cancelled struct {
		AgreementID string        `json:"agreementId"`
		By          identity.Side `json:"by"`
		Notify      bool          `json:"notify,omitzero"`
		Raw         []byte        `json:"raw,omitzero"`
		Reason      string        `json:"reason"`
		Side        identity.Side `json:"side"`
	}
	// Terminated says that one side ended the running agreement.
	Terminated struct {
		AgreementID string        `json:"agreementId"`
		By          identity.Side `json:"by"`
		Notify      bool          `json:"notify,omitzero"`
		Raw         []byte        `json:"raw,omitzero"`
		Reason      string        `json:"reason"`
		Side        identity.Side `json:"side"`
		Signature   string        `json:"signature,omitzero"` // the peer's, if it gave one
	}
	// NoticeDelivered says that the peer knows of our rejection, cancellation
	// or termination.
	NoticeDelivered struct {
		AgreementID string        `json:"agreementId"`
		Notice      Phase         `json:"notice"` // "Rejected", "Cancelled", "Terminated"
		Side        identity.Side `json:"side"`
	}
	// NoticeAbandoned says that we stopped trying to tell.
	NoticeAbandoned struct {
		AgreementID string         `json:"agreementId"`
		Failure     market.Failure `json:"failure"`
		Notice      Phase          `json:"notice"`
		Side        identity.Side  `json:"side"`
	}
	// Expired says that validTo passed before it was approved.
	Expired struct {
		AgreementID string        `json:"agreementId"`
		Side        identity.Side `json:"side"`
	}
)

// IsIntent is true: it is to be sent.
func (ConfirmationRequested) IsIntent() bool { return true }

// IsIntent is true: it is to be sent, until it is answered.
func (CommitRequested) IsIntent() bool { return true }

// IsIntent is true: it is to be sent.
func (ApprovalRequested) IsIntent() bool { return true }

// IsIntent says whether the other side is to be told.
func (e Rejected) IsIntent() bool { return e.Notify }

// IsIntent says whether the other side is to be told.
func (e Cancelled) IsIntent() bool { return e.Notify }

// IsIntent says whether the other side is to be told.
func (e Terminated) IsIntent() bool { return e.Notify }

func (Created) event()               {}
func (ConfirmationRequested) event() {}
func (Confirmed) event()             {}
func (ConfirmationFailed) event()    {}
func (ApprovalReceived) event()      {}
func (CommitRequested) event()       {}
func (CommitFailed) event()          {}
func (Received) event()              {}
func (ApprovalRequested) event()     {}
func (ApprovalDelivered) event()     {}
func (ApprovalFailed) event()        {}
func (Approved) event()              {}
func (Rejected) event()              {}
func (Cancelled) event()             {}
func (Terminated) event()            {}
func (NoticeDelivered) event()       {}
func (NoticeAbandoned) event()       {}
func (Expired) event()               {}
