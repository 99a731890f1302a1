package node

import (
	"context"
	"fmt"

	"github.com/emet-node/emet/api/control"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/provider/agent"
)

// Providers implements control.Deps.
func (o *Operator) Providers(ctx context.Context) ([]control.Provider, error) {
	return ProvidersOf(ctx, o.l, "")
}

// ProvidersOf lists the identities that sell, or did; id "" means all.
func ProvidersOf(ctx context.Context, l *Ledger, id identity.NodeID) ([]control.Provider, error) {
	rows, err := l.Node.Providers(ctx, id)
	out := make([]control.Provider, len(rows))
	for i, r := range rows {
		out[i] = control.Provider{
			Hardware: r.Hardware, NodeID: r.ID, NodeName: r.NodeName, Platforms: append([]agent.Platform{}, r.Platforms...),
			Presets: append([]agent.Preset{}, r.Presets...), Rules: r.Rules, Runtimes: make([]control.Runtime, len(r.Runtimes)),
			State: r.State, Subnet: r.Subnet, Updated: r.Updated,
		}
		for j, t := range r.Runtimes {
			out[i].Runtimes[j] = control.Runtime{Runtime: t.Runtime, Failure: t.Failure, Tested: t.Tested}
		}
	}
	return out, err
}

// SwitchProvider implements control.Deps. Without ref it is about the only
// provider there is, or the default identity.
func (o *Operator) SwitchProvider(ctx context.Context, ref string, to control.Switch) (control.Provider, error) {
	id, err := o.seller(ctx, ref)
	if err != nil {
		return control.Provider{}, err
	}
	s, _, err := o.agg.Providers.Load(ctx, string(id))
	if err != nil {
		return control.Provider{}, err
	}
	if s.Provider == "" {
		return control.Provider{}, fmt.Errorf("%w: %s was never set up to sell; emet up does that unless provider.enabled is false", control.ErrNotFound, id)
	}
	var c agent.Command
	switch to {
	case control.Enable:
		c = agent.Enable{
			By: operator, NodeName: s.Enabled.NodeName, Platforms: s.Enabled.Platforms, Provider: id, Public: s.Enabled.Public, Subnet: s.Enabled.Subnet,
		}
	case control.Drain:
		c = agent.Drain{By: operator}
	case control.Disable:
		c = agent.Disable{By: operator}
	default:
		return control.Provider{}, fmt.Errorf("%w: a provider can be switched to enable, drain or disable, not to %q", control.ErrBad, to)
	}
	if _, err := o.agg.Providers.Do(ctx, string(id), c, operatorMeta(id, newKey())); err != nil {
		return control.Provider{}, bad(err)
	}
	all, err := ProvidersOf(ctx, o.l, id)
	if err != nil || len(all) == 0 {
		return control.Provider{}, err
	}
	return all[0], nil
}

func (o *Operator) seller(ctx context.Context, ref string) (identity.NodeID, error) {
	if ref == "" {
		rows, err := o.l.Node.Providers(ctx, "")
		if err != nil {
			return "", err
		}
		if len(rows) == 1 {
			return rows[0].ID, nil
		}
	}
	r, err := o.find(ctx, ref)
	return r.ID, err
}
