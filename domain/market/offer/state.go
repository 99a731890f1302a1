package offer

import (
	"time"

	"github.com/emet-node/emet/domain/identity"
)

// State is an offer as its facts tell it. The zero State is no offer.
type State struct {
	OfferID     string
	Provider    identity.NodeID
	Properties  string
	Constraints string
	Created     time.Time
	Expires     time.Time
	Preset      string
	Session     string
	Withdrawn   bool
	Why         string // it was withdrawn
	Expired     bool   // the fact was recorded; see [State.Live] for what is true now
}

// Exists says whether the offer was ever published.
func (s State) Exists() bool { return s.OfferID != "" }

// Live says whether the offer can be negotiated about at that time.
func (s State) Live(at time.Time) bool {
	return s.Exists() && !s.Withdrawn && !s.Expired && s.Expires.After(at)
}

func evolve(s State, e Event) State {
	switch e := e.(type) {
	case Published:
		return State{
			OfferID: e.OfferID, Provider: e.Provider, Properties: e.Properties, Constraints: e.Constraints,
			Created: e.Created, Expires: e.Expires, Preset: e.Preset, Session: e.Session,
		}
	case Withdrawn:
		s.Withdrawn, s.Why = true, e.Why
	case Expired:
		s.Expired = true
	}
	return s
}
