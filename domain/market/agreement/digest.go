package agreement

import (
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
)

// Stage is what a signature under an agreement means. It is part of what is
// signed, so that a proposal's signature cannot be passed off as a commit's.
type Stage string

// The stages.
const (
	StageProposed  Stage = "proposed"  // by the requestor
	StageApproved  Stage = "approved"  // by the provider
	StageCommitted Stage = "committed" // by the requestor
)

// NoSignature is what nodes that do not sign write.
const NoSignature = "NoSignature"

// SigningInput is the exact text that a party signs as a statement: a line that
// names what it is, and the canonical JSON (RFC 8785) of the terms.
func SigningInput(stage Stage, agreementID string, t Terms) ([]byte, error) {
	b, err := es.CanonicalJSON(signed{
		AgreementID: agreementID,
		Created:     t.Created.UTC(),
		Demand:      signedDemand{Constraints: t.DemandConstraints, ID: t.DemandID, Properties: t.DemandProperties, Requestor: t.Requestor},
		Offer:       signedOffer{Constraints: t.OfferConstraints, ID: t.OfferID, Properties: t.OfferProperties, Provider: t.Provider},
		ValidTo:     t.ValidTo.UTC(),
	})
	if err != nil {
		return nil, err
	}
	return append([]byte("emet agreement "+string(stage)+" v1\n"), b...), nil
}

type signed struct {
	AgreementID string       `json:"agreementId"`
	Created     time.Time    `json:"created"`
	Demand      signedDemand `json:"demand"`
	Offer       signedOffer  `json:"offer"`
	ValidTo     time.Time    `json:"validTo"`
}

type signedDemand struct {
	Constraints string          `json:"constraints"`
	ID          string          `json:"id"`
	Properties  string          `json:"properties"`
	Requestor   identity.NodeID `json:"requestor"`
}

type signedOffer struct {
	Constraints string          `json:"constraints"`
	ID          string          `json:"id"`
	Properties  string          `json:"properties"`
	Provider    identity.NodeID `json:"provider"`
}
