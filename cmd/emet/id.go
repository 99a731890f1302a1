package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/emet-node/emet/api/control"
	"github.com/emet-node/emet/cmd/emet/node"
)

func newIDCommand() *cobra.Command {
	list := &cobra.Command{
		Use: "list", Short: "List the identities of the node", Args: cobra.NoArgs,
		Example: "  emet id list\n  emet id list --json",
		RunE:    reading(runIDList),
	}
	outputFlags(list)
	show := &cobra.Command{
		Use: "show [id|alias]", Short: "Show one identity, the default one if none is named", Args: cobra.MaximumNArgs(1),
		Example: "  emet id show\n  emet id show seller --json",
		RunE:    reading(runIDShow),
	}
	update := &cobra.Command{
		Use: "update [id|alias]", Short: "Change the alias, or make it the default identity", Args: cobra.MaximumNArgs(1),
		Example: "  emet id update 0x… --alias seller\n  emet id update seller --default",
		RunE:    operating(false, runIDUpdate),
	}
	update.Flags().String("alias", "", "the new alias, empty for none")
	update.Flags().Bool("default", false, "make it the default identity")
	drop := &cobra.Command{
		Use: "drop <id|alias>", Short: "Give an identity up and erase its key", Args: cobra.ExactArgs(1),
		Example: "  emet id drop old --yes",
		RunE:    operating(false, runIDDrop),
	}
	drop.Flags().Bool("yes", false, "do not ask")
	commands := slices.Concat([]*cobra.Command{show}, newIDKeyCommands(), newIDLockCommands(), []*cobra.Command{update, drop})
	for _, c := range commands {
		jsonFlag(c)
	}
	return group("id", "Identities of this node", "  emet id list\n  emet id create seller", append(commands, list)...)
}

// newIDKeyCommands are those that let a secret in or out.
func newIDKeyCommands() []*cobra.Command {
	create := &cobra.Command{
		Use: "create [alias]", Short: "Make a new identity", Args: cobra.MaximumNArgs(1),
		Example: "  emet id create\n  emet id create seller --default\n  emet id create safe --password",
		RunE: operating(true, func(cmd *cobra.Command, args []string, d control.Deps) error {
			return createIdentity(cmd, d, control.NewIdentity{Alias: at(args, 0)}, "new password")
		}),
	}
	imp := &cobra.Command{
		Use: "import <file|-> [alias]", Short: "Add an identity from a key file or a secret key", Args: cobra.RangeArgs(1, 2),
		Long: `import reads a key file (Web3 secret storage, version 3) or a secret key of 64
hexadecimal digits, from a file or from standard input. A secret on a command
line would be seen by others, so there is no flag for it.`,
		Example: "  emet id import key.json seller --password\n  emet id import - < secret.hex",
		RunE:    operating(true, runIDImport),
	}
	for _, c := range []*cobra.Command{create, imp} {
		c.Flags().Bool("default", false, "make it the default identity")
		c.Flags().Bool("password", false, "ask for the password of the key file; EMET_PASSWORD gives it without asking")
	}
	export := &cobra.Command{
		Use: "export [id|alias]", Short: "Print the key file of an identity", Args: cobra.MaximumNArgs(1),
		Long:    "export prints the key file, or with --plain the bare secret. Who has it can spend what the identity holds.",
		Example: "  emet id export seller > key.json\n  emet id export --plain",
		RunE:    operating(false, runIDExport),
	}
	export.Flags().Bool("plain", false, "print the secret key in hexadecimal")
	return []*cobra.Command{create, imp, export}
}

func newIDLockCommands() []*cobra.Command {
	lock := &cobra.Command{
		Use: "lock [id|alias]", Short: "Forget the secret of an identity until it is unlocked", Args: cobra.MaximumNArgs(1),
		Example: "  emet id lock safe",
		RunE: operating(false, func(cmd *cobra.Command, args []string, d control.Deps) error {
			return sayIdentity(cmd)(d.LockIdentity(cmd.Context(), at(args, 0)))
		}),
	}
	unlock := &cobra.Command{
		Use: "unlock [id|alias]", Short: "Unlock an identity with its password", Args: cobra.MaximumNArgs(1),
		Example: "  emet id unlock safe\n  EMET_PASSWORD=… emet id unlock safe",
		RunE: operating(false, func(cmd *cobra.Command, args []string, d control.Deps) error {
			pass, err := password(cmd, "password")
			if err != nil {
				return err
			}
			return sayIdentity(cmd)(d.UnlockIdentity(cmd.Context(), at(args, 0), pass))
		}),
	}
	return []*cobra.Command{lock, unlock}
}

// at is the i-th argument, "" if there is none.
func at(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}

func identities(cmd *cobra.Command, r *node.Reading) ([]control.Identity, error) {
	rows, err := node.IdentitiesOf(cmd.Context(), r.Ledger)
	out := make([]control.Identity, len(rows))
	for i, row := range rows {
		out[i] = node.ShowIdentity(row)
	}
	return out, err
}

func runIDList(cmd *cobra.Command, _ []string, r *node.Reading) error {
	all, err := identities(cmd, r)
	if err != nil {
		return err
	}
	l := listing{header: []string{"Default", "Locked", "Alias", "Address"}, empty: "This node has no identity yet; emet id create makes one."}
	for _, i := range all {
		l.add(i, mark(i.IsDefault), mark(i.IsLocked), i.Alias, string(i.NodeID))
	}
	return l.print(cmd)
}

func mark(b bool) string {
	if b {
		return "X"
	}
	return ""
}

func runIDShow(cmd *cobra.Command, args []string, r *node.Reading) error {
	all, err := identities(cmd, r)
	if err != nil {
		return err
	}
	ref := at(args, 0)
	for _, i := range all {
		if ref == "" && i.IsDefault || ref != "" && (i.Alias == ref || strings.EqualFold(string(i.NodeID), ref)) {
			return sayIdentity(cmd)(i, nil)
		}
	}
	return codedError{fmt.Errorf("no identity %q on this node; emet id list shows all", ref), exitNotFound}
}

// sayIdentity prints what a command returned.
func sayIdentity(cmd *cobra.Command) func(control.Identity, error) error {
	return func(i control.Identity, err error) error {
		if err != nil {
			return err
		}
		if asksJSON(cmd) {
			return printJSON(cmd.OutOrStdout(), i)
		}
		pairs(cmd.OutOrStdout(), [2]string{"address", string(i.NodeID)}, [2]string{"alias", i.Alias}, [2]string{"default", yes(i.IsDefault)},
			[2]string{"locked", yes(i.IsLocked)}, [2]string{"origin", i.Origin}, [2]string{"created", when(i.Created)}, [2]string{"public key", i.PublicKey})
		return nil
	}
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func createIdentity(cmd *cobra.Command, d control.Deps, n control.NewIdentity, ask string) error {
	n.Default, _ = cmd.Flags().GetBool("default")
	if asked, _ := cmd.Flags().GetBool("password"); asked {
		pass, err := password(cmd, ask)
		if err != nil {
			return err
		}
		n.Passphrase = pass
	}
	return sayIdentity(cmd)(d.CreateIdentity(cmd.Context(), n))
}

func runIDImport(cmd *cobra.Command, args []string, d control.Deps) error {
	b, err := readInput(cmd, args[0])
	if err != nil {
		return err
	}
	text := strings.TrimSpace(string(b))
	n := control.NewIdentity{Alias: at(args, 1)}
	if strings.HasPrefix(text, "{") {
		n.KeyFile = text
	} else {
		n.Secret = text
	}
	return createIdentity(cmd, d, n, "password of the key file")
}

// readInput reads a small file, or standard input for "-".
func readInput(cmd *cobra.Command, path string) ([]byte, error) {
	in := cmd.InOrStdin()
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, codedError{err, exitNotFound}
		}
		defer f.Close() //nolint:errcheck // opened for reading
		in = f
	}
	return io.ReadAll(io.LimitReader(in, 1<<20))
}

// password takes EMET_PASSWORD, or asks at the terminal.
func password(cmd *cobra.Command, what string) (string, error) {
	if p, ok := os.LookupEnv("EMET_PASSWORD"); ok {
		return p, nil
	}
	if !term.IsTerminal(int(os.Stdin.Fd())) {
		return "", usageError{errors.New("there is no terminal to ask for a password at; set EMET_PASSWORD")}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "%s: ", what)
	b, err := term.ReadPassword(int(os.Stdin.Fd()))
	fmt.Fprintln(cmd.ErrOrStderr())
	return string(b), err
}

func runIDExport(cmd *cobra.Command, args []string, d control.Deps) error {
	plain, _ := cmd.Flags().GetBool("plain")
	s, err := d.ExportIdentity(cmd.Context(), at(args, 0), plain)
	if err != nil {
		return err
	}
	if asksJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), s)
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), strings.TrimSpace(s))
	return err
}

func runIDUpdate(cmd *cobra.Command, args []string, d control.Deps) error {
	var c control.IdentityChange
	if cmd.Flags().Changed("alias") {
		alias, _ := cmd.Flags().GetString("alias")
		c.Alias = &alias
	}
	c.Default, _ = cmd.Flags().GetBool("default")
	if c.Alias == nil && !c.Default {
		return usageError{errors.New("nothing to change: give --alias or --default")}
	}
	return sayIdentity(cmd)(d.UpdateIdentity(cmd.Context(), at(args, 0), c))
}

func runIDDrop(cmd *cobra.Command, args []string, d control.Deps) error {
	i, err := d.Identity(cmd.Context(), args[0])
	if err != nil {
		return err
	}
	if sure, _ := cmd.Flags().GetBool("yes"); !sure {
		if !term.IsTerminal(int(os.Stdin.Fd())) {
			return usageError{errors.New("dropping an identity erases its key for good; say --yes if that is meant")}
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "Erase the key of %s for good? What it holds is lost unless the key was exported. [y/N] ", i.NodeID)
		var reply string
		if _, err := fmt.Fscanln(os.Stdin, &reply); err != nil || !strings.HasPrefix(strings.ToLower(reply), "y") {
			return exitCode(exitFailed)
		}
	}
	return sayIdentity(cmd)(d.DropIdentity(cmd.Context(), string(i.NodeID)))
}
