package agent

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
)

// A Command changes one provider. Said again with nothing new it is silence.
// Refused with identity.ErrForbidden.
//
//sumtype:decl
type Command interface{ providerCommand() }

type (
	// Setup sets everything that offers are made of, and nothing else.
	Setup struct {
		By       identity.Caller
		Hardware Hardware
		Presets  []Preset
		Provider identity.NodeID
		Rules    Rulebook
	}
	// RecordTest keeps the result of a runtime's self-test.
	RecordTest struct {
		By       identity.Caller
		Failure  string
		Provider identity.NodeID
		Runtime  Runtime
	}
	// Enable opens for business. [ErrIncomplete] without presets or hardware.
	// AtStart is not the operator's word: what he disabled or drains stays so.
	Enable struct {
		AtStart   bool
		By        identity.Caller
		NodeName  string
		Platforms []Platform
		Provider  identity.NodeID
		Public    bool
		Subnet    string
	}
	// Drain lets running agreements end and makes no new ones.
	Drain struct{ By identity.Caller }
	// Disable closes until the operator enables.
	Disable struct{ By identity.Caller }
	// Pause closes an open provider until the next start that sells.
	Pause struct{ By identity.Caller }
)

func (Setup) providerCommand()      {}
func (RecordTest) providerCommand() {}
func (Enable) providerCommand()     {}
func (Drain) providerCommand()      {}
func (Disable) providerCommand()    {}
func (Pause) providerCommand()      {}

// ErrIncomplete says that a provider cannot open yet.
var ErrIncomplete = errors.New("the provider has no presets or hardware profile")

// Phase of a provider.
type Phase string

// The phases.
const (
	PhaseDisabled Phase = ""
	PhaseEnabled  Phase = "enabled"
	PhaseDraining Phase = "draining"
	PhasePaused   Phase = "paused"
)

// State is a provider as its facts tell it.
type State struct {
	Provider identity.NodeID
	Phase    Phase
	Enabled  Enabled // as it last was
	Kept     bool    // in its phase by its operator's word: a start does not change it
	Presets  []Preset
	Hardware Hardware
	Rules    Rulebook
	Runtimes []RuntimeTested // the last test of each
}

// Rules say what may happen to a provider.
var Rules = es.Decider[Command, Event, State]{Decide: decide, Evolve: Evolve}

// Evolve folds a fact. The saga that makes offers folds the same.
func Evolve(s State, e Event) State {
	switch e := e.(type) {
	case Enabled:
		s.Provider, s.Phase, s.Enabled, s.Kept = e.Provider, PhaseEnabled, e, false
	case Draining:
		s.Phase, s.Kept = PhaseDraining, true
	case Disabled:
		s.Phase, s.Kept = PhaseDisabled, true
	case Paused:
		s.Phase = PhasePaused
	case PresetsChanged:
		s.Provider, s.Presets = e.Provider, e.Presets
	case HardwareChanged:
		s.Provider, s.Hardware = e.Provider, e.Hardware
	case RulesChanged:
		s.Provider, s.Rules = e.Provider, e.Rules
	case RuntimeTested:
		s.Provider, s.Runtimes = e.Provider, tested(s.Runtimes, e)
	}
	return s
}

func tested(all []RuntimeTested, e RuntimeTested) []RuntimeTested {
	out := make([]RuntimeTested, 0, len(all)+1)
	for _, t := range all {
		if t.Runtime.Name != e.Runtime.Name {
			out = append(out, t)
		}
	}
	return append(out, e)
}

func decide(s State, c Command) ([]Event, error) {
	switch c := c.(type) {
	case Setup:
		return setup(s, c)
	case RecordTest:
		return recordTest(s, c)
	case Enable:
		return enable(s, c)
	case Drain:
		if err := c.By.MayAct(s.Provider, identity.Provider); err != nil || s.Phase != PhaseEnabled {
			return nil, err
		}
		return []Event{Draining{Provider: s.Provider}}, nil
	case Disable:
		if err := c.By.MayAct(s.Provider, identity.Provider); err != nil || s.Phase == PhaseDisabled {
			return nil, err
		}
		return []Event{Disabled{Provider: s.Provider}}, nil
	case Pause:
		if err := c.By.MayAct(s.Provider, identity.Provider); err != nil || s.Phase != PhaseEnabled {
			return nil, err
		}
		return []Event{Paused{Provider: s.Provider}}, nil
	}
	return nil, fmt.Errorf("%T: %w", c, es.ErrWrongCommand)
}

func setup(s State, c Setup) ([]Event, error) {
	if err := c.By.MayAct(c.Provider, identity.Provider); err != nil {
		return nil, err
	}
	var out []Event
	if !reflect.DeepEqual(s.Presets, c.Presets) {
		out = append(out, PresetsChanged{Presets: c.Presets, Provider: c.Provider})
	}
	if s.Hardware != c.Hardware {
		out = append(out, HardwareChanged{Hardware: c.Hardware, Provider: c.Provider})
	}
	if s.Rules != c.Rules {
		out = append(out, RulesChanged{Provider: c.Provider, Rules: c.Rules})
	}
	return out, nil
}

func recordTest(s State, c RecordTest) ([]Event, error) {
	if err := c.By.MayAct(c.Provider, identity.Provider); err != nil {
		return nil, err
	}
	e := RuntimeTested{Failure: c.Failure, Provider: c.Provider, Runtime: c.Runtime}
	for _, t := range s.Runtimes {
		if reflect.DeepEqual(t, e) {
			return nil, nil
		}
	}
	return []Event{e}, nil
}

func enable(s State, c Enable) ([]Event, error) {
	if err := c.By.MayAct(c.Provider, identity.Provider); err != nil {
		return nil, err
	}
	if len(s.Presets) == 0 || s.Hardware.Threads == 0 {
		return nil, ErrIncomplete
	}
	if c.AtStart && s.Kept {
		return nil, nil
	}
	e := Enabled{NodeName: c.NodeName, Platforms: c.Platforms, Provider: c.Provider, Public: c.Public, Subnet: c.Subnet}
	if s.Phase == PhaseEnabled && reflect.DeepEqual(s.Enabled, e) {
		return nil, nil
	}
	return []Event{e}, nil
}
