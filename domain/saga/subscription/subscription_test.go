package subscription_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/market/offer"
	"github.com/emet-node/emet/domain/provider/agent"
	"github.com/emet-node/emet/domain/saga/subscription"
)

const bob = "0x2222222222222222222222222222222222222222"

var noon = time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)

// shop hears facts and keeps what was asked for.
type shop struct {
	p    es.Process
	n    int
	said []es.Command
}

func (s *shop) hear(stream es.Stream, fact any) []es.Command {
	r := es.Recorded{Data: fact, Info: es.Meta{Identity: bob}}
	r.Stream, r.Position, r.Recorded, r.ID = stream, es.Position(s.n), noon.Add(time.Duration(s.n)*time.Second), es.NameID(es.ID{}, fmt.Sprint(s.n))
	s.n++
	got := s.p.Hear(r)
	s.said = append(s.said, got...)
	return got
}

func (s *shop) own(fact any) []es.Command { return s.hear("provider-"+bob, fact) }

var (
	hardware = agent.HardwareChanged{Provider: bob, Hardware: agent.Hardware{Architecture: "x86_64", Cores: 2, MemGiB: "1", StorageGiB: "1", Threads: 1}}
	tested   = agent.RuntimeTested{Provider: bob, Runtime: agent.Runtime{Name: "wasmtime", Version: "1", Counters: []string{"golem.usage.duration_sec"}}}
	enabled  = agent.Enabled{Provider: bob, NodeName: "b", Platforms: []agent.Platform{{Address: bob, Platform: "erc20-hoodi-tglm"}}}
)

func presets(names ...string) agent.PresetsChanged {
	e := agent.PresetsChanged{Provider: bob}
	for _, n := range names {
		e.Presets = append(e.Presets, agent.Preset{Name: n, Runtime: "wasmtime", Initial: "0", Coeffs: map[string]string{"golem.usage.duration_sec": "0.1"}})
	}
	return e
}

// opened is a shop whose opening asked for an offer of each preset.
func opened(t *testing.T, names ...string) (*shop, []offer.Publish) {
	t.Helper()
	s := &shop{p: subscription.Saga.Start()}
	s.own(presets(names...))
	s.own(hardware)
	s.own(tested)
	var out []offer.Publish
	for _, c := range s.own(enabled) {
		out = append(out, c.Command.(offer.Publish))
	}
	if len(out) != len(names) {
		t.Fatalf("%+v", s.said)
	}
	return s, out
}

func (s *shop) published(o offer.Publish) []es.Command {
	return s.hear(es.StreamOf("offer", o.OfferID), offer.Published{
		OfferID: o.OfferID, Preset: o.Preset, Provider: bob, Created: o.Created, Expires: o.Expires, Properties: o.Properties, Constraints: o.Constraints,
	})
}

func ids(t *testing.T, commands []es.Command) (out []string) {
	t.Helper()
	for _, c := range commands {
		w, ok := c.Command.(offer.Withdraw)
		if !ok {
			t.Fatalf("%T", c.Command)
		}
		out = append(out, w.OfferID)
	}
	return out
}

func wantIDs(t *testing.T, got []es.Command, want ...string) {
	t.Helper()
	if g := ids(t, got); fmt.Sprint(g) != fmt.Sprint(want) {
		t.Errorf("takes back %v, want %v", g, want)
	}
}

func TestEveryPresetHasAnOffer(t *testing.T) {
	t.Parallel()
	s, o := opened(t, "a", "b")
	wantIDs(t, s.published(o[0]))
	wantIDs(t, s.published(o[1]))
	wantIDs(t, s.own(agent.RulesChanged{Provider: bob}), o[0].OfferID, o[1].OfferID)
	again := s.hear(es.StreamOf("offer", o[0].OfferID), offer.Withdrawn{OfferID: o[0].OfferID})
	if len(again) != 1 || again[0].Command.(offer.Publish).Preset != "a" {
		t.Errorf("%+v", again)
	}
}

func TestANewPresetIsOfferedBesideTheOthers(t *testing.T) {
	t.Parallel()
	s, o := opened(t, "a")
	s.published(o[0])
	got := s.own(presets("a", "b"))
	if len(got) != 2 || got[0].Command.(offer.Withdraw).OfferID != o[0].OfferID || got[1].Command.(offer.Publish).Preset != "b" {
		t.Fatalf("%+v", got)
	}
	s.published(got[1].Command.(offer.Publish))
	again := s.hear(es.StreamOf("offer", o[0].OfferID), offer.Withdrawn{OfferID: o[0].OfferID})
	if len(again) != 1 || again[0].Command.(offer.Publish).Preset != "a" {
		t.Errorf("%+v", again)
	}
}

// Facts that lie between the wish and the offer.
func TestAnOfferThatIsNotWantedAnyMoreIsTakenBack(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]any{"closed": agent.Disabled{Provider: bob}, "paused": agent.Paused{Provider: bob}, "another preset": presets("b")} {
		s, o := opened(t, "a")
		s.own(change)
		if got := ids(t, s.published(o[0])); fmt.Sprint(got) != fmt.Sprint([]string{o[0].OfferID}) {
			t.Errorf("%s: takes back %v", name, got)
		}
	}
}

func TestOfTwoOffersForAPresetTheNewerStays(t *testing.T) {
	t.Parallel()
	s, o := opened(t, "a")
	second := s.own(agent.RulesChanged{Provider: bob, Rules: agent.Rulebook{OfferTTLSec: 60}})[0].Command.(offer.Publish)
	wantIDs(t, s.published(o[0]), o[0].OfferID)
	wantIDs(t, s.published(second), o[0].OfferID)
	if got := s.hear(es.StreamOf("offer", o[0].OfferID), offer.Withdrawn{OfferID: o[0].OfferID}); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

// Rules change while offers that were wished for before are on their way: none of
// them stays, and the last to go makes room for one of the newest rules.
func TestAnOfferOfOldRulesDoesNotStay(t *testing.T) {
	t.Parallel()
	s, o := opened(t, "a")
	rules := func(ttl int64) []es.Command {
		return s.own(agent.RulesChanged{Provider: bob, Rules: agent.Rulebook{OfferTTLSec: ttl}})
	}
	second := rules(60)[0].Command.(offer.Publish)
	wantIDs(t, s.published(o[0]), o[0].OfferID)
	wantIDs(t, rules(120), o[0].OfferID) // there is one still, so no wish for another
	wantIDs(t, s.published(second), second.OfferID)
	wantIDs(t, s.hear(es.StreamOf("offer", o[0].OfferID), offer.Withdrawn{OfferID: o[0].OfferID}))
	got := s.hear(es.StreamOf("offer", second.OfferID), offer.Withdrawn{OfferID: second.OfferID})
	if len(got) != 1 {
		t.Fatalf("%+v", got)
	}
	last := got[0].Command.(offer.Publish)
	if life := last.Expires.Sub(last.Created); life != 2*time.Minute {
		t.Errorf("it lives for %v", life)
	}
	wantIDs(t, s.published(last))
}

func TestOffersOfAgentsAreLeftAlone(t *testing.T) {
	t.Parallel()
	s, _ := opened(t, "a")
	wantIDs(t, s.hear("offer-x", offer.Published{OfferID: "x", Provider: bob}))
}

func TestAFailedTestMakesNoOffer(t *testing.T) {
	t.Parallel()
	s := &shop{p: subscription.Saga.Start()}
	s.own(presets("a"))
	s.own(hardware)
	bad := tested
	bad.Failure = "it crashed"
	s.own(bad)
	if got := s.own(enabled); len(got) != 0 {
		t.Errorf("%+v", got)
	}
}

func TestHeardTwiceItAsksForTheSame(t *testing.T) {
	t.Parallel()
	story := func() []es.Command {
		s, o := opened(t, "a", "b", "c")
		for _, p := range o {
			s.published(p)
		}
		s.own(agent.RulesChanged{Provider: bob})
		for _, p := range o {
			s.hear(es.StreamOf("offer", p.OfferID), offer.Withdrawn{OfferID: p.OfferID})
		}
		return s.said
	}
	if first, second := story(), story(); !reflect.DeepEqual(first, second) || len(first) != 9 {
		t.Errorf("%d, %d", len(first), len(second))
	}
}
