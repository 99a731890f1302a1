// Package estest tells the stories of deciders: given these facts, when this
// command comes, then these facts follow.
package estest

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/emet-node/emet/domain/es"
)

// Story is a decider with a past.
type Story[C, E, S any] struct {
	rules es.Decider[C, E, S]
	past  []E
}

// For begins a story.
func For[C, E, S any](rules es.Decider[C, E, S]) Story[C, E, S] {
	return Story[C, E, S]{rules: rules}
}

// Given adds facts to the past.
func (s Story[C, E, S]) Given(facts ...E) Story[C, E, S] {
	s.past = append(append([]E(nil), s.past...), facts...)
	return s
}

// After adds to the past what the commands decide, one after the other.
func (s Story[C, E, S]) After(t testing.TB, cmds ...C) Story[C, E, S] {
	t.Helper()
	for _, c := range cmds {
		facts, err := s.rules.Decide(s.State(), c)
		if err != nil {
			t.Fatalf("after %T: %v", c, err)
		}
		s = s.Given(facts...)
	}
	return s
}

// State is what the past makes.
func (s Story[C, E, S]) State() S {
	var zero S
	return s.rules.Fold(zero, s.past...)
}

// When asks the rules about a command.
func (s Story[C, E, S]) When(cmd C) Outcome[E] {
	facts, err := s.rules.Decide(s.State(), cmd)
	return Outcome[E]{Facts: facts, Err: err}
}

// Outcome is what was decided.
type Outcome[E any] struct {
	Facts []E
	Err   error
}

// Then fails the test unless exactly these facts were decided (none = silence).
func (o Outcome[E]) Then(t testing.TB, want ...E) {
	t.Helper()
	if o.Err != nil {
		t.Fatalf("refused: %v", o.Err)
	}
	if len(want) == 0 && len(o.Facts) == 0 {
		return
	}
	got, exp := show(t, o.Facts), show(t, want)
	if !reflect.DeepEqual(got, exp) {
		t.Fatalf("decided\n  %v\nwant\n  %v", got, exp)
	}
}

// Refused fails the test unless the command was refused with an error that
// errors.Is target.
func (o Outcome[E]) Refused(t testing.TB, target error) {
	t.Helper()
	if o.Err == nil {
		t.Fatalf("decided %v, want a refusal", show(t, o.Facts))
	}
	if target != nil && !errors.Is(o.Err, target) {
		t.Fatalf("refused with %v, want %v", o.Err, target)
	}
}

// show prints facts by type and content, so that amounts compare by value.
func show[E any](t testing.TB, facts []E) []string {
	t.Helper()
	out := make([]string, len(facts))
	for i, f := range facts {
		b, err := json.Marshal(f)
		if err != nil {
			t.Fatalf("%T: %v", f, err)
		}
		out[i] = reflect.TypeOf(f).String() + string(b)
	}
	return out
}
