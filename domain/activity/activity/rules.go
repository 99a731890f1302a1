package activity

import (
	"errors"
	"fmt"

	"github.com/emet-node/emet/domain/activity"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
)

// Rules say what may happen to an activity, and what it then is. After
// [Terminated] nothing follows but the answer to an intent that was still
// open, and that answer changes nothing.
var Rules = es.Decider[Command, Event, State]{Decide: decide, Evolve: evolve}

var (
	// ErrUnknown says that there is no such activity on this side.
	ErrUnknown = errors.New("activity is not known")
	// ErrTaken says that the id names another activity. A provider then
	// makes an id of its own.
	ErrTaken = errors.New("activity id is taken")
	// ErrSide says that the command belongs to the other side's stream.
	ErrSide = errors.New("command is for the other side of the activity")
	// ErrState says that a reported pair of states makes no sense.
	ErrState = errors.New("not a state of an activity")
)

// NotApprovedError says that the agreement does not allow activities (now).
type NotApprovedError struct{ AgreementID, State string }

func (e *NotApprovedError) Error() string {
	return fmt.Sprintf("Agreement %s is not Approved. Current state: %s", e.AgreementID, e.State)
}

// OccupiedError says that the agreement allows one activity at a time, in the
// words that clients know.
type OccupiedError struct{ AgreementID, ActivityID string }

func (e *OccupiedError) Error() string {
	return fmt.Sprintf("Only single Activity allowed: Can't create 2 simultaneous Activities. Activity %s of agreement %s is alive; destroy it first", e.ActivityID, e.AgreementID)
}

func decide(s State, c Command) ([]Event, error) {
	switch c := c.(type) {
	case RequestCreation:
		return requestCreation(s, c)
	case ConfirmCreation:
		return confirmCreation(s, c)
	case FailCreation:
		return failCreation(s, c)
	case ObserveState:
		return observe(s, c)
	case Create:
		return create(s, c)
	case RequestDestruction:
		return requestDestruction(s, c)
	case ConfirmDestruction:
		return confirmDestruction(s, c)
	case End:
		return end(s, c)
	case RequestSpawn, ConfirmSpawn, FailSpawn, ReportState, MarkUnresponsive, MarkRecovered,
		ExceedLimit, MapVolume, AttachNetwork, Reattach:
		return decideUnit(s, c)
	}
	return nil, fmt.Errorf("%T: %w", c, es.ErrWrongCommand)
}

func requestCreation(s State, c RequestCreation) ([]Event, error) {
	if err := c.By.MayAct(c.Requestor, identity.Requestor); err != nil {
		return nil, err
	}
	if s.ID != "" {
		return same(s, c.ActivityID, c.AgreementID, c.Requestor)
	}
	if err := mayBegin(c.ActivityID, c.AgreementID, c.AgreementState); err != nil {
		return nil, err
	}
	return []Event{CreationRequested{
		ActivityID: c.ActivityID, AgreementID: c.AgreementID, Provider: c.Provider, Requestor: c.Requestor,
		RequestorPubKey: c.RequestorPubKey, TimeoutMS: c.TimeoutMS,
	}}, nil
}

func create(s State, c Create) ([]Event, error) {
	if err := c.By.IsPeer(c.Requestor); err != nil {
		return nil, err
	}
	if s.ID != "" {
		return same(s, c.ActivityID, c.AgreementID, c.Requestor)
	}
	if err := mayBegin(c.ActivityID, c.AgreementID, c.AgreementState); err != nil {
		return nil, err
	}
	if c.Alive != "" {
		return nil, &OccupiedError{AgreementID: c.AgreementID, ActivityID: c.Alive}
	}
	return []Event{Created{
		ActivityID: c.ActivityID, AgreementID: c.AgreementID, Provider: c.Provider, Requestor: c.Requestor,
		RequestorPubKey: c.RequestorPubKey, Side: identity.Provider,
	}}, nil
}

func mayBegin(activityID, agreementID, agreementState string) error {
	if err := activity.CheckID(activityID); err != nil {
		return err
	}
	if agreementState != "Approved" {
		return &NotApprovedError{AgreementID: agreementID, State: agreementState}
	}
	return nil
}

// same makes a repeated request silent and another one with the same id a no.
func same(s State, id, agreementID string, requestor identity.NodeID) ([]Event, error) {
	if s.ID == id && s.AgreementID == agreementID && s.Requestor == requestor {
		return nil, nil
	}
	return nil, fmt.Errorf("%w: %s belongs to another agreement", ErrTaken, id)
}

func confirmCreation(s State, c ConfirmCreation) ([]Event, error) {
	if err := s.may(c.By, identity.Requestor); err != nil || !s.CreationOpen {
		return nil, err
	}
	if s.Ended {
		return abandoned(s), nil
	}
	alias := c.ProviderID
	if alias == s.ID {
		alias = ""
	}
	return []Event{Created{
		ActivityID: s.ID, AgreementID: s.AgreementID, Alias: alias, Provider: s.Provider, Requestor: s.Requestor,
		RequestorPubKey: s.RequestorPubKey, Side: identity.Requestor,
	}}, nil
}

func failCreation(s State, c FailCreation) ([]Event, error) {
	if err := s.may(c.By, identity.Requestor); err != nil || !s.CreationOpen {
		return nil, err
	}
	return []Event{CreationFailed{ActivityID: s.ID, Code: c.Code, Message: c.Message}}, nil
}

func abandoned(s State) []Event {
	return []Event{CreationFailed{ActivityID: s.ID, Code: "abandoned", Message: "the activity was given up before the provider answered"}}
}

func observe(s State, c ObserveState) ([]Event, error) {
	if err := s.may(c.By, identity.Requestor); err != nil || s.Ended || !s.Exists {
		return nil, err
	}
	if err := check(c.Pair); err != nil {
		return nil, err
	}
	if c.Pair.Current == PhaseTerminated {
		return ended(s, Terminated{ActivityID: s.ID, Reason: c.Reason, ErrorMessage: c.ErrorMessage}), nil
	}
	if s.says(c.Pair, c.Reason, c.ErrorMessage) {
		return nil, nil
	}
	return []Event{StateObserved{
		ActivityID: s.ID, State: c.Pair.Current, Pending: c.Pair.Pending, Reason: c.Reason, ErrorMessage: c.ErrorMessage,
	}}, nil
}

func requestDestruction(s State, c RequestDestruction) ([]Event, error) {
	if s.ID == "" {
		return nil, ErrUnknown
	}
	if err := s.mayDestroy(c.By); err != nil || s.Ended || s.DestructionOpen {
		return nil, err
	}
	return []Event{DestructionRequested{ActivityID: s.ID, By: c.Cause, Reason: c.Reason, TimeoutMS: c.TimeoutMS}}, nil
}

// mayDestroy lets the owner, and at the provider also the other party.
func (s State) mayDestroy(by identity.Caller) error {
	if s.Side == identity.Provider && by.Actor == es.ActorPeer {
		return by.IsPeer(s.Requestor)
	}
	return by.MayAct(s.Owner(), s.Side)
}

func confirmDestruction(s State, c ConfirmDestruction) ([]Event, error) {
	if err := s.may(c.By, s.Side); err != nil || !s.DestructionOpen {
		return nil, err
	}
	return []Event{Terminated{ActivityID: s.ID, ErrorMessage: c.ErrorMessage, Exit: c.Exit, Reason: c.Reason, Rusage: c.Rusage}}, nil
}

func end(s State, c End) ([]Event, error) {
	if err := s.may(c.By, s.Side); err != nil {
		return nil, err
	}
	return ended(s, Terminated{ActivityID: s.ID, ErrorMessage: c.ErrorMessage, Exit: c.Exit, Reason: c.Reason, Rusage: c.Rusage}), nil
}

// ended is an end that nobody asked for. When one was asked for, the answer to
// that will tell it.
func ended(s State, t Terminated) []Event {
	if s.Ended || s.DestructionOpen {
		return nil
	}
	return []Event{t}
}

// may says whether by acts for the owner of this side's stream.
func (s State) may(by identity.Caller, side identity.Side) error {
	if s.ID == "" {
		return ErrUnknown
	}
	if s.Side != side {
		return ErrSide
	}
	return by.MayAct(s.Owner(), side)
}

func (s State) says(p Pair, reason, message string) bool {
	return s.Pair == p && s.Reason == reason && s.ErrorMessage == message
}

func check(p Pair) error {
	for _, phase := range []Phase{p.Current, p.Pending} {
		switch phase {
		case New, Initialized, Deployed, Ready, PhaseTerminated, PhaseUnresponsive:
		case "":
			if p.Current == "" {
				return fmt.Errorf("%w: the present state is missing", ErrState)
			}
		default:
			return fmt.Errorf("%w: %.40q", ErrState, phase)
		}
	}
	return nil
}
