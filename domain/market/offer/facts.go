// Package offer is the life of one's own offer: published, and then withdrawn
// or expired. Offers of other nodes are not facts; they live in the offer book.
package offer

import (
	"time"

	"github.com/emet-node/emet/domain/identity"
)

// Category of the streams; the id is the offer's subscription id.
const Category = "offer"

// Event is a fact of an offer's stream.
type Event interface{ event() }

type (
	// Published says that an offer is on the market. The texts are the ones
	// that its id is the hash of; Created and Expires count in nanoseconds.
	Published struct {
		Constraints string          `json:"constraints"`
		Created     time.Time       `json:"created"`
		Expires     time.Time       `json:"expires"`
		OfferID     string          `json:"offerId"`
		Preset      string          `json:"preset,omitzero"` // of the built-in provider
		Properties  string          `json:"properties"`      // flat JSON text
		Provider    identity.NodeID `json:"provider"`
		Session     string          `json:"session,omitzero"`
	}
	// Withdrawn says that the owner took the offer back.
	Withdrawn struct {
		OfferID string `json:"offerId"`
		Why     string `json:"why,omitzero"` // "unsubscribed", "refreshed", "preset", "hardware", "draining", …
	}
	// Expired says that the offer's time is over.
	Expired struct {
		OfferID string `json:"offerId"`
	}
)

func (Published) event() {}
func (Withdrawn) event() {}
func (Expired) event()   {}
