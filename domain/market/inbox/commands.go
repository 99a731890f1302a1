package inbox

import "github.com/emet-node/emet/domain/identity"

// Command is an order to an inbox.
type Command interface{ command() }

// Deliver records that refs are about to be handed out. Those handed out
// before are left out; when nothing is left there is no fact. Ask
// [State.Fresh] of the state before to learn which ones are the caller's.
// Refused with identity.ErrForbidden.
type Deliver struct {
	By           identity.Caller
	Owner        identity.NodeID // of the subscription
	Refs         []Ref
	Side         identity.Side
	Subscription string
}

func (Deliver) command() {}
