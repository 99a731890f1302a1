package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/emet-node/emet/adapters/ledger/dossier"
)

func newEvidenceCompare() *cobra.Command {
	cmd := &cobra.Command{
		Use: "compare <file> <file>", Short: "Tell where the stories of two parties part", Args: cobra.ExactArgs(2),
		Long: `compare holds the dossiers of both parties of a deal against each other and
lists, in the order of time, what they tell differently and what only one of
them tells. It compares what is said; emet evidence verify says what is proved.

The exit code is 0 when they tell the same, 6 when they contradict each other or are
not two whole dossiers of one deal, and 7 when only one of them tells something.`,
		Example: "  emet evidence compare mine.dossier theirs.dossier",
		RunE:    runEvidenceCompare,
	}
	jsonFlag(cmd)
	return cmd
}

func runEvidenceCompare(cmd *cobra.Command, args []string) error {
	var files [2][]byte
	for i, name := range args {
		b, err := readDossier(cmd, name)
		if err != nil {
			return err
		}
		files[i] = b
	}
	c, err := dossier.Compare(files[0], files[1])
	switch {
	case errors.Is(err, dossier.ErrMalformed), errors.Is(err, dossier.ErrIncomparable), errors.Is(err, os.ErrNotExist):
		return codedError{err, exitDisproved}
	case err != nil:
		return err
	}
	if asksJSON(cmd) {
		if err := printJSON(cmd.OutOrStdout(), c); err != nil {
			return err
		}
	} else {
		sayComparison(cmd.OutOrStdout(), args, c)
	}
	switch {
	case c.Differs():
		return exitCode(exitDisproved)
	case len(c.Parts) > 0:
		return exitCode(exitMissing)
	}
	return nil
}

func sayComparison(w io.Writer, names []string, c dossier.Comparison) {
	fmt.Fprintf(w, "agreement %s\nboth tell %d things alike\n", c.Agreement, c.Same)
	if len(c.Parts) == 0 {
		fmt.Fprintln(w, "their stories never part")
		return
	}
	for i, p := range c.Parts {
		if i == 0 {
			fmt.Fprintln(w, "\ntheir stories part here:")
		}
		if i == 1 {
			fmt.Fprintln(w, "\nand then:")
		}
		fmt.Fprintf(w, "  %s  %s\n", p.When.Format(time.RFC3339Nano), printable(p.About))
		for j, text := range []string{p.First, p.Second} {
			if text == "" {
				text = "says nothing of it"
			}
			fmt.Fprintf(w, "    %s: %s\n", names[j], printable(text))
		}
	}
}
