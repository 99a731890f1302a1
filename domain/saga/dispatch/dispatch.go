// Package dispatch gives every new activity of a provider its exe-unit, of the
// runtime that the agreement's offer names. An activity whose exe-unit could
// not be started is over.
package dispatch

import (
	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/terms"
)

// State is what is known of one agreement.
type State struct {
	Runtime string
	Over    bool
}

// Saga is the process; an instance is the provider's side of one agreement.
var Saga = es.Saga[State]{
	Name: "dispatch",
	Hears: []string{
		"agreement.received.v1", "agreement.rejected.v1", "agreement.cancelled.v1", "agreement.expired.v1",
		"agreement.terminated.v1", "activity.created.v1", "activity.spawn_failed.v1",
	},
	Instance: instance,
	Evolve:   evolve,
	React:    react,
	Done:     func(s State) bool { return s.Over },
}

func instance(r es.Recorded) string {
	switch e := r.Data.(type) {
	case agreement.Received:
		return e.AgreementID
	case agreement.Rejected:
		return mine(e.Side, e.AgreementID)
	case agreement.Cancelled:
		return mine(e.Side, e.AgreementID)
	case agreement.Expired:
		return mine(e.Side, e.AgreementID)
	case agreement.Terminated:
		return mine(e.Side, e.AgreementID)
	case activity.Created:
		return mine(e.Side, e.AgreementID)
	case activity.SpawnFailed:
		return r.Info.Correlation
	}
	return ""
}

func mine(side identity.Side, id string) string {
	if side != identity.Provider {
		return ""
	}
	return id
}

func evolve(s State, r es.Recorded) State {
	switch e := r.Data.(type) {
	case agreement.Received:
		s.Runtime = terms.Parse(e.Terms.OfferProperties).String(terms.RuntimeName)
	case agreement.Rejected, agreement.Cancelled, agreement.Expired, agreement.Terminated:
		s.Over = true
	}
	return s
}

var own = identity.Caller{Actor: es.ActorSaga, Grade: es.GradeSelf}

func react(s State, r es.Recorded) []es.Order {
	switch e := r.Data.(type) {
	case activity.Created:
		return order(e.ActivityID, activity.RequestSpawn{By: own, Runtime: s.Runtime})
	case activity.SpawnFailed:
		return order(e.ActivityID, activity.End{By: own, Reason: "creation failed", ErrorMessage: e.Message})
	}
	return nil
}

func order(activityID string, c activity.Command) []es.Order {
	return []es.Order{{Category: activity.Category, ID: activity.StreamID(identity.Provider, activityID), Command: c}}
}
