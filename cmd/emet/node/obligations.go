package node

import "slices"

// obligations are the types of events with which something begins that the node
// would have to bring to an end. While the disk is full they are refused, so
// that what was begun can be brought to an end.
var obligations = []string{
	"offer.published.v1", "demand.published.v1",
	"negotiation.opened.v1", "negotiation.counter_requested.v1", "negotiation.counter_received.v1",
	"agreement.created.v1", "agreement.received.v1", "agreement.confirmation_requested.v1", "agreement.approval_requested.v1",
	"activity.creation_requested.v1", "activity.created.v1", "batch.exec_requested.v2",
	"allocation.created.v1",
}

// opensObligations also says so of what is appended through the gRPC door,
// which can wait.
func opensObligations(typ string) bool {
	return slices.Contains(obligations, typ) || !ownNames().has(typ, ".")
}
