package account

import (
	"time"

	"github.com/emet-node/emet/domain/identity"
)

// A Command asks something of one identity. Only the operator and the node
// itself may give one: a client's app-key speaks as an identity, it does not
// own it.
//
//sumtype:decl
type Command interface{ by() identity.Caller }

type (
	// Create adds an identity. One that was dropped may come back.
	Create struct {
		Alias     string
		By        identity.Caller
		Identity  identity.NodeID
		Origin    Origin
		PublicKey string // hex of X‖Y, "" when the secret is not at hand
		Locked    bool   // the secret is not at hand
	}
	// SetAlias changes the alias. That no other identity has it is for the
	// giver to see to.
	SetAlias struct {
		Alias string
		By    identity.Caller
	}
	// MakeDefault makes the identity the default one. Present is the default
	// until now, "" when there is none: naming the same again is silence.
	MakeDefault struct {
		By      identity.Caller
		Present identity.NodeID
	}
	// Lock says that the secret is gone from memory.
	Lock struct{ By identity.Caller }
	// Unlock says that the secret is in memory.
	Unlock struct{ By identity.Caller }
	// Drop gives the identity up. Default is the node's default identity now,
	// which cannot be dropped.
	Drop struct {
		By      identity.Caller
		Default identity.NodeID
	}
	// DelegateKey records a signed delegation. The signature was checked by the
	// one who gives the command.
	DelegateKey struct {
		At        time.Time
		By        identity.Caller
		Document  string
		Signature []byte
	}
	// RevokeKey takes the delegation of a key back.
	RevokeKey struct {
		By        identity.Caller
		PublicKey string // hex
		Reason    string
	}
)

func (c Create) by() identity.Caller      { return c.By }
func (c SetAlias) by() identity.Caller    { return c.By }
func (c MakeDefault) by() identity.Caller { return c.By }
func (c Lock) by() identity.Caller        { return c.By }
func (c Unlock) by() identity.Caller      { return c.By }
func (c Drop) by() identity.Caller        { return c.By }
func (c DelegateKey) by() identity.Caller { return c.By }
func (c RevokeKey) by() identity.Caller   { return c.By }
