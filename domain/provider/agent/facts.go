// Package agent is one identity in its role as a provider: what it offers, by
// which rules it deals, and whether it is open for business. All that its
// offers and decisions are made of is recorded here, so that both can be made
// again from the log.
package agent

import (
	"github.com/emet-node/emet/domain/identity"
)

// Category of the streams; the id is the provider's node id.
const Category = "provider"

// An Event is a fact about one provider.
//
//sumtype:decl
type Event interface{ providerEvent() }

type (
	// Enabled says that the provider is open for business.
	Enabled struct {
		NodeName  string          `json:"nodeName,omitzero"`
		Platforms []Platform      `json:"platforms"`
		Provider  identity.NodeID `json:"provider"`
		Public    bool            `json:"public,omitzero"`
		Subnet    string          `json:"subnet,omitzero"`
	}
	// Draining says that running agreements go on and no new ones are made.
	Draining struct {
		Provider identity.NodeID `json:"provider"`
	}
	// Disabled says that the provider is closed until its operator opens it.
	Disabled struct {
		Provider identity.NodeID `json:"provider"`
	}
	// Paused says that the provider is closed while its node runs without
	// selling. The next start that sells opens it.
	Paused struct {
		Provider identity.NodeID `json:"provider"`
	}
	// PresetsChanged lists the active presets, all of them.
	PresetsChanged struct {
		Presets  []Preset        `json:"presets"`
		Provider identity.NodeID `json:"provider"`
	}
	// HardwareChanged says what is offered of the machine.
	HardwareChanged struct {
		Hardware Hardware        `json:"hardware"`
		Provider identity.NodeID `json:"provider"`
	}
	// RulesChanged says by which rules the provider deals.
	RulesChanged struct {
		Provider identity.NodeID `json:"provider"`
		Rules    Rulebook        `json:"rules"`
	}
	// RuntimeTested says what a self-test proved. A runtime that failed is not
	// offered; Failure tells why.
	RuntimeTested struct {
		Failure  string          `json:"failure,omitzero"`
		Provider identity.NodeID `json:"provider"`
		Runtime  Runtime         `json:"runtime"`
	}
)

// Platform is an account that payments are taken on.
type Platform struct {
	Address  string `json:"address"`
	Platform string `json:"platform"`
}

// Preset is a price list for one runtime. Coefficients are GLM per unit of a
// counter, Initial is GLM per agreement; both decimal text.
type Preset struct {
	Coeffs  map[string]string `json:"coeffs"`
	Initial string            `json:"initial"`
	Name    string            `json:"name"`
	Runtime string            `json:"runtime"`
}

// Hardware is what is granted, and what the machine is.
type Hardware struct {
	Architecture string `json:"architecture"`
	Cores        int    `json:"cores"`
	MemGiB       string `json:"memGib"`
	StorageGiB   string `json:"storageGib"`
	Threads      int    `json:"threads"`
}

// Rulebook is what the operator decided about deals. Zero is the usual value.
type Rulebook struct {
	AcceptTimeoutSec  int64 `json:"acceptTimeoutSec,omitzero"`
	MaxAgreements     int   `json:"maxAgreements,omitzero"`
	NoteIntervalSec   int64 `json:"noteIntervalSec,omitzero"`
	OfferTTLSec       int64 `json:"offerTtlSec,omitzero"`
	PaymentTimeoutSec int64 `json:"paymentTimeoutSec,omitzero"`
}

// Runtime is what a self-test proved about a runtime.
type Runtime struct {
	Capabilities []string `json:"capabilities,omitzero"`
	Counters     []string `json:"counters,omitzero"`
	Engine       string   `json:"engine,omitzero"`
	Isolation    string   `json:"isolation,omitzero"`
	Name         string   `json:"name"`
	Version      string   `json:"version"`
}

func (Enabled) providerEvent()         {}
func (Draining) providerEvent()        {}
func (Disabled) providerEvent()        {}
func (Paused) providerEvent()          {}
func (PresetsChanged) providerEvent()  {}
func (HardwareChanged) providerEvent() {}
func (RulesChanged) providerEvent()    {}
func (RuntimeTested) providerEvent()   {}
