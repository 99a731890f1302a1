package batch

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/emet-node/emet/domain/activity"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
)

// Rules say what may happen to a batch. Commands run one after the other from
// index 0; the first that fails is the last; after [Closed] nothing follows
// but the answer to an exec that was still open.
var Rules = es.Decider[Command, Event, State]{Decide: decide, Evolve: evolve}

var (
	// ErrUnknown says that there is no such batch on this side.
	ErrUnknown = errors.New("batch is not known")
	// ErrScript says that the text is not a script at all.
	ErrScript = errors.New("not a script")
	// ErrOrder says that a report does not follow what was reported before:
	// something between is missing.
	ErrOrder = errors.New("report is out of order")
)

// LongestDelivery is how long at most it may be tried to bring a script to its
// provider.
const LongestDelivery = 5 * time.Minute

// TimeoutError says that a script was to be delivered within a time that cannot
// be.
type TimeoutError struct{ MS int64 }

func (e *TimeoutError) Error() string {
	return fmt.Sprintf("a script cannot be delivered within %d ms: give a timeout of 0 s to %.0f s", e.MS, LongestDelivery.Seconds())
}

// ExistsError says that the id names another script.
type ExistsError struct{ BatchID string }

func (e *ExistsError) Error() string { return fmt.Sprintf("Batch %s already exists", e.BatchID) }

func decide(s State, c Command) ([]Event, error) {
	switch c := c.(type) {
	case RequestExec:
		return requestExec(s, c)
	case Accept:
		return accept(s, c)
	case ConfirmExec:
		return confirmExec(s, c)
	case RefuseExec:
		if err := s.mayReport(c.By); err != nil || !s.ExecOpen {
			return nil, err
		}
		return []Event{Refused{ActivityID: s.ActivityID, BatchID: s.ID, Code: c.Code, Message: c.Message}}, nil
	case StartCommand, AddOutput, FinishTransfer, FinishCommand, Close:
		return decideReport(s, c)
	}
	return nil, fmt.Errorf("%T: %w", c, es.ErrWrongCommand)
}

func requestExec(s State, c RequestExec) ([]Event, error) {
	if err := c.By.MayAct(c.Requestor, identity.Requestor); err != nil {
		return nil, err
	}
	if s.ID != "" {
		return repeated(s, c.BatchID, c.Script)
	}
	if c.TimeoutMS < 0 || c.TimeoutMS > LongestDelivery.Milliseconds() {
		return nil, &TimeoutError{MS: c.TimeoutMS}
	}
	n, err := begin(c.ActivityID, c.BatchID, c.Script)
	if err != nil {
		return nil, err
	}
	return []Event{ExecRequested{
		ActivityID: c.ActivityID, AgreementID: c.AgreementID, BatchID: c.BatchID, Commands: n,
		Provider: c.Provider, Requestor: c.Requestor, Script: c.Script, TimeoutMS: c.TimeoutMS,
	}}, nil
}

func accept(s State, c Accept) ([]Event, error) {
	if err := c.By.IsPeer(c.Requestor); err != nil {
		return nil, err
	}
	if s.ID != "" {
		return repeated(s, c.BatchID, c.Script)
	}
	n, err := begin(c.ActivityID, c.BatchID, c.Script)
	if err != nil {
		return nil, err
	}
	return []Event{Accepted{
		ActivityID: c.ActivityID, AgreementID: c.AgreementID, BatchID: c.BatchID, Commands: n,
		Provider: c.Provider, Requestor: c.Requestor, Script: c.Script, Side: identity.Provider,
	}}, nil
}

func repeated(s State, batchID, script string) ([]Event, error) {
	if s.Script == script {
		return nil, nil
	}
	return nil, &ExistsError{BatchID: batchID}
}

func begin(activityID, batchID, script string) (int64, error) {
	if err := activity.CheckID(activityID); err != nil {
		return 0, err
	}
	if err := activity.CheckID(batchID); err != nil {
		return 0, err
	}
	return Count(script)
}

// Count is the number of commands of a script: a JSON array of objects with
// one key each. What the keys mean is decided elsewhere.
func Count(script string) (int64, error) {
	var commands []map[string]json.RawMessage
	if err := json.Unmarshal([]byte(script), &commands); err != nil {
		return 0, fmt.Errorf("%w: want a JSON array of commands: %w", ErrScript, err)
	}
	if commands == nil {
		return 0, fmt.Errorf("%w: null, want a JSON array of commands", ErrScript)
	}
	for i, c := range commands {
		if len(c) != 1 {
			return 0, fmt.Errorf("%w: command %d has %d keys, want its name alone", ErrScript, i, len(c))
		}
	}
	return int64(len(commands)), nil
}

func confirmExec(s State, c ConfirmExec) ([]Event, error) {
	if err := s.mayReport(c.By); err != nil || !s.ExecOpen {
		return nil, err
	}
	if s.IsClosed() {
		return []Event{Refused{ActivityID: s.ActivityID, BatchID: s.ID, Code: "abandoned", Message: "the activity ended before the script was accepted"}}, nil
	}
	return []Event{Accepted{
		ActivityID: s.ActivityID, AgreementID: s.AgreementID, BatchID: s.ID, Commands: s.Commands,
		Provider: s.Provider, Requestor: s.Requestor, Side: identity.Requestor,
	}}, nil
}

// mayReport lets this node's own parts, and at the requestor the provider,
// whose exe-unit runs the script.
func (s State) mayReport(by identity.Caller) error {
	switch {
	case s.ID == "":
		return ErrUnknown
	case by.Actor == es.ActorREST:
		return fmt.Errorf("%w: only the exe-unit reports what a batch does", identity.ErrForbidden)
	case by.Actor == es.ActorPeer && s.Side == identity.Requestor:
		return by.IsPeer(s.Provider)
	}
	return by.MayAct(s.Owner(), s.Side)
}
