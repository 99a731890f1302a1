package main

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/projections"
)

func newStoreCommand() *cobra.Command {
	verify := &cobra.Command{
		Use: "verify", Short: "Check every frame, chain and leaf of the log, and what lies beside it", Args: cobra.NoArgs,
		Long: `verify reads the whole log and checks every checksum, chain, leaf, payload and
position, and holds it against the newest checkpoint that was signed of it: the files
alone cannot tell that their end is gone. It changes nothing and needs no lock: beside
a running node it checks what was there at this moment. Damage is named by file, byte
and position, and the exit code is 1.

It also reads the blobs, which are long outputs of commands and kept proofs of
payments: each that a fact names must be there and be what its address says. A
blob is put right by its file from a backup. Whether those are there that erased
facts named, or facts sealed with keys that are not here, cannot be known.`,
		Example: "  emet store verify\n  emet store verify -d ./node --json",
		RunE:    runVerify,
	}
	rebuild := &cobra.Command{
		Use: "rebuild-views", Short: "Make all views anew from the log", Args: cobra.NoArgs,
		Long:    "rebuild-views throws the views away and folds the log again. The node must not run.",
		Example: "  emet store rebuild-views -d ./node",
		RunE:    runRebuild,
	}
	info := &cobra.Command{
		Use: "info", Short: "Show which log this is and how long it is", Args: cobra.NoArgs,
		Example: "  emet store info --json",
		RunE:    readingLog(runStoreInfo),
	}
	for _, c := range []*cobra.Command{verify, rebuild, info} {
		jsonFlag(c)
	}
	return group("store", "Look after the files of the log", "  emet store verify\n  emet store info",
		verify, rebuild, info, newBackupCommand(), newRestoreCommand(), newRepairCommand(), newReconcileCommand(), newExportCommand(), newCheckpointCommand())
}

func runRebuild(cmd *cobra.Command, _ []string) error {
	c, err := configOf(cmd, nil)
	if err != nil {
		return err
	}
	if !node.HasData(c.Dir()) {
		return explain(fmt.Errorf("%w: %s", node.ErrNoData, c.Dir()))
	}
	l, err := node.OpenLedger(cmd.Context(), node.Options{Dir: c.Dir(), Version: version, Store: c.Store()})
	if err != nil {
		return explain(err)
	}
	type rebuilt struct {
		View     string `json:"view"`
		Position uint64 `json:"position"` // events it has seen
	}
	var out []rebuilt
	defer node.InBulk()()
	for _, v := range l.Views() {
		v.ForgetPast()
	}
	if err = projections.Rebuild(cmd.Context(), l.Views()...); err == nil {
		for _, v := range l.Views() {
			out = append(out, rebuilt{v.Name(), uint64(v.Position())})
		}
	}
	if err = errors.Join(err, l.Close()); err != nil {
		return explain(err)
	}
	if asksJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), out)
	}
	for _, v := range out {
		fmt.Fprintf(cmd.OutOrStdout(), "%-9s made anew from %d events\n", v.View, v.Position)
	}
	return nil
}

func runStoreInfo(cmd *cobra.Command, _ []string, r *node.Reading) error {
	id, err := r.LogID(cmd.Context())
	if err != nil {
		return err
	}
	standing, err := r.Standing(cmd.Context())
	if err != nil {
		return err
	}
	size, root := r.Store.Root()
	c, err := configOf(cmd, nil)
	if err != nil {
		return err
	}
	bytes := int64(0)
	segments, _ := filepath.Glob(c.Dir("store", "seg", "*.elog"))
	for _, s := range segments {
		if info, err := os.Stat(s); err == nil {
			bytes += info.Size()
		}
	}
	database, _ := filepath.Glob(c.Dir("store", "log.sqlite*"))
	for _, s := range database {
		if info, err := os.Stat(s); err == nil {
			bytes += info.Size()
		}
	}
	info := struct {
		Dir      string    `json:"dir"`
		LogID    string    `json:"logId"`
		Engine   string    `json:"engine"`
		Events   uint64    `json:"events"`
		Root     string    `json:"root"`
		Segments int       `json:"segments"`
		Bytes    int64     `json:"bytes"`
		Frozen   []finding `json:"frozen"` // why the node does not act; none = it does
	}{c.Dir("store"), hex.EncodeToString(id[:]), r.Store.Caps().Name, size, root.String(), len(segments), bytes, findingsOf(standing.Findings)}
	if asksJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), info)
	}
	frozen := ""
	for _, f := range info.Frozen {
		frozen = f.Text // the others are with emet store reconcile
	}
	pairs(cmd.OutOrStdout(), [2]string{"directory", info.Dir}, [2]string{"log", info.LogID}, [2]string{"engine", info.Engine},
		[2]string{"events", fmt.Sprint(info.Events)}, [2]string{"root", info.Root},
		[2]string{"segments", fmt.Sprintf("%d (%d bytes)", info.Segments, info.Bytes)}, [2]string{"frozen", frozen})
	return nil
}
