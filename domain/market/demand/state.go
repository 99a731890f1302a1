package demand

import (
	"time"

	"github.com/emet-node/emet/domain/identity"
)

// State is a demand as its facts tell it. The zero State is no demand.
type State struct {
	DemandID    string
	Requestor   identity.NodeID
	Properties  string
	Constraints string
	Created     time.Time
	Expires     time.Time
	Session     string
	Withdrawn   bool
	Why         string // it was withdrawn
	Expired     bool   // the fact was recorded; see [State.Live] for what is true now
}

// Exists says whether the demand was ever published.
func (s State) Exists() bool { return s.DemandID != "" }

// Live says whether the demand can be negotiated about at that time.
func (s State) Live(at time.Time) bool {
	return s.Exists() && !s.Withdrawn && !s.Expired && s.Expires.After(at)
}

func evolve(s State, e Event) State {
	switch e := e.(type) {
	case Published:
		return State{
			DemandID: e.DemandID, Requestor: e.Requestor, Properties: e.Properties, Constraints: e.Constraints,
			Created: e.Created, Expires: e.Expires, Session: e.Session,
		}
	case Withdrawn:
		s.Withdrawn, s.Why = true, e.Why
	case Expired:
		s.Expired = true
	}
	return s
}
