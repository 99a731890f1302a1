package demand

import (
	"time"

	"github.com/emet-node/emet/domain/identity"
)

// Command is an order to a demand.
type Command interface{ command() }

type (
	// Publish puts a demand on the market. Properties are flat already
	// (props.Flatten) and DemandID is market.SubscriptionID of all of it.
	// Refused with market.ErrInvalidID, ErrBadText, ErrExists or
	// identity.ErrForbidden. Constraints that cannot be read are taken: such
	// a demand never matches.
	Publish struct {
		By          identity.Caller
		Constraints string
		Created     time.Time
		Expires     time.Time
		DemandID    string
		Properties  string
		Requestor   identity.NodeID
		Session     string
	}
	// Withdraw takes the demand back. Refused with market.ErrNoSubscription
	// (404), also when it is withdrawn, over, or of another identity: of those a
	// client sees nothing.
	Withdraw struct {
		At       time.Time
		By       identity.Caller
		DemandID string
		Why      string
	}
	// Expire ends the demand if its time is over at At. Silence otherwise.
	Expire struct {
		At time.Time
	}
)

func (Publish) command()  {}
func (Withdraw) command() {}
func (Expire) command()   {}
