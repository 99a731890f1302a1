// Package appkey holds the rules of app-keys: the secrets by which local
// programs speak as one identity. The secret itself is never here, only its
// hash and its first characters.
package appkey

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/emet-node/emet/domain/identity"
)

// Category of the streams.
const Category = "appkey"

// StreamID is the id of the stream of the key with that name: the first 16
// hexadecimal digits of the name's SHA-256.
func StreamID(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:8])
}

// An Event is a fact about one app-key.
//
//sumtype:decl
type Event interface{ appkeyEvent() }

type (
	// Created says that a key exists. Hash is the SHA-256 of the secret's text
	// in hexadecimal, Prefix its first characters (at most 6), by which its
	// owner recognises it. Origins are those that browsers may call from.
	Created struct {
		Hash     string          `json:"hash"`
		Identity identity.NodeID `json:"identity"`
		Limit    Limit           `json:"limit,omitzero"`
		Name     string          `json:"name"`
		Origins  []string        `json:"origins,omitzero"`
		Prefix   string          `json:"prefix"`
		Role     identity.Role   `json:"role"`
	}
	// Dropped says that the key counts no more.
	Dropped struct {
		Hash     string          `json:"hash"`
		Identity identity.NodeID `json:"identity"`
		Name     string          `json:"name"`
	}
)

// Limit narrows what a key is good for. The zero Limit narrows nothing.
type Limit struct {
	Expires time.Time `json:"expires,omitzero"` // UTC
}

func (Created) appkeyEvent() {}
func (Dropped) appkeyEvent() {}

// A Command asks something of one app-key.
//
//sumtype:decl
type Command interface{ by() identity.Caller }

type (
	// Create makes a key. A key of that name and identity that exists already
	// stays as it is; the state then tells its hash.
	Create struct {
		At       time.Time
		By       identity.Caller
		Hash     string
		Identity identity.NodeID
		Limit    Limit
		Name     string
		Origins  []string
		Prefix   string
		Role     identity.Role // "" = manager
	}
	// Drop ends a key. Identity, when set, must be the one that it belongs to.
	Drop struct {
		By       identity.Caller
		Identity identity.NodeID
		Name     string
	}
)

func (c Create) by() identity.Caller { return c.By }
func (c Drop) by() identity.Caller   { return c.By }

// State is a key, or the zero value where there is none.
type State struct {
	Name     string // "" = there is no such key
	Identity identity.NodeID
	Role     identity.Role
	Hash     string
	Prefix   string
	Origins  []string
	Limit    Limit
}

// Live says whether the key exists and has not expired.
func (s State) Live(at time.Time) bool {
	return s.Name != "" && (s.Limit.Expires.IsZero() || at.Before(s.Limit.Expires))
}

func evolve(s State, e Event) State {
	switch e := e.(type) {
	case Created:
		return State{
			Name: e.Name, Identity: e.Identity, Role: e.Role, Hash: e.Hash, Prefix: e.Prefix,
			Origins: e.Origins, Limit: e.Limit,
		}
	case Dropped:
		return State{}
	}
	return s
}
