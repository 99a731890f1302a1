package identity

import (
	"errors"
	"fmt"

	"github.com/emet-node/emet/domain/es"
)

// Side is the part a node plays in a deal. One node may play both parts of one
// deal, so the side is part of stream names.
type Side string

// The sides.
const (
	Requestor Side = "R"
	Provider  Side = "P"
)

// Other is the opposite side.
func (s Side) Other() Side {
	if s == Requestor {
		return Provider
	}
	return Requestor
}

// Role is what an app-key lets its holder do.
type Role string

// The roles.
const (
	RoleManager   Role = "manager" // everything of its identity
	RoleRequestor Role = "requestor"
	RoleProvider  Role = "provider"
	RoleAuditor   Role = "auditor" // reading only
	RoleMetrics   Role = "metrics"
	RoleOperator  Role = "operator" // appending to other streams than the node's, through the gRPC door
)

// Caller is who gives a command. It is part of the command, so that "who may"
// is a rule with a story and not a middleware.
type Caller struct {
	Actor es.Actor
	Node  NodeID // for ActorREST the identity of the app-key; for ActorPeer the node that the session proved
	Role  Role   // for ActorREST
	Grade es.Grade
}

// ErrForbidden says that the caller may not do this.
var ErrForbidden = errors.New("forbidden")

// MayAct says whether the caller may act for owner on one side of a deal: our
// own sagas and effects may, the operator may, a client may with a key of that
// identity whose role covers the side.
func (c Caller) MayAct(owner NodeID, side Side) error {
	switch c.Actor {
	case es.ActorSaga, es.ActorEffect, es.ActorOperator, es.ActorChain, es.ActorExeUnit, es.ActorImport:
		return nil
	case es.ActorREST:
		if c.Node != owner {
			return fmt.Errorf("%w: %s belongs to another identity", ErrForbidden, owner)
		}
		if c.Role == RoleManager || c.Role == RoleRequestor && side == Requestor || c.Role == RoleProvider && side == Provider {
			return nil
		}
		return fmt.Errorf("%w: an app-key with role %q may not act as %s", ErrForbidden, c.Role, side)
	}
	return fmt.Errorf("%w: only the node itself may do this", ErrForbidden)
}

// IsPeer says whether the caller is the given remote node, proved by its session.
func (c Caller) IsPeer(node NodeID) error {
	if c.Actor == es.ActorPeer && c.Node == node {
		return nil
	}
	return fmt.Errorf("%w: %s is not the other party", ErrForbidden, c.Node)
}
