package cosign

import (
	"maps"
	"slices"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/contact"
	"github.com/emet-node/emet/domain/payment/payment"
)

// Book folds a log into how much of it others have cosigned.
type Book struct {
	steps   es.Process
	last    map[identity.NodeID]es.Position // step with a node
	seen    map[identity.NodeID]uint64      // facts of this log that a node cosigned
	telling map[string]identity.NodeID      // payments that their payees have not heard of
}

// NewBook returns the book of an empty log.
func NewBook() *Book {
	return &Book{
		steps: Saga.Start(), last: make(map[identity.NodeID]es.Position), seen: make(map[identity.NodeID]uint64),
		telling: make(map[string]identity.NodeID),
	}
}

// Hears lists the types of the facts that matter.
func (b *Book) Hears() []string {
	return append(slices.Clone(Saga.Hears), "peer.checkpoint_cosigned.v1", "payment.refused.v1")
}

// Hear folds one fact; they come in order.
func (b *Book) Hear(r es.Recorded) {
	switch e := r.Data.(type) {
	case contact.CheckpointCosigned:
		if e.By == e.Node { // the other one: ours, and not the other way round
			b.seen[e.Node] = max(b.seen[e.Node], e.Size)
		}
		return
	case payment.DeliveryRequested:
		b.telling[e.PaymentID+string(e.PayeeID)] = e.PayeeID
	case payment.Delivered:
		delete(b.telling, e.PaymentID+string(e.PayeeID))
	case payment.Refused:
		delete(b.telling, e.PaymentID+string(e.PayeeID))
	}
	for _, c := range b.steps.Hear(r) {
		b.last[c.Command.(Exchange).Other] = r.Position
	}
}

// Behind lists the nodes that have not cosigned the last step with them, or
// with whom one is still to be made, in order.
func (b *Book) Behind() []identity.NodeID {
	out := make(map[identity.NodeID]bool)
	for node, at := range b.last {
		if b.seen[node] <= uint64(at) {
			out[node] = true
		}
	}
	for _, node := range b.telling {
		out[node] = true
	}
	return slices.Sorted(maps.Keys(out))
}
