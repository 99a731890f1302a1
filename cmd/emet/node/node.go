package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/emet-node/emet/adapters/bus"
	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/adapters/effects/activities"
	"github.com/emet-node/emet/adapters/effects/evidence"
	"github.com/emet-node/emet/adapters/effects/markets"
	"github.com/emet-node/emet/adapters/effects/payments"
	"github.com/emet-node/emet/adapters/exeunit/supervisor"
	"github.com/emet-node/emet/adapters/ledger"
	enet "github.com/emet-node/emet/adapters/net"
	"github.com/emet-node/emet/adapters/net/libp2p"
	"github.com/emet-node/emet/adapters/offerbook"
	"github.com/emet-node/emet/adapters/secrets"
	"github.com/emet-node/emet/api/control"
	"github.com/emet-node/emet/api/gsb"
	"github.com/emet-node/emet/api/rest"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	domain "github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/cycle"
	"github.com/emet-node/emet/domain/payment/ops"
	dpayment "github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/peer"
	"github.com/emet-node/emet/domain/saga/billing"
	"github.com/emet-node/emet/domain/saga/cosign"
	"github.com/emet-node/emet/domain/saga/dispatch"
	"github.com/emet-node/emet/domain/saga/expiry"
	"github.com/emet-node/emet/domain/saga/handshake"
	"github.com/emet-node/emet/domain/saga/negotiator"
	"github.com/emet-node/emet/domain/saga/remittance"
	"github.com/emet-node/emet/domain/saga/settlement"
	"github.com/emet-node/emet/domain/saga/subscription"
	"github.com/emet-node/emet/domain/saga/termination"
	"github.com/emet-node/emet/domain/saga/transaction"
	"github.com/emet-node/emet/domain/saga/verification"
)

// Node is a running node, or one that is about to run.
type Node struct {
	*Ledger
	*Aggregates

	o       Options
	people  *people
	keeper  *ledger.Keeper
	ids     []identity.NodeID
	chains  *chains
	book    *offerbook.Book
	bridge  *gsb.Bridge
	handler *lateHandler
	load    *load
	host    *libp2p.Net // nil = nobody else is spoken to
	peers   enet.Peer

	units    *activities.Units
	follower *activities.Follower
	buyer    *activities.Requestor
	market   *markets.Outbound
	gossip   *markets.Gossip
	limits   *markets.Limits
	money    *payments.Effects
	desk     *evidence.Desk
	runner   *effects.Runner
	sagas    *effects.Sagas
	time     *effects.Deadlines
	courier  *bus.Courier

	door     *door // for EventStoreDB clients; nil = none
	listener net.Listener
	socket   net.Listener  // of the operator; nil = none
	running  chan struct{} // closed when Run has begun
	rest     http.Handler
	log      *slog.Logger
}

// Open opens everything that a node needs and listens, without serving yet.
// A port that is taken, a directory that is locked and a log that is damaged
// are told here.
func Open(ctx context.Context, o Options) (n *Node, err error) {
	n = &Node{o: o, log: o.Logger, handler: newLateHandler(), load: newLoad(o.Logger), running: make(chan struct{})}
	opened := n
	defer func() {
		if err != nil { // n is nil then
			err = errors.Join(err, opened.Close())
		}
	}()
	if n.o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, err
	}
	if n.listener, err = listen(o.Listen); err != nil {
		return nil, err
	}
	if n.Ledger, err = OpenLedger(ctx, n.o); err != nil {
		return nil, err
	}
	if err = n.openSocket(); err != nil {
		return nil, err
	}
	n.Aggregates = newAggregates(n.Log)
	n.Watch = ledger.NewWatch(n.Log, n.log)
	for _, v := range n.Views() {
		go n.followed(ctx, v)
	}
	n.people = &people{l: n.Ledger, agg: n.Aggregates}
	if n.ids, err = n.people.settle(ctx, o.Identities); err != nil {
		return nil, err
	}
	if err = n.openKeeper(ctx); err != nil {
		return nil, err
	}
	if err = n.openDoor(ctx); err != nil {
		return nil, err
	}
	if n.chains, err = openChains(o.Chains); err != nil {
		return nil, err
	}
	n.book = offerbook.New(offerbook.Options{File: filepath.Join(n.o.Dir, "offers", "snapshot.json")})
	n.bridge = gsb.New(n.log)
	n.desk = &evidence.Desk{
		Contacts: n.Contacts, Keeper: n.keeper, Local: n.people.Local, Logger: n.log, Grace: cosignGrace,
		Features: func(id identity.NodeID) []string { return n.peers.Features(id) },
		Freeze:   n.Watch.Freeze, Held: n.Watch.Held,
	}
	if err = n.connect(ctx); err != nil {
		return nil, err
	}
	n.desk.Peers = n.peers
	n.wireMarket()
	n.wireActivities()
	n.wireMoney()
	n.wireProcesses()
	n.courier = newCourier(n.Ledger, n.o)
	n.handler.set(n.inbound())
	n.rest = n.server()
	return n, nil
}

func listen(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("REST cannot listen on %s: %w; another node may run here, choose another port with --listen", addr, err)
	}
	return l, nil
}

// connect joins the network, if there is an address for it, and makes our own
// identities reachable for each other without leaving the process.
func (n *Node) connect(ctx context.Context) error {
	server := enet.NewServer(n.handler, n.handler.announced, n.log)
	var remote enet.Peer = nobody{}
	if len(n.o.Net.Listen) > 0 {
		key, err := n.Secrets.HostKey()
		if err != nil {
			return err
		}
		n.host, err = libp2p.New(libp2p.Config{
			Network: n.o.Net.Name, HostKey: key, Listen: n.o.Net.Listen, Bootstrap: n.o.Net.Bootstrap,
			Delegations: n.delegations(ctx, key), Handler: n.handler, Gossip: n.handler.announced, Version: n.o.Version, Log: n.log,
			File: filepath.Join(n.o.Dir, "net", "peers.json"), Met: n.met,
		})
		if err != nil && strings.Contains(err.Error(), syscall.EADDRINUSE.Error()) { // libp2p keeps only the text
			err = fmt.Errorf("%w; another node may run here, choose other addresses with --net-listen", err)
		}
		if err != nil {
			return err
		}
		remote = n.host
	}
	n.peers = enet.NewLoop(remote, n.people.Local, server)
	return nil
}

// cosignGrace is how long a node that begins cosigns nothing.
const cosignGrace = 2 * time.Second

// met tells a node that was seen again what it could not be told.
func (n *Node) met(node identity.NodeID, h peer.Hello) {
	n.desk.Met(node, h)
	select {
	case <-n.running:
		n.runner.WakePeer(node)
	default: // all is tried when the runner begins
	}
}

func (n *Node) wireMarket() {
	agg := markets.Aggregates{Log: n.Log, Offers: n.Offers, Demands: n.Demands, Negotiations: n.Negotiations, Agreements: n.Agreements}
	n.market = &markets.Outbound{Aggregates: agg, Peers: n.peers, Signer: agreementSigner{n.Secrets.Keys}, Logger: n.log}
	n.limits = &markets.Limits{}
	n.gossip = &markets.Gossip{
		Log: n.Log, Book: n.book, Peers: n.peers, Out: n.peers, Logger: n.log, Default: n.people.Default, Limits: n.limits,
	}
}

func (n *Node) wireActivities() {
	n.buyer = &activities.Requestor{Activities: n.Activities, Batches: n.Batches, Peers: n.peers}
	n.follower = &activities.Follower{
		Log: n.Log, Activities: n.Activities, Batches: n.Batches, Peers: n.peers, Blobs: blobStore{n.Blobs, n.Secrets.Vault}, Logger: n.log,
		GiveUp: cmp.Or(n.o.ProviderLost, 30*time.Second),
		OpenBatches: func(ctx context.Context) ([]activities.OpenBatch, error) {
			return openBatches(n.Store, identity.Requestor)(ctx, "")
		},
	}
	n.units = &activities.Units{
		Log: n.Log, Activities: n.Activities, Batches: n.Batches, Usage: n.Usage, Supervisor: supervisor.Client{Program: n.o.Program},
		Blobs: blobStore{n.Blobs, n.Secrets.Vault}, Terms: termsOf(n.Aggregates), Files: filesOf(n.peers),
		Token: tokens(filepath.Join(n.o.Dir, "exe-unit", "tokens")), Alive: aliveUnits(n.Store), Made: madeUnits(n.Store),
		MaxAlive:    unitsPerThread * runtime.NumCPU(),
		OpenBatches: openBatches(n.Store, identity.Provider),
		WorkDir:     func(id string) string { return filepath.Join(n.o.Dir, "exe-unit", "work", id) },
		CacheDir:    filepath.Join(n.o.Dir, "exe-unit", "cache"), AllowLoopback: n.o.AllowLoopback,
		WallClock: n.o.WallClock, OrphanAfter: n.o.OrphanAfter, Unresponsive: n.o.Unresponsive, Logger: n.log,
	}
	n.units.Init()
}

func (n *Node) wireMoney() {
	n.money = &payments.Effects{
		Aggregates: payments.Aggregates{
			Log: n.Log, Agreements: n.Agreements, Bills: n.Bills, Wallets: n.Wallets, Txs: n.Txs, Payments: n.Payments,
		},
		Peers: n.peers, Signer: n.Secrets.Keys, Locked: func(err error) bool { return errors.Is(err, secrets.ErrLocked) },
		Chains: n.chains, Recover: recoverPayment, Logger: n.log,
		Claims: claims{view: n.Payment, agg: n.Aggregates}, AgreementOf: n.agreementOf,
		Held: n.Watch.Held, Freeze: n.Watch.Freeze,
	}
}

// cycle says how often a new payer settles, nil = as is usual on a platform.
func (o Options) cycle() func(payment.Platform) (interval, extra time.Duration) {
	if o.Cycle <= 0 {
		return nil
	}
	return func(payment.Platform) (interval, extra time.Duration) { return o.Cycle, max(o.Cycle, cycle.Minimum) }
}

// wireProcesses sets up what drives everything: sagas, intents, deadlines.
func (n *Node) wireProcesses() {
	router := n.router()
	router[cosign.Category] = n.desk
	router[ops.Category] = payments.Compared{Handler: n.Ops, Effects: n.money}
	settle := settlement.Config{Profile: n.chains.profile, Cycle: n.o.cycle()}
	n.sagas = &effects.Sagas{
		Log: n.Log, Router: router, Checkpoints: checkpoints{filepath.Join(n.o.Dir, "views", "sagas")}, Logger: n.log,
		Processes: processes(settle),
	}
	n.time = &effects.Deadlines{Log: n.Log, Router: router, Policy: expiry.Policy{IdleAgreement: n.o.IdleAgreement}, Logger: n.log}
	n.runner = &effects.Runner{Log: n.Log, Router: router, Intents: n.Ledger.Node, Effects: map[string]effects.Effect{
		"activity.creation_requested.v1":    n.buyer.Create,
		"activity.spawn_requested.v1":       n.units.Spawn,
		"activity.destruction_requested.v1": n.destroy,
		"batch.exec_requested.v2":           n.buyer.Exec,
	}, Logger: n.log, QueueOf: queueOf}
	for typ, e := range n.market.Effects() {
		n.runner.Effects[typ] = e
	}
	for typ, e := range n.money.Table() {
		n.runner.Effects[typ] = e
	}
}

// processes are all sagas of a node, with nothing heard.
func processes(settle settlement.Config) []es.Process {
	return []es.Process{
		subscription.Saga.Start(), negotiator.Saga.Start(), handshake.Saga.Start(), dispatch.Saga.Start(), termination.Saga.Start(),
		billing.Saga.Start(), settlement.New(settle).Start(), transaction.Saga.Start(), remittance.Saga.Start(), verification.Saga.Start(), cosign.Saga.Start(),
	}
}

// queueOf lets claims about one transaction be looked at one after the other,
// whichever payments they are about: together they may take no more than it
// moved. A payee that is not there does not keep the others of its payment
// waiting for their proofs.
func queueOf(r es.Recorded) string {
	switch e := r.Data.(type) {
	case dpayment.Claimed:
		return "claims/" + e.TxHash
	case dpayment.DeliveryRequested:
		return string(r.Stream) + "/" + string(e.PayeeID)
	}
	return string(r.Stream)
}

// destroy ends an activity on the side that wants it.
func (n *Node) destroy(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
	if identity.Side(a.Intent.Stream.Key()[:1]) == identity.Requestor {
		return n.buyer.Destroy(ctx, a)
	}
	return n.units.Destroy(ctx, a)
}

// inbound is what this node answers to others.
func (n *Node) inbound() peer.Handler {
	market := &markets.Inbound{
		Aggregates: n.market.Aggregates, Threads: threads{n.Market}, Book: n.gossip, Verify: secrets.VerifyAgreement, Limits: n.limits,
	}
	work := &activities.Inbound{Units: n.units, LocalFiles: localFiles{n.bridge}, AliveOf: n.aliveOf}
	money := &payments.Inbound{Effects: n.money, Activities: n.activitiesOf}
	return effects.Merge(market.Answers(), work.Answers(), money.Answers(), n.desk.Answers())
}

// Run serves until ctx ends or something that the node cannot do without fails.
func (n *Node) Run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, ctx := errgroup.WithContext(ctx)
	run := func(what string, f func(context.Context) error) {
		g.Go(func() error {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				return fmt.Errorf("%s: %w", what, err)
			}
			return nil
		})
	}
	run("sagas", n.sagas.Run)
	run("effects", n.runner.Run)
	run("deadlines", n.time.Run)
	run("webhooks", n.courier.Run)
	run("exe-units", n.units.Run)
	run("batches", n.follower.Run)
	run("offers", n.gossip.Run)
	run("transactions", (&payments.Watcher{Effects: n.money, Open: n.openTxs, Every: n.look()}).Run)
	run("payments", (&payments.FinalityWatcher{Effects: n.money, Verified: n.verifiedPayments, Every: n.look()}).Run)
	run("proofs", (&payments.ProofKeeper{
		Effects: n.money, Inclusion: n.chains.inclusion, Put: n.putProof, Every: n.look(),
		Sent:     func(ctx context.Context) ([]string, error) { return sentUnproved(ctx, n.Store) },
		Received: func(ctx context.Context) ([]string, error) { return receivedUnproved(ctx, n.Store) },
		Adopted:  func(ctx context.Context) ([]string, error) { return adopted(ctx, n.Store) },
	}).Run)
	if !n.o.AllowLoopback { // development chains begin when they are asked
		run("chains", func(ctx context.Context) error { return n.chains.check(ctx, n.log) })
	}
	run("provider", n.openForBusiness)
	run("delegations", n.presentAgain)
	run("REST", n.serve)
	run("log", n.watchLog)
	run("load", n.load.Run)
	run("checkpoints", n.keeper.Run)
	if n.door != nil {
		run("gRPC door", n.door.serve)
	}
	run("cosignatures", n.desk.Run)
	if len(n.chains.profiles) > 0 {
		run("beacons", (&evidence.Beacons{Log: n.Log, Block: n.finalBlock, Logger: n.log}).Run)
	}
	if n.socket != nil {
		run("operator", func(ctx context.Context) error { return control.Serve(ctx, n.socket, n.Control(stop)) })
	}
	close(n.running)
	return g.Wait()
}

// finalBlock is a block for the log to name.
func (n *Node) finalBlock(ctx context.Context) (domain.Beacon, error) {
	s, err := n.Watch.Standing(ctx)
	if err != nil {
		return domain.Beacon{}, err
	}
	return n.chains.finalBlock(ctx, s.LogID)
}

// look is the pause between looks at a chain: short on development chains.
func (n *Node) look() time.Duration {
	if n.o.AllowLoopback {
		return 100 * time.Millisecond
	}
	return 5 * time.Second
}

// serve answers REST until ctx ends, then lets requests finish for a moment.
func (n *Node) serve(ctx context.Context) error {
	return serveUntil(ctx, n.rest, n.listener, func() { _ = n.bridge.Close() })
}

// serveUntil serves a handler until ctx ends. ending is called before requests
// are waited for, if it is not nil.
func serveUntil(ctx context.Context, h http.Handler, l net.Listener, ending func()) error {
	s := rest.HTTPServer(h)
	s.BaseContext = func(net.Listener) context.Context { return ctx }
	done := make(chan error, 1)
	go func() { done <- s.Serve(rest.LimitConns(l)) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.Background(), stopTime)
	defer cancel()
	if ending != nil {
		ending()
	}
	if err := s.Shutdown(stop); err != nil {
		_ = s.Close()
	}
	return nil
}

// watchLog ends the node when its disk failed: what is not known to be on disk
// must not be built upon.
func (n *Node) watchLog(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := n.Store.Failed(); err != nil {
				return fmt.Errorf("%w: %w", ErrLogFailed, err)
			}
		}
	}
}

// ErrLogFailed says that the disk under the log failed, or that the log is
// damaged. The next start secures what is in doubt.
var ErrLogFailed = errors.New("the log cannot be written any more")

// Close closes what Open opened.
func (n *Node) Close() error {
	var errs []error
	if n.listener != nil {
		_ = n.listener.Close()
	}
	if n.socket != nil {
		_ = n.socket.Close()
	}
	if n.door != nil {
		_ = n.door.listener.Close()
	}
	if n.peers != nil {
		errs = append(errs, n.peers.Close())
	}
	if n.chains != nil {
		n.chains.Close()
	}
	if n.keeper != nil {
		errs = append(errs, n.keeper.Close())
	}
	if n.Ledger != nil {
		errs = append(errs, n.Ledger.Close())
	}
	return errors.Join(errs...)
}

// Serving waits until the node runs.
func (n *Node) Serving(ctx context.Context) error {
	select {
	case <-n.running:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// URL is where REST is served.
func (n *Node) URL() string { return "http://" + n.listener.Addr().String() }

// Addrs are the addresses for other nodes' bootstrap lists.
func (n *Node) Addrs() []string {
	if n.host == nil {
		return nil
	}
	return n.host.Addrs()
}

// Identity is the i-th identity of the options.
func (n *Node) Identity(i int) identity.NodeID { return n.ids[i] }

// AppKey returns the secret of a key of an identity, made if it is not there.
func (n *Node) AppKey(ctx context.Context, owner identity.NodeID, k AppKey) (string, error) {
	return n.people.AppKey(ctx, owner, k)
}
