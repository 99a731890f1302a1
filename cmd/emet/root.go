package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/emet-node/emet/cmd/emet/keep"
	"github.com/emet-node/emet/cmd/emet/node"
)

// version is set by the build.
var version = "dev"

// yagnaVersion is the version of the reference node whose interfaces are served.
const yagnaVersion = "0.17.6"

// Exit codes.
const (
	exitOK       = 0
	exitFailed   = 1
	exitUsage    = 2
	exitNoDaemon = 3
	exitNotFound = 4
	exitRefused  = 5
	// What evidence verify finds: a claim that is false, or one that lacks something.
	exitDisproved = 6
	exitMissing   = 7
	exitLog       = 8 // the disk under the log failed
)

// usageError is the caller's mistake; a hint at --help follows it.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// codedError ends the process with a certain code.
type codedError struct {
	error
	code int
}

func (e codedError) Unwrap() error { return e.error }

// execute runs a command line and returns the exit code.
func execute(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	keep.Limit(ctx)
	root := newRoot()
	root.SetArgs(args)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	return report(cmd, err)
}

// report tells what went wrong and picks the exit code.
func report(cmd *cobra.Command, err error) int {
	var silent exitCode
	if errors.As(err, &silent) {
		return int(silent)
	}
	if errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "interrupted")
		return 130
	}
	fmt.Fprintln(os.Stderr, "emet: "+strings.TrimPrefix(err.Error(), "emet: "))
	var usage usageError
	if errors.As(err, &usage) || isCobraUsage(err) {
		fmt.Fprintf(os.Stderr, "Run '%s --help' for usage and examples.\n", cmd.CommandPath())
		return exitUsage
	}
	if errors.Is(err, node.ErrLogFailed) {
		return exitLog
	}
	var coded codedError
	if errors.As(err, &coded) {
		return coded.code
	}
	return exitFailed
}

// exitCode ends the process with a code and without a word, as a job's own
// exit code does.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit %d", int(e)) }

func isCobraUsage(err error) bool {
	for _, s := range []string{"unknown command", "unknown flag", "unknown shorthand", "invalid argument", "requires at least", "accepts ", "flag needs an argument", "required flag"} {
		if strings.Contains(err.Error(), s) {
			return true
		}
	}
	return false
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "emet",
		Short: "A Golem Network node whose truth is a ledger",
		Long: `emet rents and sells computing on the Golem Network. Everything that happens
is an event in an append-only, tamper-evident log: proposals, agreements,
commands, bills and payments can be read back, with their causes, for ever.`,
		Example: `  emet run -- program.wasm arg…       rent a machine for one program
  emet dev                            a local network for developing clients
  emet up                             run a node
  emet log list                       read what happened`,
		SilenceErrors: true, SilenceUsage: true,
		Version: version,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("unknown command %q", args[0])}
			}
			return cmd.Help()
		},
	}
	root.SetVersionTemplate("emet {{.Version}}\n")
	root.PersistentFlags().StringP("datadir", "d", "", "data directory (EMET_DATADIR, YAGNA_DATADIR)")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		newRunCommand(), newUpCommand(), newDevCommand(), newDemoCommand(), newDevchainCommand(),
		newLogCommand(), newEvidenceCommand(), newAgreementCommand(), newActivityCommand(), newMoneyCommand(), newProviderCommand(),
		newReplayCommand(), newDiffCommand(), newWhyCommand(), newSimulateCommand(), newSQLCommand(), newLedgerCommand(),
		newIDCommand(), newAppKeyCommand(), newWebhookCommand(), newStoreCommand(), newConfigCommand(), newVersionCommand(), newBenchCommand(),
	)
	root.InitDefaultCompletionCmd()
	for _, c := range root.Commands() {
		if c.Name() == "completion" { // the library's, which explains itself to who names an unknown shell
			c.Example, c.Args, c.RunE = "  source <(emet completion bash)\n  emet completion fish | source", cobra.ArbitraryArgs, onlyBelow
		}
	}
	return root
}

// configOf loads the configuration with the command's flags on top. flags maps
// flag names to keys.
func configOf(cmd *cobra.Command, flags map[string]string) (*Config, error) {
	given := map[string]string{}
	if f := cmd.Flags().Lookup("datadir"); f != nil && f.Changed {
		given["datadir"] = f.Value.String()
	}
	for name, key := range flags {
		if f := cmd.Flags().Lookup(name); f != nil && f.Changed {
			given[key] = strings.Trim(f.Value.String(), "[]")
		}
	}
	c, err := loadConfig(given)
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

func newVersionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "version", Short: "Show the version of emet and of the interfaces it serves", Args: cobra.NoArgs,
		Example: "  emet version --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			info := map[string]string{"version": version, "yagna": yagnaVersion, "go": goVersion()}
			if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
				return printJSON(cmd.OutOrStdout(), info)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "emet %s (serves the interfaces of yagna %s, built with %s)\n", version, yagnaVersion, goVersion())
			return err
		},
	}
	cmd.Flags().Bool("json", false, "print JSON")
	return cmd
}

func goVersion() string {
	if b, ok := debug.ReadBuildInfo(); ok {
		return b.GoVersion
	}
	return "an unknown Go"
}

func newConfigCommand() *cobra.Command {
	cmd := group("config", "Show the configuration", "  emet config explain\n  emet config explain rest.listen --json")
	explain := &cobra.Command{
		Use: "explain [key…]", Short: "List each key with its value, source and meaning",
		Example: "  emet config explain\n  emet config explain rest.listen --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := configOf(cmd, nil)
			if err != nil {
				return err
			}
			l := listing{header: []string{"Key", "Value", "From", "Meaning"}}
			for _, e := range c.Explain() {
				if len(args) == 0 || contains(args, e.Key) {
					l.add(e, e.Key, e.Value, e.Source, e.Meaning)
				}
			}
			if len(l.rows) == 0 {
				return codedError{fmt.Errorf("no such key: %s (emet config explain lists all)", strings.Join(args, ", ")), exitNotFound}
			}
			return l.print(cmd)
		},
	}
	outputFlags(explain)
	cmd.AddCommand(explain)
	return cmd
}

func contains(list []string, v string) bool {
	for _, x := range list {
		if x == v {
			return true
		}
	}
	return false
}
