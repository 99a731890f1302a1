// Package demand is the life of one's own demand: published, and then withdrawn
// or expired. Demands never leave the node; only their ids do.
package demand

import (
	"time"

	"github.com/emet-node/emet/domain/identity"
)

// Category of the streams; the id is the demand's subscription id.
const Category = "demand"

// Event is a fact of a demand's stream.
type Event interface{ event() }

type (
	// Published says that a demand is on the market. The texts are the ones
	// that its id is the hash of; Created and Expires count in nanoseconds.
	Published struct {
		Constraints string          `json:"constraints"`
		Created     time.Time       `json:"created"`
		DemandID    string          `json:"demandId"`
		Expires     time.Time       `json:"expires"`
		Properties  string          `json:"properties"` // flat JSON text
		Requestor   identity.NodeID `json:"requestor"`
		Session     string          `json:"session,omitzero"`
	}
	// Withdrawn says that the owner took the demand back.
	Withdrawn struct {
		DemandID string `json:"demandId"`
		Why      string `json:"why,omitzero"` // "unsubscribed", "refreshed", …
	}
	// Expired says that the demand's time is over.
	Expired struct {
		DemandID string `json:"demandId"`
	}
)

func (Published) event() {}
func (Withdrawn) event() {}
func (Expired) event()   {}
