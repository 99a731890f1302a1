package main

import (
	"encoding/hex"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity/contact"
)

func newEvidenceConflicts() *cobra.Command {
	cmd := &cobra.Command{
		Use: "conflicts", Short: "List where other nodes contradict their own logs", Args: cobra.NoArgs,
		Long: `conflicts lists pairs of checkpoints that another node signed and that do not
go together: it keeps two histories of one log (forked), or has offered a
shorter log than the one that it stood by before (rolled-back). Both statements
are in the log, with the message that the second one came in, and go into the
dossiers of deals with that node, where others can check them.

A node that comes with another log under its name (replaced) may have restored
a backup, which it is free to do; what it stood by before still holds.`,
		Example: "  emet evidence conflicts\n  emet evidence conflicts --json | jq .[].node",
		RunE:    readingLog(runEvidenceConflicts),
	}
	outputFlags(cmd)
	return cmd
}

// checkpointJSON is what a node stood by.
type checkpointJSON struct {
	Origin string `json:"origin"`
	Size   uint64 `json:"size"`
	Root   string `json:"root"`
	Note   string `json:"note"`
}

type conflictJSON struct {
	Position uint64         `json:"position"`
	Recorded time.Time      `json:"recorded"`
	Node     string         `json:"node"`
	Kind     string         `json:"kind"` // forked, rolled-back, replaced
	First    checkpointJSON `json:"first"`
	Second   checkpointJSON `json:"second"`
	// Signed says that the message with the second one is kept as it was signed.
	Signed bool `json:"signed"`
}

func runEvidenceConflicts(cmd *cobra.Command, _ []string, r *node.Reading) error {
	l := listing{header: []string{"Position", "Recorded", "Node", "How", "First", "Then"}, empty: "No node was found to contradict its own log."}
	f := es.Filter{StreamPrefixes: []string{contact.Category + "-"}, Types: []string{"peer.conflict_found.v1"}}
	for e, err := range r.Log.ReadAll(cmd.Context(), 0, f) {
		if err != nil {
			return err
		}
		found, ok := e.Data.(contact.ConflictFound)
		if !ok {
			continue
		}
		c := conflictJSON{
			Position: uint64(e.Position), Recorded: e.Recorded, Node: string(found.Node), Kind: string(found.Kind), First: checkpointIn(found.First),
			Second: checkpointIn(found.Second), Signed: len(found.Raw) > 0 && found.Raw[0] != '{',
		}
		l.add(c, fmt.Sprint(c.Position), c.Recorded.Format(time.DateTime), c.Node, c.Kind, counted(c.First), counted(c.Second))
	}
	return l.print(cmd)
}

// checkpointIn reads a note, which was checked when it came.
func checkpointIn(note string) checkpointJSON {
	origin, size, root, err := verify.ParseCheckpoint([]byte(note))
	if err != nil {
		return checkpointJSON{Note: note}
	}
	return checkpointJSON{Origin: origin, Size: size, Root: hex.EncodeToString(root[:]), Note: note}
}

func counted(c checkpointJSON) string { return fmt.Sprintf("%d events, %.8s", c.Size, c.Root) }
