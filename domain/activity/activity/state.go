package activity

import "github.com/emet-node/emet/domain/identity"

// Pair is the present phase and the one being worked towards ("" = none).
type Pair struct{ Current, Pending Phase }

// Alive says whether neither half is Terminated.
func (p Pair) Alive() bool { return p.Current != PhaseTerminated && p.Pending != PhaseTerminated }

// State is what one side knows about an activity.
type State struct {
	ID              string
	AgreementID     string
	Alias           string // the provider's id for it, when that is another one
	Provider        identity.NodeID
	Requestor       identity.NodeID
	RequestorPubKey string
	Side            identity.Side

	Pair         Pair
	Reason       string
	ErrorMessage string
	// Failure is set when the activity could not be created (requestor) or its
	// exe-unit not be started (provider).
	Failure, FailureCode string

	Requested bool // creation was asked for
	Exists    bool // the provider made it
	PID       int64
	Seq       int64 // last journal entry known to be taken over at a re-attachment
	Exit      *Exit
	Ended     bool // [Terminated] was written

	// Open intents.
	CreationOpen, SpawnOpen, DestructionOpen bool

	before  Phase // what an unresponsive exe-unit was before
	spawned bool
	found   bool // the last fact is [Reattached]
}

// Owner is the local identity whose activity this is.
func (s State) Owner() identity.NodeID {
	if s.Side == identity.Requestor {
		return s.Requestor
	}
	return s.Provider
}

// Answered says whether a creation that was asked for has been answered.
func (s State) Answered() bool { return s.Requested && !s.CreationOpen || s.Ended }

// Settled says whether the exe-unit is initialised, or will never be.
func (s State) Settled() bool {
	return s.Ended || s.Failure != "" || s.Exists && s.Pair.Current != New
}

// IsEnded says whether the activity is over.
func (s State) IsEnded() bool { return s.Ended }

// PeerID is the id by which the provider knows the activity.
func (s State) PeerID() string {
	if s.Alias != "" {
		return s.Alias
	}
	return s.ID
}

func evolve(s State, e Event) State {
	s.found = false
	switch e := e.(type) {
	case CreationRequested:
		s.ID, s.AgreementID, s.RequestorPubKey = e.ActivityID, e.AgreementID, e.RequestorPubKey
		s.Provider, s.Requestor, s.Side = e.Provider, e.Requestor, identity.Requestor
		s.Requested, s.CreationOpen, s.Pair = true, true, Pair{Current: New}
	case Created:
		return created(s, e)
	case CreationFailed:
		s.CreationOpen, s.Failure, s.FailureCode = false, e.Message, e.Code
	case StateObserved:
		s.Pair, s.Reason, s.ErrorMessage = Pair{e.State, e.Pending}, e.Reason, e.ErrorMessage
	case StateChanged:
		s.Pair, s.Reason, s.ErrorMessage, s.before = Pair{e.State, e.Pending}, e.Reason, e.ErrorMessage, ""
	case DestructionRequested:
		s.DestructionOpen = true
	case Terminated:
		s.Pair, s.Reason, s.ErrorMessage = Pair{Current: PhaseTerminated}, e.Reason, e.ErrorMessage
		s.DestructionOpen, s.Ended, s.Exit = false, true, e.Exit
	default:
		return evolveUnit(s, e)
	}
	return s
}

// created begins a life: at the provider with nothing running yet, at the
// requestor with an exe-unit that the provider says is initialised.
func created(s State, e Created) State {
	s.ID, s.AgreementID, s.Alias, s.RequestorPubKey = e.ActivityID, e.AgreementID, e.Alias, e.RequestorPubKey
	s.Provider, s.Requestor, s.Side = e.Provider, e.Requestor, e.Side
	s.Exists, s.CreationOpen, s.Pair = true, false, Pair{Current: New}
	if e.Side == identity.Requestor {
		s.Pair.Current = Initialized
	}
	return s
}

// evolveUnit folds what happened to the exe-unit.
func evolveUnit(s State, e Event) State {
	switch e := e.(type) {
	case SpawnRequested:
		s.SpawnOpen = true
	case Spawned:
		s.SpawnOpen, s.spawned, s.PID = false, true, e.PID
	case SpawnFailed:
		s.SpawnOpen, s.Failure = false, e.Message
	case Unresponsive:
		s.before, s.Pair.Current = s.Pair.Current, PhaseUnresponsive
	case Recovered:
		if s.before != "" {
			s.Pair.Current, s.before = s.before, ""
		}
	case Reattached:
		s.Seq, s.found = e.Seq, true
		if e.PID != 0 { // it was found before it was said to be started
			s.PID = e.PID
		}
	case LimitExceeded, VolumeMapped, NetworkAttached:
		// kept for those who ask why; they change no rule
	case CreationRequested, Created, CreationFailed, StateObserved, StateChanged, DestructionRequested, Terminated:
		// not of the exe-unit: evolve folds them
	}
	return s
}
