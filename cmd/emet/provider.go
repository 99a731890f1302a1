package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/emet-node/emet/api/control"
	"github.com/emet-node/emet/cmd/emet/node"
)

func newProviderCommand() *cobra.Command {
	status := &cobra.Command{
		Use: "status", Short: "Show what is offered and whether it is open for business", Args: cobra.NoArgs,
		Example: "  emet provider status\n  emet provider status --json",
		RunE:    reading(runProviderStatus),
	}
	outputFlags(status)
	presets := &cobra.Command{
		Use: "presets", Short: "List the price lists", Args: cobra.NoArgs,
		Example: "  emet provider presets --json",
		RunE:    reading(runPresets),
	}
	outputFlags(presets)
	turn := func(to control.Switch, short string) *cobra.Command {
		cmd := &cobra.Command{
			Use: string(to) + " [id|alias]", Short: short, Args: cobra.MaximumNArgs(1),
			Example: "  emet provider " + string(to),
			RunE: operating(false, func(cmd *cobra.Command, args []string, d control.Deps) error {
				p, err := d.SwitchProvider(cmd.Context(), at(args, 0), to)
				if err != nil {
					return err
				}
				if asksJSON(cmd) {
					return printJSON(cmd.OutOrStdout(), p)
				}
				_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is %s\n", p.NodeID, p.State)
				return err
			}),
		}
		jsonFlag(cmd)
		return cmd
	}
	return group("provider", "Selling computing", "  emet provider status\n  emet provider drain", status, presets,
		turn(control.Enable, "Open for business, with the settings of the last time"),
		turn(control.Drain, "Let running agreements end and make no new ones until it is enabled"),
		turn(control.Disable, "Close until it is enabled: withdraw offers and make no new agreements"))
}

func runProviderStatus(cmd *cobra.Command, _ []string, r *node.Reading) error {
	all, err := node.ProvidersOf(cmd.Context(), r.Ledger, "")
	if err != nil {
		return err
	}
	l := listing{
		header: []string{"Provider", "State", "Name", "Subnet", "Threads", "Memory", "Storage", "Runtimes", "Presets", "Paid on"},
		empty:  "No identity of this node sells; emet up sets one up unless provider.enabled is false.",
	}
	for _, p := range all {
		var runtimes, presets, platforms []string
		for _, t := range p.Runtimes {
			name := t.Name
			if t.Failure != "" {
				name += " (failed: " + t.Failure + ")"
			}
			runtimes = append(runtimes, name)
		}
		for _, x := range p.Presets {
			presets = append(presets, x.Name)
		}
		for _, x := range p.Platforms {
			platforms = append(platforms, x.Platform)
		}
		l.add(p, string(p.NodeID), p.State, p.NodeName, p.Subnet, fmt.Sprint(p.Hardware.Threads), p.Hardware.MemGiB+" GiB", p.Hardware.StorageGiB+" GiB",
			strings.Join(runtimes, " "), strings.Join(presets, " "), strings.Join(platforms, " "))
	}
	return l.print(cmd)
}

func runPresets(cmd *cobra.Command, _ []string, r *node.Reading) error {
	all, err := node.ProvidersOf(cmd.Context(), r.Ledger, "")
	if err != nil {
		return err
	}
	type preset struct {
		Provider string            `json:"provider"`
		Name     string            `json:"name"`
		Runtime  string            `json:"runtime"`
		Initial  string            `json:"initial"` // GLM per agreement
		Coeffs   map[string]string `json:"coeffs"`  // GLM per unit of a counter
	}
	l := listing{header: []string{"Provider", "Preset", "Runtime", "Per agreement", "Per unit"}, empty: "There are no presets."}
	for _, p := range all {
		for _, x := range p.Presets {
			var per []string
			for _, counter := range slices.Sorted(maps.Keys(x.Coeffs)) {
				per = append(per, counter+" "+x.Coeffs[counter])
			}
			l.add(preset{string(p.NodeID), x.Name, x.Runtime, x.Initial, x.Coeffs}, string(p.NodeID), x.Name, x.Runtime, x.Initial, strings.Join(per, ", "))
		}
	}
	return l.print(cmd)
}
