// Package cycle says when a payer settles what it owes on a platform.
package cycle

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/payment"
)

// Category of the streams of this package.
const Category = "cycle"

// StreamID is the id of the stream of a payer on a platform.
func StreamID(platform payment.Platform, address string) string {
	return string(platform) + "-" + strings.ToLower(address)
}

// An Event is a fact about one cycle.
//
//sumtype:decl
type Event interface{ cycleEvent() }

// Configured says how often to settle. Cron is the text that was asked for, ""
// when the interval counts. NextAt is the next run.
type Configured struct {
	Address         string           `json:"address"`
	Cron            string           `json:"cron,omitzero"`
	ExtraPayTimeSec int64            `json:"extraPayTimeSec"` // promised to payees on top of the interval
	IntervalSec     int64            `json:"intervalSec"`
	NextAt          time.Time        `json:"nextAt"`
	OwnerID         identity.NodeID  `json:"ownerId"`
	Platform        payment.Platform `json:"platform"`
}

// RunRequested says that it is time to settle. NextAt is the run after it.
type RunRequested struct {
	Address  string           `json:"address"`
	At       time.Time        `json:"at"`
	NextAt   time.Time        `json:"nextAt"`
	OwnerID  identity.NodeID  `json:"ownerId"`
	Platform payment.Platform `json:"platform"`
	Why      Reason           `json:"why"`
}

// Reason says why a run is due.
type Reason string

// The reasons.
const (
	ByInterval Reason = "interval"
	ByDueDate  Reason = "due-date" // a bill is due soon
	ByRequest  Reason = "request"
)

func (Configured) cycleEvent()   {}
func (RunRequested) cycleEvent() {}

// A Command is a wish about one cycle.
//
//sumtype:decl
type Command interface{ cycleCommand() }

// Configure sets how often to settle. NextAt may be zero: then it is At and the
// interval, or what is left of the interval since the last run. It fails with
// [ErrTooOften] below five seconds. With OnlyIfNew a cycle that is configured
// stays as it is.
type Configure struct {
	Address      string
	At           time.Time
	By           identity.Caller
	Cron         string
	ExtraPayTime time.Duration
	Interval     time.Duration
	NextAt       time.Time
	OnlyIfNew    bool
	OwnerID      identity.NodeID
	Platform     payment.Platform
}

// RequestRun asks for a run now. By interval it is silence before the time has
// come. NextAt may be zero: then it is At and the interval (a cron that needs
// more gives it).
type RequestRun struct {
	At     time.Time
	By     identity.Caller
	NextAt time.Time
	Why    Reason
}

func (Configure) cycleCommand()  {}
func (RequestRun) cycleCommand() {}

// Minimum is the shortest interval and the shortest extra time.
const Minimum = 5 * time.Second

// Lead is how long before a due date a run is due.
const Lead = 2 * time.Minute

// Refusals.
var (
	ErrUnknown  = errors.New("the payment cycle is not configured")
	ErrTooOften = errors.New("a payment cycle must not be shorter than five seconds")
)

// State is where one cycle stands.
type State struct {
	Configured Configured // Address "" = not configured
	LastAt     time.Time  // of the last run, zero = never
	NextAt     time.Time
}

// Interval is the time between runs.
func (s State) Interval() time.Duration {
	return time.Duration(s.Configured.IntervalSec) * time.Second
}

// Defaults are the interval and the extra time of a platform: minutes for test
// tokens, a day for real ones.
func Defaults(p payment.Platform) (interval, extra time.Duration) {
	if p.Token() == "tglm" {
		return 5 * time.Minute, 4 * time.Minute
	}
	return 24 * time.Hour, time.Hour
}

// Rules say what may happen to a cycle.
var Rules = es.Decider[Command, Event, State]{Decide: decide, Evolve: evolve}

func evolve(s State, e Event) State {
	switch e := e.(type) {
	case Configured:
		s.Configured, s.NextAt = e, e.NextAt
	case RunRequested:
		s.LastAt, s.NextAt = e.At, e.NextAt
	}
	return s
}

func decide(s State, c Command) ([]Event, error) {
	switch c := c.(type) {
	case Configure:
		return configure(s, c)
	case RequestRun:
		return run(s, c)
	}
	return nil, es.ErrWrongCommand
}

func configure(s State, c Configure) ([]Event, error) {
	if err := c.By.MayAct(c.OwnerID, identity.Requestor); err != nil {
		return nil, err
	}
	if c.Interval < Minimum || c.ExtraPayTime < Minimum {
		return nil, fmt.Errorf("%w: interval %s, extra time %s", ErrTooOften, c.Interval, c.ExtraPayTime)
	}
	if c.OnlyIfNew && s.Configured.Address != "" {
		return nil, nil
	}
	next := c.NextAt
	if next.IsZero() {
		next = c.At.Add(c.Interval)
	}
	if due := s.LastAt.Add(c.Interval); !s.LastAt.IsZero() && due.Before(next) {
		next = due
	}
	e := Configured{
		Address: strings.ToLower(c.Address), Cron: c.Cron, ExtraPayTimeSec: int64(c.ExtraPayTime / time.Second),
		IntervalSec: int64(c.Interval / time.Second), NextAt: next.UTC(), OwnerID: c.OwnerID, Platform: c.Platform,
	}
	if was := s.Configured; was.Address != "" && was.Cron == e.Cron && was.IntervalSec == e.IntervalSec &&
		was.ExtraPayTimeSec == e.ExtraPayTimeSec && c.NextAt.IsZero() {
		return nil, nil
	}
	return []Event{e}, nil
}

func run(s State, c RequestRun) ([]Event, error) {
	if s.Configured.Address == "" {
		return nil, ErrUnknown
	}
	if err := c.By.MayAct(s.Configured.OwnerID, identity.Requestor); err != nil {
		return nil, err
	}
	if c.Why == ByInterval && c.At.Before(s.NextAt) {
		return nil, nil
	}
	next := c.NextAt
	if !next.After(c.At) {
		next = c.At.Add(s.Interval())
	}
	return []Event{RunRequested{
		Address: s.Configured.Address, At: c.At.UTC(), NextAt: next.UTC(), OwnerID: s.Configured.OwnerID,
		Platform: s.Configured.Platform, Why: c.Why,
	}}, nil
}
