package es

import "fmt"

// Saga is a process that turns facts into commands. It is a decider whose
// commands are other people's facts: Evolve folds what was heard into the
// state of one instance, React says what to ask for now. Both are pure, and
// React sees nothing but facts that were heard, so that a second hearing asks
// for the same things with the same keys.
type Saga[S any] struct {
	Name  string
	Hears []string // types, heard in all their versions; everything else passes by
	// Instance names the story that a fact belongs to, "" = none.
	Instance func(Recorded) string
	Evolve   func(S, Recorded) S
	// React gets the state after Evolve.
	React func(S, Recorded) []Order
	// Done says that an instance may be forgotten. It may be nil.
	Done func(S) bool
}

// Process is a running saga with the states of all its instances.
type Process interface {
	Name() string
	Hears() []string
	// Hear folds a fact and returns the commands that follow, in order.
	Hear(r Recorded) []Command
}

// Command is an order with the metadata that makes carrying it out twice harmless.
type Command struct {
	Order
	Meta Meta
}

// Start returns a process with no instances.
func (s Saga[S]) Start() Process { return &process[S]{saga: s, states: make(map[string]S)} }

type process[S any] struct {
	saga   Saga[S]
	states map[string]S
}

func (p *process[S]) Name() string    { return p.saga.Name }
func (p *process[S]) Hears() []string { return p.saga.Hears }

func (p *process[S]) Hear(r Recorded) []Command {
	instance := p.saga.Instance(r)
	if instance == "" || r.Data == nil {
		return nil
	}
	state := p.saga.Evolve(p.states[instance], r)
	orders := p.saga.React(state, r)
	if p.saga.Done != nil && p.saga.Done(state) {
		delete(p.states, instance)
	} else {
		p.states[instance] = state
	}
	out := make([]Command, len(orders))
	for i, o := range orders {
		m := Caused(r, ActorSaga, fmt.Sprintf("%s/%s/%d/%d", p.saga.Name, instance, r.Position, i))
		if o.Correlation != "" {
			m.Correlation = o.Correlation
		}
		if o.Identity != "" {
			m.Identity = o.Identity
		}
		out[i] = Command{Order: o, Meta: m}
	}
	return out
}
