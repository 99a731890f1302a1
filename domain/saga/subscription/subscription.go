// Package subscription keeps a provider's offers on the market: one for each
// active preset whose runtime passed its test, made anew when anything that it
// is made of changed, when it expired, and after two thirds of its life.
package subscription

import (
	"encoding/hex"
	"slices"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/offer"
	"github.com/emet-node/emet/domain/provider"
	"github.com/emet-node/emet/domain/provider/agent"
)

// DefaultTTL is the life of an offer when the rules name none.
const DefaultTTL = time.Hour

// State is one provider with the offers it has on the market.
type State struct {
	Agent   agent.State
	Changed time.Time // when the newest fact was recorded that offers are made of
	Offers  []Live

	ended string // preset of the offer whose end was heard last, "" = not ours
}

// Live is an offer on the market.
type Live struct{ ID, Preset string }

// Saga is the process; an instance is one provider.
var Saga = es.Saga[State]{
	Name: "subscription",
	Hears: []string{
		"provider.enabled.v1", "provider.draining.v1", "provider.disabled.v1", "provider.paused.v1", "provider.presets_changed.v1",
		"provider.hardware_changed.v1", "provider.rules_changed.v1", "provider.runtime_tested.v1",
		"offer.published.v1", "offer.withdrawn.v1", "offer.expired.v1",
	},
	Instance: instance,
	Evolve:   evolve,
	React:    react,
}

var own = identity.Caller{Actor: es.ActorSaga, Grade: es.GradeSelf}

func instance(r es.Recorded) string {
	if r.Stream.Category() == agent.Category {
		return r.Stream.Key()
	}
	return r.Info.Identity
}

func evolve(s State, r es.Recorded) State {
	switch e := r.Data.(type) {
	case offer.Published:
		if e.Preset != "" {
			s.Offers = append(slices.Clip(s.Offers), Live{ID: e.OfferID, Preset: e.Preset})
		}
	case offer.Withdrawn:
		return s.without(e.OfferID)
	case offer.Expired:
		return s.without(e.OfferID)
	case agent.Event:
		s.Agent, s.Changed = agent.Evolve(s.Agent, e), r.Recorded
	}
	return s
}

func (s State) without(id string) State {
	s.ended = ""
	if i := slices.IndexFunc(s.Offers, func(l Live) bool { return l.ID == id }); i >= 0 {
		s.ended, s.Offers = s.Offers[i].Preset, slices.Delete(slices.Clone(s.Offers), i, i+1)
	}
	return s
}

// react: a change takes all offers back and publishes those that there are not
// yet; the end of an offer makes room for a fresh one. Facts can lie between
// the wish to publish and the offer: it is looked at when it is there.
func react(s State, r es.Recorded) []es.Order {
	switch e := r.Data.(type) {
	case offer.Published:
		return stale(s, e, r)
	case offer.Withdrawn, offer.Expired:
		return publish(s, r, func(preset string) bool { return preset == s.ended })
	}
	why := "changed"
	if s.Agent.Phase != agent.PhaseEnabled {
		why = "closed"
	}
	var orders []es.Order
	for _, l := range s.Offers {
		orders = append(orders, withdraw(s, l, why, r))
	}
	return append(orders, publish(s, r, func(string) bool { return true })...)
}

func withdraw(s State, l Live, why string, r es.Recorded) es.Order {
	return es.Order{Category: offer.Category, ID: l.ID, Identity: string(s.Agent.Provider), Command: offer.Withdraw{
		At: r.Recorded, By: own, OfferID: l.ID, Why: why,
	}}
}

// stale takes back what a new offer makes superfluous, and the offer itself
// when it is not wanted any more, or was made before the newest change: its end
// brings a fresh one.
func stale(s State, e offer.Published, r es.Recorded) []es.Order {
	if e.Preset == "" {
		return nil
	}
	wanted := slices.ContainsFunc(s.Agent.Presets, func(p agent.Preset) bool { return p.Name == e.Preset })
	if s.Agent.Phase != agent.PhaseEnabled || !wanted {
		return []es.Order{withdraw(s, Live{ID: e.OfferID}, "closed", r)}
	}
	if e.Created.Before(s.Changed) {
		return []es.Order{withdraw(s, Live{ID: e.OfferID}, "changed", r)}
	}
	var orders []es.Order
	for _, l := range s.Offers {
		if l.Preset == e.Preset && l.ID != e.OfferID {
			orders = append(orders, withdraw(s, l, "changed", r))
		}
	}
	return orders
}

// publish makes the wanted offers that are not on the market.
func publish(s State, r es.Recorded, wanted func(preset string) bool) []es.Order {
	if s.Agent.Phase != agent.PhaseEnabled {
		return nil
	}
	var orders []es.Order
	for _, p := range s.Agent.Presets {
		if !wanted(p.Name) || slices.ContainsFunc(s.Offers, func(l Live) bool { return l.Preset == p.Name }) {
			continue
		}
		if o, ok := makeOffer(s.Agent, p, r); ok {
			orders = append(orders, es.Order{Category: offer.Category, ID: o.OfferID, Identity: string(o.Provider), Correlation: o.OfferID, Command: o})
		}
	}
	return orders
}

// makeOffer is a function of the facts: also the random half of the id comes
// from the id of the fact that led here.
func makeOffer(a agent.State, p agent.Preset, r es.Recorded) (offer.Publish, bool) {
	i := slices.IndexFunc(a.Runtimes, func(t agent.RuntimeTested) bool { return t.Runtime.Name == p.Runtime && t.Failure == "" })
	if i < 0 {
		return offer.Publish{}, false
	}
	properties, constraints, err := provider.BuildOffer(input(a, p, a.Runtimes[i].Runtime, r.Recorded))
	if err != nil {
		return offer.Publish{}, false
	}
	ttl := time.Duration(a.Rules.OfferTTLSec) * time.Second
	if ttl == 0 {
		ttl = DefaultTTL
	}
	prefix := es.NameID(r.ID, "offer/"+p.Name)
	content := market.Content{Properties: properties, Constraints: constraints, Owner: a.Provider, Created: r.Recorded, Expires: r.Recorded.Add(ttl)}
	return offer.Publish{
		By: own, Constraints: constraints, Created: content.Created, Expires: content.Expires,
		OfferID: market.SubscriptionID(hex.EncodeToString(prefix[:]), content), Preset: p.Name, Properties: properties, Provider: a.Provider,
	}, true
}

func input(a agent.State, p agent.Preset, r agent.Runtime, now time.Time) provider.OfferInput {
	in := provider.OfferInput{
		Hardware: provider.Hardware(a.Hardware), NodeName: a.Enabled.NodeName, Now: now,
		Platforms: make(map[string]identity.NodeID, len(a.Enabled.Platforms)), Policy: Policy(a.Rules),
		Preset: provider.Preset{Coeffs: p.Coeffs, Initial: p.Initial, Name: p.Name, Runtime: p.Runtime},
		Public: a.Enabled.Public, Subnet: a.Enabled.Subnet,
		Runtime: provider.Runtime{
			Capabilities: r.Capabilities, Counters: r.Counters, Engine: r.Engine, Isolation: r.Isolation, Name: r.Name, Version: r.Version,
		},
	}
	for _, pl := range a.Enabled.Platforms {
		in.Platforms[pl.Platform] = identity.NodeID(pl.Address)
	}
	return in
}

// Policy is what the rules mean to negotiations.
func Policy(r agent.Rulebook) provider.Policy {
	sec := func(n int64) time.Duration { return time.Duration(n) * time.Second }
	return provider.Policy{
		MaxAgreements: r.MaxAgreements, AcceptTimeout: sec(r.AcceptTimeoutSec), NoteInterval: sec(r.NoteIntervalSec), PaymentTimeout: sec(r.PaymentTimeoutSec),
	}
}
