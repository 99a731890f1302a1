package projections

import (
	"context"
	"encoding/json"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/provider/agent"
)

// providers answers "what do my identities offer, and are they open?".
type providers struct{}

func (providers) Name() string { return "providers/2" }

func (providers) Schema() string {
	return `CREATE TABLE providers (
		id TEXT PRIMARY KEY, state TEXT NOT NULL, node_name TEXT NOT NULL, subnet TEXT NOT NULL, platforms TEXT NOT NULL,
		presets TEXT NOT NULL, hardware TEXT NOT NULL, rules TEXT NOT NULL, updated INTEGER NOT NULL);
	CREATE TABLE provider_runtimes (
		provider TEXT NOT NULL, name TEXT NOT NULL, version TEXT NOT NULL, runtime TEXT NOT NULL, failure TEXT NOT NULL,
		tested INTEGER NOT NULL, PRIMARY KEY (provider, name)) WITHOUT ROWID`
}

func (providers) Hears() []string {
	return []string{
		"provider.enabled.v1", "provider.draining.v1", "provider.disabled.v1", "provider.paused.v1", "provider.presets_changed.v1",
		"provider.hardware_changed.v1", "provider.rules_changed.v1", "provider.runtime_tested.v1",
	}
}

func (v providers) Apply(tx *Tx, r es.Recorded) error {
	switch e := r.Data.(type) {
	case agent.Enabled:
		if err := v.set(tx, r, e.Provider, "platforms", e.Platforms); err != nil {
			return err
		}
		return tx.update("providers", func(p *row) {
			p.set("state", "enabled")
			p.set("node_name", e.NodeName)
			p.set("subnet", e.Subnet)
		}, e.Provider)
	case agent.Draining:
		return v.state(tx, r, e.Provider, "draining")
	case agent.Disabled:
		return v.state(tx, r, e.Provider, "disabled")
	case agent.Paused:
		return v.state(tx, r, e.Provider, "disabled")
	case agent.PresetsChanged:
		return v.set(tx, r, e.Provider, "presets", e.Presets)
	case agent.HardwareChanged:
		return v.set(tx, r, e.Provider, "hardware", e.Hardware)
	case agent.RulesChanged:
		return v.set(tx, r, e.Provider, "rules", e.Rules)
	case agent.RuntimeTested:
		runtime, err := json.Marshal(e.Runtime)
		if err != nil {
			return err
		}
		return tx.put("provider_runtimes", e.Provider, e.Runtime.Name, e.Runtime.Version, string(runtime), e.Failure, r.Recorded)
	}
	return nil
}

func (v providers) state(tx *Tx, r es.Recorded, id identity.NodeID, state string) error {
	if err := v.touch(tx, r, id); err != nil {
		return err
	}
	return tx.update("providers", func(p *row) { p.set("state", state) }, id)
}

// set keeps a part of the set-up as JSON.
func (v providers) set(tx *Tx, r es.Recorded, id identity.NodeID, column string, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return err
	}
	if err := v.touch(tx, r, id); err != nil {
		return err
	}
	return tx.update("providers", func(p *row) { p.set(column, string(text)) }, id)
}

func (providers) touch(tx *Tx, r es.Recorded, id identity.NodeID) error {
	return tx.merge("providers", []string{"updated"}, id, "disabled", "", "", "[]", "[]", "{}", "{}", r.Recorded)
}

// ProviderRow is one identity in its role as a provider.
type ProviderRow struct {
	ID        identity.NodeID
	State     string // "enabled", "draining", "disabled"
	NodeName  string
	Subnet    string
	Platforms []agent.Platform
	Presets   []agent.Preset
	Hardware  agent.Hardware
	Rules     agent.Rulebook
	Runtimes  []RuntimeRow
	Updated   time.Time
}

// RuntimeRow is the newest self-test of a runtime.
type RuntimeRow struct {
	Runtime agent.Runtime
	Failure string // "" when it passed
	Tested  time.Time
}

// Providers lists the identities that were ever set up as providers. ID ""
// means all.
func (n *Node) Providers(ctx context.Context, id identity.NodeID) ([]ProviderRow, error) {
	var c conditions
	c.add(id != "", "id = ?", id)
	rows, err := query(ctx, n.DB, scanProvider, `SELECT id, state, node_name, subnet, platforms, presets, hardware, rules, updated
		FROM providers`+c.text+` ORDER BY id`, c.args...)
	for i := range rows {
		if err == nil {
			rows[i].Runtimes, err = n.runtimes(ctx, rows[i].ID)
		}
	}
	return rows, err
}

func (n *Node) runtimes(ctx context.Context, id identity.NodeID) ([]RuntimeRow, error) {
	return queryNow(ctx, n.DB, func(s scanner) (r RuntimeRow, err error) {
		var text string
		if err = s.Scan(&text, &r.Failure, moment{&r.Tested}); err == nil {
			err = json.Unmarshal([]byte(text), &r.Runtime)
		}
		return r, err
	}, `SELECT runtime, failure, tested FROM provider_runtimes WHERE provider = ? ORDER BY name`, id)
}

func scanProvider(s scanner) (r ProviderRow, err error) {
	var platforms, presets, hardware, rules string
	if err = s.Scan(&r.ID, &r.State, &r.NodeName, &r.Subnet, &platforms, &presets, &hardware, &rules, moment{&r.Updated}); err != nil {
		return r, err
	}
	for _, part := range []struct {
		text string
		into any
	}{{platforms, &r.Platforms}, {presets, &r.Presets}, {hardware, &r.Hardware}, {rules, &r.Rules}} {
		if err := json.Unmarshal([]byte(part.text), part.into); err != nil {
			return r, err
		}
	}
	return r, nil
}
