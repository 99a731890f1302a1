package offer

import (
	"time"

	"github.com/emet-node/emet/domain/identity"
)

// Command is an order to an offer.
type Command interface{ command() }

type (
	// Publish puts an offer on the market. Properties are flat already
	// (props.Flatten) and OfferID is market.SubscriptionID of all of it.
	// Refused with market.ErrInvalidID, ErrBadText, ErrExists or
	// identity.ErrForbidden. Constraints that cannot be read are taken: such
	// an offer never matches.
	Publish struct {
		By          identity.Caller
		Constraints string
		Created     time.Time
		Expires     time.Time
		OfferID     string
		Preset      string
		Properties  string
		Provider    identity.NodeID
		Session     string
	}
	// Withdraw takes the offer back. Refused with market.ErrNoSubscription
	// (404), ErrUnsubscribed (410), ErrExpired (410) or identity.ErrForbidden.
	Withdraw struct {
		At      time.Time
		By      identity.Caller
		OfferID string
		Why     string
	}
	// Expire ends the offer if its time is over at At. Silence otherwise.
	Expire struct {
		At time.Time
	}
)

func (Publish) command()  {}
func (Withdraw) command() {}
func (Expire) command()   {}
