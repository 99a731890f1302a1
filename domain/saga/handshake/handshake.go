// Package handshake completes agreements at the requestor: an approval that
// arrives is answered with the commit.
package handshake

import (
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/market/agreement"
)

// Saga is the process; an instance is the requestor's side of one agreement.
var Saga = es.Saga[struct{}]{
	Name:     "handshake",
	Hears:    []string{"agreement.approval_received.v1"},
	Instance: func(r es.Recorded) string { return string(r.Stream) },
	Evolve:   func(s struct{}, _ es.Recorded) struct{} { return s },
	React: func(_ struct{}, r es.Recorded) []es.Order {
		return []es.Order{{Category: agreement.Category, ID: r.Stream.Key(), Command: agreement.RequestCommit{}}}
	},
	Done: func(struct{}) bool { return true },
}
