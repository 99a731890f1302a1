package agent_test

import (
	"testing"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/es/estest"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/provider/agent"
)

const me = identity.NodeID("0x00000000000000000000000000000000000000aa")

var (
	operator = identity.Caller{Actor: es.ActorOperator}
	preset   = agent.Preset{Name: "default", Runtime: "wasmtime", Coeffs: map[string]string{"golem.usage.duration_sec": "0.0001"}}
	hardware = agent.Hardware{Architecture: "x86_64", Cores: 2, Threads: 2, MemGiB: "4", StorageGiB: "10"}
	setup    = agent.Setup{By: operator, Provider: me, Presets: []agent.Preset{preset}, Hardware: hardware}
	enable   = agent.Enable{By: operator, Provider: me, Subnet: "public"}
)

func TestOnlyWhatChangedIsAFact(t *testing.T) {
	t.Parallel()
	s := estest.For(agent.Rules)
	s.When(setup).Then(t, agent.PresetsChanged{Presets: setup.Presets, Provider: me}, agent.HardwareChanged{Hardware: hardware, Provider: me})
	s.After(t, setup).When(setup).Then(t)
	more := setup
	more.Rules.MaxAgreements = 3
	s.After(t, setup).When(more).Then(t, agent.RulesChanged{Provider: me, Rules: more.Rules})
}

func TestOpensOnceAndNotWithoutAnythingToOffer(t *testing.T) {
	t.Parallel()
	estest.For(agent.Rules).When(enable).Refused(t, agent.ErrIncomplete)
	open := estest.For(agent.Rules).After(t, setup, enable)
	open.When(enable).Then(t)
	open.When(agent.Drain{By: operator}).Then(t, agent.Draining{Provider: me})
	open.After(t, agent.Drain{By: operator}).When(enable).Then(t, agent.Enabled{Provider: me, Subnet: "public"})
}

func TestAStartLeavesTheOperatorsWord(t *testing.T) {
	t.Parallel()
	start := enable
	start.AtStart = true
	open := estest.For(agent.Rules).After(t, setup, start)
	disable, pause := agent.Disable{By: operator}, agent.Pause{By: operator}
	open.When(disable).Then(t, agent.Disabled{Provider: me})
	open.After(t, disable).When(start).Then(t)
	open.After(t, disable, pause).When(start).Then(t)
	open.After(t, disable).When(enable).Then(t, agent.Enabled{Provider: me, Subnet: "public"})
	open.After(t, agent.Drain{By: operator}).When(start).Then(t)
	open.When(pause).Then(t, agent.Paused{Provider: me})
	open.After(t, pause).When(pause).Then(t)
	open.After(t, pause).When(start).Then(t, agent.Enabled{Provider: me, Subnet: "public"})
	open.After(t, pause, disable).When(start).Then(t)
	open.After(t, disable, enable, pause).When(start).Then(t, agent.Enabled{Provider: me, Subnet: "public"})
}

func TestStrangersChangeNothing(t *testing.T) {
	t.Parallel()
	stranger := identity.Caller{Actor: es.ActorPeer, Node: me}
	c := setup
	c.By = stranger
	estest.For(agent.Rules).When(c).Refused(t, identity.ErrForbidden)
	estest.For(agent.Rules).After(t, setup, enable).When(agent.Disable{By: stranger}).Refused(t, identity.ErrForbidden)
}
