package eventschemas

import (
	"github.com/emet-node/emet/domain/provider/agent"
)

var otherFacts = []entry{
	reg[agent.Enabled]("provider.enabled.v1"),
	reg[agent.Draining]("provider.draining.v1"),
	reg[agent.Disabled]("provider.disabled.v1"),
	reg[agent.Paused]("provider.paused.v1"),
	reg[agent.PresetsChanged]("provider.presets_changed.v1"),
	reg[agent.HardwareChanged]("provider.hardware_changed.v1"),
	reg[agent.RulesChanged]("provider.rules_changed.v1"),
	reg[agent.RuntimeTested]("provider.runtime_tested.v1"),
}
