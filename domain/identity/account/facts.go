// Package account holds the rules of one identity of this node: that it
// exists, what it is called, whether its key is at hand, and which other keys
// speak for it. The secret itself is never here.
package account

import (
	"time"

	"github.com/emet-node/emet/domain/identity"
)

// Category of the streams; the id is the node id.
const Category = "identity"

// An Event is a fact about one identity.
//
//sumtype:decl
type Event interface{ accountEvent() }

// Origin says where a secret came from.
type Origin string

// The origins.
const (
	Generated  Origin = "generated"  // random, made by this node
	Imported   Origin = "imported"   // given by the operator
	Configured Origin = "configured" // given by the environment at start
	External   Origin = "external"   // the secret is in another device
)

type (
	// Created says that the node has this identity now. PublicKey is X‖Y of the
	// secp256k1 key, 128 hexadecimal digits.
	Created struct {
		Alias     string          `json:"alias,omitzero"`
		Identity  identity.NodeID `json:"identity"`
		Origin    Origin          `json:"origin"`
		PublicKey string          `json:"publicKey,omitzero"`
	}
	// Aliased gives the identity a name for humans, "" takes it away.
	Aliased struct {
		Alias    string          `json:"alias,omitzero"`
		Identity identity.NodeID `json:"identity"`
	}
	// MadeDefault makes the identity the one that is meant when none is named.
	// The latest such fact of all identities counts.
	MadeDefault struct {
		Identity identity.NodeID `json:"identity"`
	}
	// Locked says that the node can no longer sign as this identity.
	Locked struct {
		Identity identity.NodeID `json:"identity"`
	}
	// Unlocked says that the node can sign as this identity (again).
	Unlocked struct {
		Identity identity.NodeID `json:"identity"`
	}
	// Dropped says that the identity was given up and its key file erased.
	Dropped struct {
		Identity identity.NodeID `json:"identity"`
	}
	// KeyDelegated says that the identity signed a delegation: another key
	// speaks for it. Document is the canonical JSON, Signature r‖s‖v over its
	// EIP-712 digest; the other fields are read from the document.
	KeyDelegated struct {
		Document  string          `json:"document"`
		Identity  identity.NodeID `json:"identity"`
		NotAfter  time.Time       `json:"notAfter"`
		PublicKey string          `json:"publicKey"` // hex
		Role      string          `json:"role"`
		Signature []byte          `json:"signature"`
		Subject   string          `json:"subject"`
	}
	// KeyRevoked takes a delegation back before its time.
	KeyRevoked struct {
		Identity  identity.NodeID `json:"identity"`
		PublicKey string          `json:"publicKey"`
		Reason    string          `json:"reason,omitzero"`
		Role      string          `json:"role"`
	}
)

func (Created) accountEvent()      {}
func (Aliased) accountEvent()      {}
func (MadeDefault) accountEvent()  {}
func (Locked) accountEvent()       {}
func (Unlocked) accountEvent()     {}
func (Dropped) accountEvent()      {}
func (KeyDelegated) accountEvent() {}
func (KeyRevoked) accountEvent()   {}
