// Package termination ends what hangs on an agreement when it ends: its living
// activities. At the provider it also ends an agreement for a single activity
// when that one is over.
package termination

import (
	"slices"

	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/terms"
)

// State is one side of an agreement. An agreement that was terminated is not
// forgotten: an activity may have been asked for at the same moment, and be
// made after the end.
type State struct {
	Multi bool // several activities may follow each other
	Over  bool
	Void  bool     // it never held: there can be no activity
	Alive []string // activities
}

// Saga is the process; an instance is one side of one agreement.
var Saga = es.Saga[State]{
	Name: "termination",
	Hears: []string{
		"agreement.created.v1", "agreement.received.v1", "agreement.terminated.v1",
		"agreement.rejected.v1", "agreement.cancelled.v1", "agreement.expired.v1",
		"activity.created.v1", "activity.terminated.v1",
	},
	Instance: instance,
	Evolve:   evolve,
	React:    react,
	Done:     func(s State) bool { return s.Void },
}

var own = identity.Caller{Actor: es.ActorSaga, Grade: es.GradeSelf}

// An activity's end does not name its agreement; the story it belongs to does.
func instance(r es.Recorded) string {
	switch e := r.Data.(type) {
	case agreement.Created:
		return key(e.Side, e.AgreementID)
	case agreement.Received:
		return key(e.Side, e.AgreementID)
	case agreement.Terminated:
		return key(e.Side, e.AgreementID)
	case agreement.Rejected:
		return key(e.Side, e.AgreementID)
	case agreement.Cancelled:
		return key(e.Side, e.AgreementID)
	case agreement.Expired:
		return key(e.Side, e.AgreementID)
	case activity.Created:
		return key(e.Side, e.AgreementID)
	case activity.Terminated:
		if r.Info.Correlation != "" {
			return key(side(r), r.Info.Correlation)
		}
	}
	return ""
}

func key(side identity.Side, agreementID string) string { return string(side) + "-" + agreementID }

func side(r es.Recorded) identity.Side { return identity.Side(r.Stream.Key()[:1]) }

func evolve(s State, r es.Recorded) State {
	switch e := r.Data.(type) {
	case agreement.Created:
		s.Multi = terms.Parse(e.Terms.DemandProperties).Bool(terms.MultiActivity)
	case agreement.Received:
		s.Multi = terms.Parse(e.Terms.DemandProperties).Bool(terms.MultiActivity)
	case agreement.Terminated:
		s.Over = true
	case agreement.Rejected, agreement.Cancelled, agreement.Expired:
		s.Void = true
	case activity.Created:
		s.Alive = append(slices.Clip(s.Alive), e.ActivityID)
	case activity.Terminated:
		s.Alive = slices.DeleteFunc(slices.Clone(s.Alive), func(id string) bool { return id == e.ActivityID })
	}
	return s
}

func react(s State, r es.Recorded) []es.Order {
	switch e := r.Data.(type) {
	case agreement.Terminated:
		var orders []es.Order
		for _, id := range s.Alive {
			orders = append(orders, destroy(e.Side, id))
		}
		return orders
	case activity.Created:
		if s.Over {
			return []es.Order{destroy(e.Side, e.ActivityID)}
		}
	case activity.Terminated:
		if !s.Multi && !s.Over && side(r) == identity.Provider {
			return []es.Order{{
				Category: agreement.Category, ID: agreement.StreamID(identity.Provider, r.Info.Correlation),
				Command: agreement.Terminate{By: own, Reason: `{"message":"Single activity is over","golem.provider.code":"Success"}`},
			}}
		}
	}
	return nil
}

func destroy(side identity.Side, activityID string) es.Order {
	return es.Order{
		Category: activity.Category, ID: activity.StreamID(side, activityID),
		Command: activity.RequestDestruction{By: own, Cause: activity.ByAgreement, Reason: "the agreement ended"},
	}
}
