// Package market holds what offers, demands, negotiations and agreements have
// in common: their ids, the errors in which rules refuse, reasons and limits.
//
// Texts of properties and constraints are strings everywhere: they are hashed
// into ids and signed, so nobody between author and reader may rewrite them.
package market

import "time"

// Limits on what one node takes from another, and from its own clients.
const (
	MaxTextBytes   = 64 << 10              // of properties and constraints together
	MaxKeys        = 1024                  // properties of one offer or demand
	MaxDepth       = 32                    // of nested properties, before flattening
	MaxRounds      = 32                    // proposals of one negotiation, of both sides together
	MaxReasonBytes = 8 << 10               // of a reason
	MaxRawBytes    = 64 << 10              // of a peer's document kept in a fact
	MaxForeignLife = 24 * time.Hour        // of a foreign offer, from now
	ClockTolerance = 5 * time.Minute       // how far another node's clock may be ahead
	ApprovalMargin = 30 * time.Millisecond // that must be left of validTo when an approval arrives
	DefaultTTL     = time.Hour             // of a subscription
)
