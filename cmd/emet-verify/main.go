// Command emet-verify checks a dossier with the second verifier alone: it holds
// nothing of the node. It is told which identities and keys are trusted, and
// which blocks are known, and ends with 0, 6 or 7 as "emet evidence verify" does.
package main

import (
	"encoding/hex"
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

const help = `emet-verify checks what a dossier proves, from the file alone. It shares no code
with emet evidence verify and must come to the same answers.

  emet-verify deal.dossier --identity 0x… --identity 0x…
  emet-verify - --key "$(cat log.key)" --json < deal.dossier

The exit code is 0 when everything is proved, 6 when something is disproved and 7
when nothing is disproved but something is missing. The page index.html in the
file is not looked at: it proves nothing.

`

// most is more than a dossier may have.
const most = 32<<20 + 1

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

func run(args []string, in io.Reader, out, errs io.Writer) int {
	var trust verifier.Trust
	flags := flag.NewFlagSet("emet-verify", flag.ContinueOnError)
	flags.SetOutput(errs)
	flags.Usage = func() {
		fmt.Fprint(errs, help)
		flags.PrintDefaults()
	}
	flags.Func("identity", "node `id` of a party (again for the other one)", func(s string) error {
		if !hexOf(s, 20) {
			return fmt.Errorf("want 0x and 40 hexadecimal digits")
		}
		trust.Identities = append(trust.Identities, strings.ToLower(s))
		return nil
	})
	flags.Func("key", "verifier `key` of a log, <origin>+<hash>+<base64>", func(s string) error {
		trust.Keys = append(trust.Keys, s)
		return nil
	})
	flags.Func("block", "`hash` of a block that you know to be in its chain", func(s string) error {
		if !hexOf(s, 32) {
			return fmt.Errorf("want 0x and 64 hexadecimal digits")
		}
		b, err := hex.DecodeString(s[2:])
		trust.Blocks = append(trust.Blocks, [32]byte(b))
		return err
	})
	asJSON := flags.Bool("json", false, "print JSON")
	files, err := parse(flags, args)
	switch {
	case err == flag.ErrHelp: //nolint:errorlint // as it is documented
		return 0
	case err != nil:
		return usage
	case len(files) != 1 || len(trust.Identities)+len(trust.Keys) == 0:
		fmt.Fprintln(errs, "emet-verify: want one file, and whom you trust: emet-verify deal.dossier --identity 0x… --identity 0x…")
		return usage
	}
	b, err := read(files[0], in)
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

// parse takes flags before, behind and between the files.
func parse(flags *flag.FlagSet, args []string) (files []string, err error) {
	for {
		if err := flags.Parse(args); err != nil || flags.NArg() == 0 {
			return files, err
		}
		files, args = append(files, flags.Arg(0)), flags.Args()[1:]
	}
}

func hexOf(s string, bytes int) bool {
	b, err := hex.DecodeString(strings.TrimPrefix(s, "0x"))
	return err == nil && strings.HasPrefix(s, "0x") && len(b) == bytes
}

func read(name string, in io.Reader) ([]byte, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close() //nolint:errcheck // only read
		in = f
	}
	return io.ReadAll(io.LimitReader(in, most))
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
