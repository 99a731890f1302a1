package account

import (
	"maps"
	"time"

	"github.com/emet-node/emet/domain/identity"
)

// State is what is known of an identity.
type State struct {
	ID        identity.NodeID // "" before it is created
	Alias     string
	Origin    Origin
	PublicKey string
	Locked    bool
	Dropped   bool
	Keys      map[string]Key // delegated keys by public key, hex
}

// Key is a key that speaks for the identity.
type Key struct {
	Role, Subject string
	NotAfter      time.Time
	Document      string
	Signature     []byte
}

// Live says whether the identity exists and was not dropped.
func (s State) Live() bool { return s.ID != "" && !s.Dropped }

func evolve(s State, e Event) State {
	switch e := e.(type) {
	case Created:
		return State{ID: e.Identity, Alias: e.Alias, Origin: e.Origin, PublicKey: e.PublicKey}
	case Aliased:
		s.Alias = e.Alias
	case MadeDefault:
		// Which identity is the default is a matter of all of them.
	case Locked:
		s.Locked = true
	case Unlocked:
		s.Locked = false
	case Dropped:
		s.Dropped, s.Locked, s.Keys = true, true, nil
	case KeyDelegated:
		s.Keys = maps.Clone(s.Keys)
		if s.Keys == nil {
			s.Keys = make(map[string]Key)
		}
		s.Keys[e.PublicKey] = Key{Role: e.Role, Subject: e.Subject, NotAfter: e.NotAfter, Document: e.Document, Signature: e.Signature}
	case KeyRevoked:
		s.Keys = maps.Clone(s.Keys)
		delete(s.Keys, e.PublicKey)
	}
	return s
}
