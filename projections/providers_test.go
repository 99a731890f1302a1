package projections_test

import (
	"testing"

	"github.com/emet-node/emet/domain/provider/agent"
	"github.com/emet-node/emet/projections"
)

func TestWhatAProviderOffers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := openNode(t, w, projections.Memory)
	w.say("provider-"+string(bob),
		agent.PresetsChanged{Provider: bob, Presets: []agent.Preset{{Name: "default", Runtime: "wasmtime", Initial: "0"}}},
		agent.HardwareChanged{Provider: bob, Hardware: agent.Hardware{Threads: 4, MemGiB: "1.5"}},
		agent.RuntimeTested{Provider: bob, Runtime: agent.Runtime{Name: "wasmtime", Version: "1"}},
		agent.RuntimeTested{Provider: bob, Runtime: agent.Runtime{Name: "vm", Version: "1"}, Failure: "no KVM"},
		agent.Enabled{Provider: bob, Subnet: "public"},
		agent.Draining{Provider: bob})
	rows, err := n.Providers(t.Context(), "")
	must(t, err)
	if len(rows) != 1 || rows[0].State != "draining" || rows[0].Subnet != "public" || rows[0].Hardware.MemGiB != "1.5" || rows[0].Presets[0].Name != "default" {
		t.Fatalf("%+v", rows)
	}
	w.say("provider-"+string(bob), agent.Enabled{Provider: bob}, agent.Paused{Provider: bob})
	closed, err := n.Providers(t.Context(), "")
	must(t, err)
	if closed[0].State != "disabled" {
		t.Errorf("paused: %+v", closed)
	}
	if rt := rows[0].Runtimes; len(rt) != 2 || rt[0].Failure != "no KVM" || rt[1].Runtime.Name != "wasmtime" {
		t.Fatalf("runtimes: %+v", rt)
	}
}
