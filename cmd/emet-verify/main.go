// Command emet-verify checks dossiers with the second verifier alone: it holds
// nothing of the node. It takes files after the identities and keys that are
// trusted, and ends with 0, 6 or 7 as "emet evidence verify" does.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/emet-node/emet/verifier"
)

// Exit codes.
const (
	usage     = 2
	failed    = 1
	disproved = 6
	missing   = 7
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, out, errs io.Writer) int {
	var trust verifier.Trust
	flags := flag.NewFlagSet("emet-verify", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.Func("identity", "node id of a party (again for the other one)", func(s string) error {
		trust.Identities = append(trust.Identities, strings.ToLower(s))
		return nil
	})
	flags.Func("key", "verifier key of a log", func(s string) error {
		trust.Keys = append(trust.Keys, s)
		return nil
	})
	asJSON := flags.Bool("json", false, "print JSON")
	if err := flags.Parse(args); err != nil {
		return usage
	}
	if flags.NArg() != 1 || len(trust.Identities)+len(trust.Keys) == 0 {
		fmt.Fprintln(errs, "emet-verify: want one file, and whom you trust: emet-verify --identity 0x… --identity 0x… deal.dossier")
		return usage
	}
	b, err := os.ReadFile(flags.Arg(0))
	if err != nil {
		fmt.Fprintln(errs, "emet-verify:", err)
		return failed
	}
	claims, err := verifier.Verify(b, trust)
	if err != nil {
		fmt.Fprintln(errs, "emet-verify: --key:", err)
		return usage
	}
	if *asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		if err := e.Encode(claims); err != nil {
			return failed
		}
		return code(claims)
	}
	for _, c := range claims {
		fmt.Fprintf(out, "%-9s %-19s %s\n", c.Verdict, c.Claim, c.Why)
	}
	return code(claims)
}

func code(claims []verifier.Claim) int {
	worst := 0
	for _, c := range claims {
		switch c.Verdict {
		case verifier.Disproved:
			return disproved
		case verifier.Missing:
			worst = missing
		}
	}
	return worst
}
