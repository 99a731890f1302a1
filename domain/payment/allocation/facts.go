// Package allocation is a budget that a requestor sets aside. Accepting a bill
// takes from it at once; the money itself moves later.
package allocation

import (
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
)

// Category of the streams of this package; the id is that of the allocation.
const Category = "allocation"

// An Event is a fact about one allocation.
//
//sumtype:decl
type Event interface{ allocationEvent() }

// Created says that a budget was set aside in a wallet.
type Created struct {
	Address      string           `json:"address"` // of the wallet, as the client spelled it
	AllocationID string           `json:"allocationId"`
	AppSessionID string           `json:"appSessionId,omitzero"`
	ChainID      uint64           `json:"chainId"`
	OwnerID      identity.NodeID  `json:"ownerId"`
	Platform     payment.Platform `json:"platform"`
	Timeout      time.Time        `json:"timeout"` // released by itself then
	Total        money.Amount     `json:"total"`
}

// Amended says that the budget or its end changed.
type Amended struct {
	AllocationID string       `json:"allocationId"`
	Timeout      time.Time    `json:"timeout"`
	Total        money.Amount `json:"total"`
}

// Committed says that accepting a document took Delta from the budget.
type Committed struct {
	ActivityID   string       `json:"activityId,omitzero"` // "" = the invoice of the agreement
	AgreementID  string       `json:"agreementId"`
	AllocationID string       `json:"allocationId"`
	Delta        money.Amount `json:"delta"`
	DocumentID   string       `json:"documentId"`
	Kind         payment.Kind `json:"kind"`
}

// Spent says that a transfer for what was committed is final on the chain.
type Spent struct {
	AllocationID string       `json:"allocationId"`
	Delta        money.Amount `json:"delta"`
	IntentID     string       `json:"intentId"`
}

// Released says that the owner gave back what was left. What is committed is
// still paid.
type Released struct {
	AllocationID string       `json:"allocationId"`
	Returned     money.Amount `json:"returned"`
}

// Expired says that the timeout gave back what was left.
type Expired struct {
	AllocationID string       `json:"allocationId"`
	Returned     money.Amount `json:"returned"`
}

func (Created) allocationEvent()   {}
func (Amended) allocationEvent()   {}
func (Committed) allocationEvent() {}
func (Spent) allocationEvent()     {}
func (Released) allocationEvent()  {}
func (Expired) allocationEvent()   {}
