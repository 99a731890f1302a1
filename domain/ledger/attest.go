package ledger

import (
	"crypto/ed25519"
	"encoding/hex"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/delegation"
)

const (
	// AttestedFor is how long an identity vouches for the key of a log at once.
	AttestedFor = 10 * 365 * 24 * time.Hour
	// attestAgain is when it is asked anew, before the time is over.
	attestAgain = 90 * 24 * time.Hour
	// ed25519Prefix begins the protobuf form of an Ed25519 key, as libp2p writes it.
	ed25519Prefix = "08011220"
)

// KeyOf is a log key as delegations name it.
func KeyOf(public ed25519.PublicKey) string { return ed25519Prefix + hex.EncodeToString(public) }

// Attestation asks an identity to vouch for the key that signs the checkpoints
// of the log with that origin line.
func Attestation(id identity.NodeID, origin string, public ed25519.PublicKey, at time.Time) delegation.Document {
	return delegation.Document{
		Identity: id, NotAfter: at.Add(AttestedFor).Unix(), NotBefore: at.Add(-time.Minute).Unix(),
		PublicKey: KeyOf(public), Role: delegation.Log, Subject: origin,
	}
}

// Attestations are the keys that a log has said to be its own, in order.
type Attestations struct {
	Revision es.Revision // of $log
	Keys     []KeyAttested
}

// Evolve folds one fact of $log.
func (a Attestations) Evolve(fact any) Attestations {
	if k, ok := fact.(KeyAttested); ok {
		a.Keys = append(a.Keys[:len(a.Keys):len(a.Keys)], k)
	}
	return a
}

// Identity is who vouched first: the log keeps its name when the node gets
// another default identity. "" = nobody yet.
func (a Attestations) Identity(logID string) identity.NodeID {
	for _, k := range a.Keys {
		if k.LogID == logID && k.Identity != "" {
			return identity.NodeID(k.Identity)
		}
	}
	return ""
}

// Of returns the newest attestation of a key under an origin line that counts
// at a moment. ok is false when there is none, and too when it ends soon.
func (a Attestations) Of(origin string, public ed25519.PublicKey, at time.Time) (k KeyAttested, ok bool) {
	for i := len(a.Keys) - 1; i >= 0; i-- {
		k := a.Keys[i]
		d, err := delegation.Parse([]byte(k.Document))
		if err != nil || d.Role != delegation.Log || d.Subject != origin || d.PublicKey != KeyOf(public) {
			continue
		}
		return k, d.ValidAt(at) == nil && time.Unix(d.NotAfter, 0).Sub(at) > attestAgain
	}
	return KeyAttested{}, false
}
