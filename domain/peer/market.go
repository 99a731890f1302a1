package peer

import (
	"time"

	"github.com/emet-node/emet/domain/identity"
)

// Offer is the whole text of an offer, as gossip fetches it.
type Offer struct {
	Constraints string          `json:"constraints"`
	Created     time.Time       `json:"created"`
	Expires     time.Time       `json:"expires"`
	ID          string          `json:"id"` // subscription id, its second half is the hash of the rest
	Properties  string          `json:"properties"`
	Provider    identity.NodeID `json:"provider"`
	Signature   string          `json:"signature,omitzero"` // of the provider over id and version, "emet1:…"
}

// OffersAnnounced is gossip: offers that the sender holds. Withdrawn names
// offers whose owner took them back.
type OffersAnnounced struct {
	Offers    []OfferDigest `json:"offers,omitzero"`
	Withdrawn []Withdrawal  `json:"withdrawn,omitzero"`
}

// OfferDigest names an offer without its text.
type OfferDigest struct {
	Expires  time.Time       `json:"expires"`
	ID       string          `json:"id"`
	Provider identity.NodeID `json:"provider"`
}

// Withdrawal is the owner's word that an offer is void.
type Withdrawal struct {
	ID        string          `json:"id"`
	Provider  identity.NodeID `json:"provider"`
	Signature string          `json:"signature,omitzero"`
}

// GetOffers asks for the texts of offers by id (at most 200); the answer is
// Offers, with those that the asked node holds. ListOffers asks for the ids of
// all live offers of the asked node's own; the answer is OffersAnnounced.
type (
	GetOffers struct {
		IDs []string `json:"ids"`
	}
	Offers struct {
		Offers []Offer `json:"offers"`
	}
	ListOffers struct{}
)

// ProposalText is one step of a negotiation.
type ProposalText struct {
	Constraints string    `json:"constraints"`
	Created     time.Time `json:"created"` // nanoseconds count: they are hashed into the id
	Expires     time.Time `json:"expires"`
	ID          string    `json:"id"` // 64 hex
	Properties  string    `json:"properties"`
}

// ProposalOpened is a requestor's first counter. It carries the demand's id
// and life time; the offer is the provider's own.
type ProposalOpened struct {
	DemandExpires time.Time    `json:"demandExpires"`
	DemandID      string       `json:"demandId"`
	OfferID       string       `json:"offerId"`
	Proposal      ProposalText `json:"proposal"`
}

// ProposalCountered is every later counter, of either side.
type ProposalCountered struct {
	Prev     string       `json:"prev"` // 64 hex, the proposal it answers
	Proposal ProposalText `json:"proposal"`
}

// ProposalRejected ends a thread. Initial is set when the rejected proposal is
// the match itself, which the other side knows under another id; OfferID and
// DemandID name the pair then.
type ProposalRejected struct {
	DemandID   string `json:"demandId,omitzero"`
	Initial    bool   `json:"initial,omitzero"`
	OfferID    string `json:"offerId,omitzero"`
	ProposalID string `json:"proposalId"`
	Reason     string `json:"reason,omitzero"` // JSON text
}

// The steps of an agreement. Times are the sender's; Signature is
// "emet1:" and hex over the agreement digest, or "NoSignature".
type (
	AgreementProposed struct {
		AgreementID string    `json:"agreementId"`
		Created     time.Time `json:"created"`
		ProposalID  string    `json:"proposalId"` // the provider's draft
		Signature   string    `json:"signature"`
		ValidTo     time.Time `json:"validTo"`
	}
	AgreementApproved struct {
		AgreementID string    `json:"agreementId"`
		ApprovedAt  time.Time `json:"approvedAt"`
		Signature   string    `json:"signature"`
	}
	AgreementCommitted struct {
		AgreementID string `json:"agreementId"`
		Signature   string `json:"signature"`
	}
	AgreementRejected struct {
		AgreementID string    `json:"agreementId"`
		At          time.Time `json:"at"`
		Reason      string    `json:"reason,omitzero"`
	}
	AgreementCancelled struct {
		AgreementID string    `json:"agreementId"`
		At          time.Time `json:"at"`
		Reason      string    `json:"reason,omitzero"`
	}
	AgreementTerminated struct {
		AgreementID string    `json:"agreementId"`
		At          time.Time `json:"at"`
		Reason      string    `json:"reason,omitzero"`
		Signature   string    `json:"signature,omitzero"`
	}
)

// Ack says that the request was understood, checked and made true.
type Ack struct{}

// Hello opens an acquaintance: versions, features and the delegations that
// bind identities to the session's host key.
type Hello struct {
	Addrs       []string     `json:"addrs,omitempty"` // where the host can be dialled, as multiaddrs
	Delegations []Delegation `json:"delegations"`
	Features    []string     `json:"features"` // e.g. "debit-note-reject"
	Version     string       `json:"version"`
}

// Delegation is an identity's signed word that a key speaks for it. Document
// is the canonical JSON that was signed (EIP-712), Signature 65 bytes r‖s‖v.
type Delegation struct {
	Document  string `json:"document"`
	Signature []byte `json:"signature"`
}

func (Offers) Kind() string              { return "market.offers" }
func (OffersAnnounced) Kind() string     { return "market.announced" }
func (GetOffers) Kind() string           { return "market.get_offers" }
func (ListOffers) Kind() string          { return "market.list_offers" }
func (ProposalOpened) Kind() string      { return "market.open" }
func (ProposalCountered) Kind() string   { return "market.counter" }
func (ProposalRejected) Kind() string    { return "market.reject_proposal" }
func (AgreementProposed) Kind() string   { return "market.propose_agreement" }
func (AgreementApproved) Kind() string   { return "market.approve" }
func (AgreementCommitted) Kind() string  { return "market.commit" }
func (AgreementRejected) Kind() string   { return "market.reject_agreement" }
func (AgreementCancelled) Kind() string  { return "market.cancel" }
func (AgreementTerminated) Kind() string { return "market.terminate" }
func (Ack) Kind() string                 { return "ack" }
func (Hello) Kind() string               { return "identity.hello" }
