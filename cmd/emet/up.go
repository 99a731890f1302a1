package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/emet-node/emet/api/control"
	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/provider/agent"
)

func newUpCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "up", Short: "Run a node: buy and sell computing", Args: cobra.NoArgs,
		Long: `up runs the node until it is interrupted. It serves the REST interface of Golem
nodes, takes part in the market, and sells this machine's computing unless
--no-provider is given. Activities that run go on when it stops; the next start
finds them again.

With --as-of and --read-only it shows the node as it was at a moment of its
past instead: all of the REST interface for reading, nothing for writing, no
network, no money, no work. Another node may run on the same directory.

Payment networks are served when their JSON-RPC URL is known: set for instance
HOODI_GETH_ADDR=https://….`,
		Example: `  emet up
  emet up --no-provider --listen http://127.0.0.1:7465
  HOODI_GETH_ADDR=http://127.0.0.1:8545/hoodi emet up -d ./node --export
  emet up --as-of 2026-01-02T15:04:05Z --read-only --listen http://127.0.0.1:7466
  emet up --grpc 127.0.0.1:2113            let EventStoreDB clients read the log
  emet up --store sqlite -d ./node         keep the log in a SQLite file
  emet up --store 'kurrent://127.0.0.1:2113?tls=false'`,
		RunE: runUp,
	}
	f := cmd.Flags()
	f.String("listen", "", "address of the REST interface (rest.listen)")
	f.Bool("no-provider", false, "do not sell computing")
	f.StringSlice("net-listen", nil, "multiaddrs for other nodes (net.listen)")
	f.StringSlice("bootstrap", nil, "nodes to connect to at start (net.bootstrap)")
	f.String("name", "", "name shown in own offers (node.name)")
	storeFlags(f)
	f.Bool("export", false, "print export lines with an app-key for clients when ready")
	f.String("as-of", "", "show the node as it was after a position or at a time (RFC 3339); with --read-only")
	f.Bool("read-only", false, "with --as-of: serve REST for reading, without a network, a provider or effects")
	f.Bool("end-units", false, "end running activities when the node stops")
	return cmd
}

func runUp(cmd *cobra.Command, _ []string) error {
	c, err := configOf(cmd, map[string]string{
		"listen": "rest.listen", "net-listen": "net.listen", "bootstrap": "net.bootstrap", "name": "node.name",
		"store": "store.engine", "grpc": "grpc.listen", "grpc-tls": "grpc.tls",
	})
	if err != nil {
		return err
	}
	if asOf, _ := cmd.Flags().GetString("as-of"); asOf != "" || cmd.Flags().Changed("read-only") {
		return runUpPast(cmd, c, asOf)
	}
	noProvider, _ := cmd.Flags().GetBool("no-provider")
	export, _ := cmd.Flags().GetBool("export")
	endUnits, _ := cmd.Flags().GetBool("end-units")
	o, err := nodeOptions(c)
	if err != nil {
		return err
	}
	me := node.Identity{Closed: noProvider || !c.Bool("provider.enabled")}
	if !me.Closed {
		me.Provider = providerOf(c, c.String("node.name"))
	}
	if secret := c.String("autoconf.id-secret"); secret != "" {
		me.Secret = secret
	}
	if key := c.String("autoconf.appkey"); key != "" {
		me.AppKeys = append(me.AppKeys, node.AppKey{Name: "autoconfigured", Secret: key, Fleeting: true})
	}
	o.Identities = []node.Identity{me}
	ctx := cmd.Context()
	n, err := node.Open(ctx, o)
	if err != nil {
		return openError(err)
	}
	defer n.Close() //nolint:errcheck // the log is durable without it
	served := make(chan error, 1)
	running, ended := context.WithCancel(ctx)
	go func() {
		served <- n.Run(ctx)
		ended()
	}()
	if me.Provider != nil {
		awaitOffer(running, n, o.Logger)
	}
	if err := announce(running, cmd.OutOrStdout(), n, export); err != nil {
		return errors.Join(err, <-served)
	}
	err = <-served
	if endUnits {
		stop, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		n.EndUnits(stop)
	}
	return err
}

// awaitOffer waits a while until the provider has its offer on the market; a
// node whose runtime failed its test serves all the same.
func awaitOffer(ctx context.Context, n *node.Node, log *slog.Logger) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if phase, err := n.KeptClosed(ctx, n.Identity(0)); err == nil && phase != "" {
		log.Warn("the provider stays as its operator left it; emet provider enable opens it", "state", phase)
		return
	}
	if err := n.Ready(ctx, n.Identity(0)); err != nil {
		log.Warn("the provider has no offer on the market yet", "error", err)
	}
}

// announce tells that the node is ready, in lines that a shell can take.
func announce(ctx context.Context, w io.Writer, n *node.Node, export bool) error {
	if err := n.Serving(ctx); err != nil {
		return err
	}
	door := n.GRPCURL()
	if export {
		key, err := n.AppKey(ctx, n.Identity(0), node.AppKey{Name: "default"})
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "export YAGNA_API_URL=%s\nexport YAGNA_APPKEY=%s\n", n.URL(), key)
		if a := n.Addrs(); len(a) > 0 {
			fmt.Fprintf(w, "export EMET_BOOTSTRAP=%s\n", strings.Join(a, ","))
		}
		if door != "" {
			fmt.Fprintf(w, "export EMET_GRPC_URL='%s'\n", door)
		}
	} else {
		fmt.Fprintf(w, "node %s serves %s\n", n.Identity(0), n.URL())
		if door != "" {
			fmt.Fprintf(w, "EventStoreDB clients read the log at %s\n", door)
		}
	}
	_, err := fmt.Fprintln(w, "READY")
	notifyReady()
	return err
}

// storeFlags say where the log is and who may read it there.
func storeFlags(f *pflag.FlagSet) {
	f.String("store", "", "where the log is: segment, sqlite, sqlite:PATH or kurrent://… (store.engine)")
	f.String("grpc", "", "open a door for EventStoreDB clients at this address (grpc.listen)")
	f.Bool("grpc-tls", false, "secure that door with a certificate of the node's own: most clients send keys with TLS only (grpc.tls)")
}

// openError adds to an error what its reader can do about it.
func openError(err error) error {
	switch {
	case errors.Is(err, es.ErrLocked):
		return fmt.Errorf("%w; stop the other one, or give this one another directory with -d", err)
	case errors.Is(err, es.ErrCorrupt):
		return fmt.Errorf("%w; emet store verify tells all damage, emet store repair what can be done", err)
	}
	return err
}

// nodeOptions reads what a node is told from the configuration.
func nodeOptions(c *Config) (node.Options, error) {
	listen, err := c.ListenAddr()
	if err != nil {
		return node.Options{}, usageError{err}
	}
	o := node.Options{
		Dir: c.Dir(), Socket: control.Path(c.Dir(), defaultDataDir()), Version: version, Logger: newLogger(c), Store: c.Store(), GRPC: c.String("grpc.listen"), GRPCTLS: c.Bool("grpc.tls"), SegmentBytes: int64(c.Int("store.segment-mib")) << 20, Listen: listen,
		AllowOrigins: c.List("rest.allow-origin"), AllowAnyOrigin: c.Bool("rest.allow-any-origin"), Net: node.Network{Name: c.String("net.name"), Listen: c.List("net.listen"), Bootstrap: c.List("net.bootstrap")},
		Chains: chainURLs(c), DefaultNetwork: c.String("payment.default-network"), Cycle: c.Duration("payment.cycle"),
		SkipValidation: c.Bool("payment.skip-validation"), TTL: c.Duration("market.ttl"), IdleAgreement: c.Duration("provider.idle-agreement"),
		Unresponsive: c.Duration("activity.unresponsive"), ProviderLost: c.Duration("activity.provider-lost"), WallClock: c.Duration("activity.wall-clock"),
		OrphanAfter: c.Duration("activity.orphan-after"), AllowLoopback: c.Bool("provider.allow-loopback"),
		Webhooks: webhooksOf(c),
	}
	return o, nil
}

// webhooksOf is what the configuration says about webhooks.
func webhooksOf(c *Config) node.Webhooks {
	allow, _ := prefixes(c.List("webhook.allow")) // it was validated
	return node.Webhooks{Allow: allow, GiveUp: c.Duration("webhook.give-up")}
}

// chainURLs reads <NETWORK>_GETH_ADDR of all known networks, or of those that
// are configured.
func chainURLs(c *Config) map[string][]string {
	only := c.List("payment.networks")
	urls := map[string][]string{}
	for _, p := range onchain.Networks() {
		if len(only) > 0 && !contains(only, p.Network) {
			continue
		}
		v := os.Getenv(strings.ToUpper(p.Network) + "_GETH_ADDR")
		if v != "" {
			urls[p.Network] = strings.Split(v, ",")
		}
	}
	return urls
}

// providerOf is what the configuration says about selling.
func providerOf(c *Config, name string) *node.Provider {
	return &node.Provider{
		Name: name, Subnet: c.String("net.subnet"),
		Hardware: node.DetectHardware(c.Dir(), c.Int("provider.threads"), c.String("provider.mem-gib"), c.String("provider.storage-gib")),
		Presets: []agent.Preset{{
			Name: "default", Runtime: "wasmtime", Initial: c.String("provider.price-fixed"),
			Coeffs: map[string]string{
				"golem.usage.duration_sec": c.String("provider.price-duration"),
				"golem.usage.cpu_sec":      c.String("provider.price-cpu"),
			},
		}},
		Rules: agent.Rulebook{
			MaxAgreements: c.Int("market.max-agreements"), NoteIntervalSec: int64(c.Duration("provider.debit-note-interval") / time.Second),
			PaymentTimeoutSec: int64(c.Duration("provider.payment-timeout") / time.Second), OfferTTLSec: int64(c.Duration("market.ttl") / time.Second),
		},
	}
}

// newLogger writes to standard error in the configured form.
func newLogger(c *Config) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.String("log.level")))
	o := &slog.HandlerOptions{Level: level}
	if c.String("log.format") == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}
