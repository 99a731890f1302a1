package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/emet-node/emet/adapters/chain/dev"
	"github.com/emet-node/emet/api/control"
	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/provider/agent"
)

func newDevCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "dev", Short: "Run a local network for developing clients", Args: cobra.NoArgs,
		Long: `dev runs a requestor, its providers and a chain, with nothing to configure:
clients take the lines it prints and work as they would on the real network. The
payment networks hoodi and holesky are served by the chain, and the requestor's
account is funded.

The network is one process. When that is killed, it is started again where it
was, and the printed lines stay valid.`,
		Example: `  emet dev
  eval "$(emet dev --port 0 2>/dev/null | sed '/READY/q')"
  emet dev -d ./network --providers 4
  emet dev --grpc 127.0.0.1:0              let EventStoreDB clients read the log`,
		RunE: runDev,
	}
	f := cmd.Flags()
	f.Int("port", 7465, "port of the REST interface, 0 = any free one")
	f.Int("providers", 2, "number of providers")
	storeFlags(f)
	f.String("log-level", "warn", "debug, info, warn or error")
	f.Bool("kept", false, "be the network, for the emet that starts it again")
	f.Bool("temporary", false, "remove the directory when the keeper is gone")
	for _, name := range []string{"kept", "temporary"} {
		_ = f.MarkHidden(name) // they are there
	}
	return cmd
}

func runDev(cmd *cobra.Command, _ []string) error {
	port, _ := cmd.Flags().GetInt("port")
	providers, _ := cmd.Flags().GetInt("providers")
	if providers < 1 || providers > 64 {
		return usageError{fmt.Errorf("--providers %d: want 1 to 64", providers)}
	}
	if port < 0 || port > 65535 {
		return usageError{fmt.Errorf("--port %d: want 0 to 65535", port)}
	}
	c, err := configOf(cmd, map[string]string{"log-level": "log.level", "store": "store.engine", "grpc": "grpc.listen", "grpc-tls": "grpc.tls"})
	if err != nil {
		return err
	}
	if !cmd.Flags().Changed("log-level") && c.source["log.level"] == "default" {
		c.set("log.level", "warn", "dev")
	}
	dir, _ := cmd.Flags().GetString("datadir")
	if kept, _ := cmd.Flags().GetBool("kept"); kept {
		return runKept(cmd, devOptions{
			Dir: dir, Listen: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), Providers: providers, Logger: newLogger(c), Webhooks: webhooksOf(c),
			Store: c.Store(), GRPC: c.String("grpc.listen"), GRPCTLS: c.Bool("grpc.tls"),
		})
	}
	n, err := startLocal(cmd.Context(), localOptions{
		Dir: dir, Port: port, Providers: providers, Level: c.String("log.level"), Stderr: cmd.ErrOrStderr(), News: func(name, what string) {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s %s\n", name, what)
		}, Store: c.Store(), GRPC: c.String("grpc.listen"), GRPCTLS: c.Bool("grpc.tls"),
	})
	if err != nil {
		return err
	}
	printDev(cmd.OutOrStdout(), n.Client.URL, n.Client.Key, n.Door)
	notifyReady()
	return n.Wait(cmd.Context())
}

// runKept is the network itself.
func runKept(cmd *cobra.Command, o devOptions) error {
	if temporary, _ := cmd.Flags().GetBool("temporary"); temporary {
		keeper := os.Getppid()
		defer func() {
			if os.Getppid() != keeper { // it was killed: nobody else removes it
				_ = os.RemoveAll(o.Dir)
			}
		}()
	}
	d, err := startDev(cmd.Context(), o)
	if err != nil {
		return err
	}
	printDev(cmd.OutOrStdout(), d.URL, d.Key, d.node.GRPCURL())
	return d.Wait()
}

// printDev tells what clients need, in lines that a shell can take.
func printDev(w io.Writer, url, key, door string) {
	fmt.Fprintf(w, "export YAGNA_API_URL=%s\nexport YAGNA_APPKEY=%s\n", url, key)
	if door != "" {
		fmt.Fprintf(w, "export EMET_GRPC_URL='%s'\n", door)
	}
	fmt.Fprintln(w, "READY")
}

// devOptions say how a local network is set up.
type devOptions struct {
	Dir       string
	Listen    string
	Providers int
	Logger    *slog.Logger
	Webhooks  node.Webhooks
	Store     string // where the log is; "" = in segments
	GRPC      string // address of the door for EventStoreDB clients; "" = none
	GRPCTLS   bool
}

// devNet is a local network in this process.
type devNet struct {
	URL, Key string

	node *node.Node
	done chan error
}

// startDev starts a network and returns when a client can use it. It runs
// until ctx ends.
func startDev(ctx context.Context, o devOptions) (*devNet, error) {
	chains, err := dev.Start(dev.Config{Dir: filepath.Join(o.Dir, "chain")})
	if err != nil {
		return nil, fmt.Errorf("development chain: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	n, err := node.Open(ctx, devNodeOptions(o, chains))
	if err != nil {
		cancel()
		_ = chains.Close()
		return nil, openError(err)
	}
	d := &devNet{URL: n.URL(), node: n, done: make(chan error, 1)}
	go func() {
		defer cancel()
		err := n.Run(ctx)
		stop, cancelStop := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancelStop()
		n.EndUnits(stop)
		d.done <- errors.Join(err, n.Close(), chains.Close())
		close(d.done)
	}()
	if err := d.prepare(ctx, chains, o.Providers); err != nil {
		cancel()
		return nil, errors.Join(err, d.Wait())
	}
	return d, nil
}

// devNetworks are funded and offered: the ones that published clients ask for.
var devNetworks = []string{"holesky", "hoodi"}

func devNodeOptions(o devOptions, chains *dev.Chains) node.Options {
	urls := map[string][]string{}
	for network, url := range chains.URLs() {
		if slices.Contains(devNetworks, network) || network == "amoy" || network == "polygon" {
			urls[network] = []string{url}
		}
	}
	opts := node.Options{
		Dir: o.Dir, Socket: control.Path(o.Dir, defaultDataDir()), Version: version, Logger: o.Logger, Store: o.Store, GRPC: o.GRPC, GRPCTLS: o.GRPCTLS, SegmentBytes: 16 << 20, Listen: o.Listen, Chains: urls, DefaultNetwork: "hoodi",
		Cycle: 5 * time.Second, TTL: time.Hour, IdleAgreement: 90 * time.Second, Unresponsive: 5 * time.Second, ProviderLost: 3 * time.Second,
		OrphanAfter: 15 * time.Second, AllowLoopback: true, Webhooks: o.Webhooks,
		Identities: []node.Identity{{Alias: "requestor", AppKeys: []node.AppKey{{Name: "dev"}}}},
	}
	for i := range o.Providers {
		name := fmt.Sprintf("provider-%d", i+1)
		opts.Identities = append(opts.Identities, node.Identity{Alias: name, Provider: &node.Provider{
			Name: name, Subnet: "public", Presets: []agent.Preset{devPreset},
			Hardware: node.DetectHardware(os.TempDir(), 0, "", ""), Rules: agent.Rulebook{MaxAgreements: 4, NoteIntervalSec: 120},
		}})
	}
	return opts
}

var devPreset = agent.Preset{
	Name: "default", Runtime: "wasmtime", Initial: "0",
	Coeffs: map[string]string{"golem.usage.duration_sec": "0.0001", "golem.usage.cpu_sec": "0.0002"},
}

// prepare funds the requestor and waits until every provider has its offer on
// the market.
func (d *devNet) prepare(ctx context.Context, chains *dev.Chains, providers int) error {
	for i := range providers + 1 {
		if _, err := d.node.Secrets.Keys.Info(d.node.Identity(i)); err != nil {
			return fmt.Errorf("%w; put the folder secrets of the data directory back from a backup, or name another directory with -d", err)
		}
	}
	if err := d.node.Serving(ctx); err != nil {
		return err
	}
	owner, err := onchain.ParseAddress(string(d.node.Identity(0)))
	if err != nil {
		return err
	}
	for _, network := range devNetworks {
		if err := chains.Fund(ctx, network, owner); err != nil {
			return fmt.Errorf("fund the requestor on %s: %w", network, err)
		}
	}
	for i := range providers {
		if err := d.node.Ready(ctx, d.node.Identity(i+1)); err != nil {
			return err
		}
	}
	d.Key, err = d.node.AppKey(ctx, d.node.Identity(0), node.AppKey{Name: "dev"})
	return err
}

// Wait waits until the network has stopped.
func (d *devNet) Wait() error { return <-d.done }

func newDevchainCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "devchain", Short: "Run only the development chain", Args: cobra.NoArgs,
		Long: `devchain serves real EVMs with the chain ids and contracts of the payment
networks, each at its own path. A block is made for every transaction. The
JSON-RPC method emet_fund gives an address coins and tokens.`,
		Example: `  emet devchain
  emet devchain --listen 127.0.0.1:8545 --network hoodi -d ./chain`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			listen, _ := cmd.Flags().GetString("listen")
			networks, _ := cmd.Flags().GetStringSlice("network")
			dir, _ := cmd.Flags().GetString("datadir")
			for _, n := range networks {
				if _, ok := onchain.Network(n); !ok {
					return usageError{unknownNetwork(n)}
				}
			}
			err := dev.Serve(cmd.Context(), dev.Config{Listen: listen, Dir: dir, Networks: networks}, func(urls map[string]string) {
				for _, p := range onchain.Networks() {
					if url, ok := urls[p.Network]; ok {
						fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", p.Network, url)
					}
				}
				fmt.Fprintln(cmd.OutOrStdout(), "READY")
			})
			if errors.Is(err, syscall.EADDRINUSE) {
				return fmt.Errorf("%w; another chain may run here, choose another address with --listen", err)
			}
			return err
		},
	}
	cmd.Flags().String("listen", "127.0.0.1:8545", "host:port, port 0 = any free one")
	cmd.Flags().StringSlice("network", nil, "networks to serve (default all)")
	return cmd
}
