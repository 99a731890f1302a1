// Package ledger holds the facts that a store writes about itself: when the
// log began, which key vouches for it, what was lost or changed. They lie in
// the streams $log and $audit.
package ledger

import (
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
)

// The streams of the store itself.
const (
	LogStream   es.Stream = "$log"
	AuditStream es.Stream = "$audit"
)

// An Event is a fact about the log.
//
//sumtype:decl
type Event interface{ ledgerEvent() }

type (
	// Opened begins a log. LogID is 16 random bytes in hex. A log that
	// continues an older one (a restored backup, another engine) names it and
	// counts an epoch more.
	Opened struct {
		Engine      string       `json:"engine"` // "memory", "segment", …
		Epoch       int64        `json:"epoch"`
		LogID       string       `json:"logId"`
		Predecessor *Predecessor `json:"predecessor,omitzero"`
	}

	// KeyAttested says which key signs the log's checkpoints. Document and
	// Signature are the delegation by an identity, when there is one yet.
	KeyAttested struct {
		Document  string `json:"document,omitzero"`
		Identity  string `json:"identity,omitzero"`
		LogID     string `json:"logId"`
		PublicKey string `json:"publicKey"` // Ed25519, hex
		Signature []byte `json:"signature,omitzero"`
	}

	// Recovered says that the end of the log was damaged and cut off: nothing
	// that had been acknowledged, unless Acknowledged says otherwise.
	Recovered struct {
		Acknowledged bool   `json:"acknowledged,omitzero"` // a signed checkpoint covered some of it
		DroppedBytes int64  `json:"droppedBytes"`
		LogID        string `json:"logId"`
		Segment      string `json:"segment,omitzero"`
		Size         int64  `json:"size"` // events that are left
		Why          string `json:"why"`
	}

	// Beacon ties the log to a moment that nobody could know before: a block
	// of a public chain, with the header that hashes to its name.
	Beacon struct {
		Block   int64  `json:"block"`
		ChainID int64  `json:"chainId"`
		Hash    string `json:"hash"`
		Header  []byte `json:"header,omitzero"` // RLP
		LogID   string `json:"logId"`
	}

	// Frozen says that this log turned out to be an old or another copy of the
	// one that the node kept. From then on nothing is signed, paid or agreed on,
	// until [Reconciled].
	Frozen struct {
		Address  string          `json:"address,omitzero"` // of the wallet that the chain knows more of
		ChainID  uint64          `json:"chainId,omitzero"`
		Expected uint64          `json:"expected,omitzero"` // nonce
		Kind     Finding         `json:"kind"`
		LogID    string          `json:"logId"`
		Node     identity.NodeID `json:"node,omitzero"`   // who showed the note
		Note     string          `json:"note,omitzero"`   // our own checkpoint, which this log does not continue
		Seen     uint64          `json:"seen,omitzero"`   // nonce
		Signed   int64           `json:"signed,omitzero"` // events under the note
		Size     int64           `json:"size"`            // events here when it was found
	}

	// Reconciled says that the operator took it upon himself to go on with this
	// copy, and why.
	Reconciled struct {
		At     time.Time `json:"at"`
		LogID  string    `json:"logId"`
		Reason string    `json:"reason"`
	}

	// Erased says that the key of a subject was deleted, so that what was
	// sealed with it can never be read again.
	Erased struct {
		Reason  string `json:"reason,omitzero"`
		Subject string `json:"subject"`
	}

	// Exported says that someone was given evidence or a copy.
	Exported struct {
		First int64  `json:"first"` // position
		Last  int64  `json:"last"`
		To    string `json:"to"`
		What  string `json:"what"`
	}

	// Repaired says what an operator's repair did.
	Repaired struct {
		Detail string `json:"detail"`
		LogID  string `json:"logId"`
	}

	// PolicyChanged says that a rule of the node's own changed.
	PolicyChanged struct {
		Name string `json:"name"`
		New  string `json:"new"` // JSON text
		Old  string `json:"old,omitzero"`
	}
)

// Predecessor is the log that this one continues.
type Predecessor struct {
	LogID string `json:"logId"`
	Root  string `json:"root"` // of its tree at that size, hex
	Size  int64  `json:"size"`
}

func (Opened) ledgerEvent()        {}
func (KeyAttested) ledgerEvent()   {}
func (Recovered) ledgerEvent()     {}
func (Beacon) ledgerEvent()        {}
func (Frozen) ledgerEvent()        {}
func (Reconciled) ledgerEvent()    {}
func (Erased) ledgerEvent()        {}
func (Exported) ledgerEvent()      {}
func (Repaired) ledgerEvent()      {}
func (PolicyChanged) ledgerEvent() {}
