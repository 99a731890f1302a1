package effects_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/adapters/effects/activities"
	"github.com/emet-node/emet/adapters/effects/markets"
	"github.com/emet-node/emet/adapters/exeunit/fake"
	netmemory "github.com/emet-node/emet/adapters/net/memory"
	"github.com/emet-node/emet/adapters/offerbook"
	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/activity/unit"
	"github.com/emet-node/emet/domain/activity/usage"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/deal"
	"github.com/emet-node/emet/domain/market/demand"
	"github.com/emet-node/emet/domain/market/negotiation"
	"github.com/emet-node/emet/domain/market/offer"
	"github.com/emet-node/emet/domain/market/terms"
	"github.com/emet-node/emet/domain/peer"
	"github.com/emet-node/emet/domain/provider/agent"
	"github.com/emet-node/emet/domain/saga/dispatch"
	"github.com/emet-node/emet/domain/saga/expiry"
	"github.com/emet-node/emet/domain/saga/handshake"
	"github.com/emet-node/emet/domain/saga/negotiator"
	"github.com/emet-node/emet/domain/saga/subscription"
	"github.com/emet-node/emet/domain/saga/termination"
	"github.com/emet-node/emet/eventschemas"
)

const (
	alice identity.NodeID = "0x1111111111111111111111111111111111111111" // rents
	bob   identity.NodeID = "0x2222222222222222222222222222222222222222" // provides
	eve   identity.NodeID = "0x3333333333333333333333333333333333333333" // a stranger
)

// node is what stands behind one identity: everything but REST and views.
type node struct {
	t  *testing.T
	id identity.NodeID
	l  *es.Log

	net          *netmemory.Node
	offers       *es.Aggregate[offer.Command, offer.Event, offer.State]
	demands      *es.Aggregate[demand.Command, demand.Event, demand.State]
	negotiations *es.Aggregate[negotiation.Command, negotiation.Event, negotiation.State]
	agreements   *es.Aggregate[agreement.Command, agreement.Event, agreement.State]
	activities   *es.Aggregate[activity.Command, activity.Event, activity.State]
	batches      *es.Aggregate[batch.Command, batch.Event, batch.State]
	usages       *es.Aggregate[usage.Command, usage.Event, usage.State]
	providers    *es.Aggregate[agent.Command, agent.Event, agent.State]

	runner  *effects.Runner
	units   *activities.Units
	buyer   *activities.Requestor
	inbound *markets.Inbound
	book    *offerbook.Book

	stop func()
}

// disk is what outlives a node.
type disk struct {
	store *memory.Store
	blobs *blobs
	sup   *fake.Supervisor
	locks atomic.Bool // the key of the identity is locked
}

func newDisk() *disk {
	return &disk{store: memory.New(), blobs: &blobs{m: map[string][]byte{}}, sup: &fake.Supervisor{}}
}

type blobs struct {
	mu sync.Mutex
	m  map[string][]byte
}

func (b *blobs) Put(r io.Reader) (string, int64, error) {
	content, err := io.ReadAll(r)
	sum := sha256.Sum256(content)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.m[hex.EncodeToString(sum[:])] = content
	return hex.EncodeToString(sum[:]), int64(len(content)), err
}

func (b *blobs) Open(sum string) (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	content, ok := b.m[sum]
	if !ok {
		return nil, os.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}

// pen signs what it is given with the name of who signs.
type pen struct{ d *disk }

var errLocked = errors.New("locked")

func (p pen) SignAgreement(_ context.Context, as identity.NodeID, text []byte) (string, error) {
	if p.d.locks.Load() {
		return "", errLocked
	}
	return scrawl(as, text), nil
}

func scrawl(as identity.NodeID, text []byte) string {
	sum := sha256.Sum256(append([]byte(as), text...))
	return "emet1:" + hex.EncodeToString(sum[:])
}

func verify(signer identity.NodeID, text []byte, signature string) error {
	if signature != scrawl(signer, text) {
		return errors.New("bad signature")
	}
	return nil
}

var quiet = slog.New(slog.DiscardHandler)

// start brings a node up on a disk and a network.
func start(t *testing.T, n *netmemory.Network, id identity.NodeID, d *disk) *node {
	t.Helper()
	l := &es.Log{Store: d.store, Codec: eventschemas.New()}
	x := &node{
		t: t, id: id, l: l, book: offerbook.New(offerbook.Options{}),
		offers: es.NewAggregate(l, offer.Category, offer.Rules), demands: es.NewAggregate(l, demand.Category, demand.Rules),
		negotiations: es.NewAggregate(l, negotiation.Category, negotiation.Rules), agreements: es.NewAggregate(l, agreement.Category, agreement.Rules),
		activities: es.NewAggregate(l, activity.Category, activity.Rules), batches: es.NewAggregate(l, batch.Category, batch.Rules),
		usages: es.NewAggregate(l, usage.Category, usage.Rules), providers: es.NewAggregate(l, agent.Category, agent.Rules),
	}
	late := &handler{wired: make(chan struct{})}
	gossip := &markets.Gossip{Log: l, Book: x.book, Logger: quiet, Default: func() identity.NodeID { return id }}
	x.net = n.Join([]identity.NodeID{id}, late, late.hear)
	gossip.Peers, gossip.Out = x.net, x.net
	agg := markets.Aggregates{Log: l, Offers: x.offers, Demands: x.demands, Negotiations: x.negotiations, Agreements: x.agreements}
	market := &markets.Outbound{Aggregates: agg, Peers: x.net, Signer: pen{d}, Logger: quiet}
	x.inbound = &markets.Inbound{Aggregates: agg, Threads: x, Book: gossip, Verify: verify}
	x.buyer = &activities.Requestor{Activities: x.activities, Batches: x.batches, Peers: x.net}
	x.units = &activities.Units{
		Log: l, Activities: x.activities, Batches: x.batches, Usage: x.usages, Supervisor: d.sup, Blobs: d.blobs, Terms: x.terms,
		Files:   func(activities.Terms) unit.Files { return nil },
		Token:   func(id string) (string, error) { return "token of " + id, nil },
		Alive:   x.unitsSince("activity.spawned.v1"),
		Made:    x.unitsSince("activity.created.v1"),
		WorkDir: func(id string) string { return "/units/" + id }, Unresponsive: 5 * time.Second, Logger: quiet,
		OpenBatches: func(ctx context.Context, id string) ([]activities.OpenBatch, error) {
			return x.openBatches(ctx, "batch-P-"+id)
		},
	}
	x.units.Init()
	follower := &activities.Follower{
		Log: l, Activities: x.activities, Batches: x.batches, Peers: x.net, Blobs: d.blobs, GiveUp: 30 * time.Second, Logger: quiet,
		OpenBatches: func(ctx context.Context) ([]activities.OpenBatch, error) { return x.openBatches(ctx, "batch-R-") },
	}
	late.set(gossip.Hear, effects.Merge(x.inbound.Answers(), (&activities.Inbound{Units: x.units, AliveOf: x.aliveOf}).Answers()))
	router := effects.Router{
		offer.Category: x.offers, demand.Category: x.demands, negotiation.Category: x.negotiations, agreement.Category: x.agreements,
		activity.Category: x.activities, batch.Category: x.batches, usage.Category: x.usages, agent.Category: x.providers,
	}
	x.runner = &effects.Runner{Log: l, Router: router, Intents: intents{l: l}, Logger: quiet, Effects: market.Effects()}
	x.runner.Effects["activity.creation_requested.v1"] = x.buyer.Create
	x.runner.Effects["activity.spawn_requested.v1"] = x.units.Spawn
	x.runner.Effects["activity.destruction_requested.v1"] = func(ctx context.Context, a effects.Attempt) (effects.Outcome, error) {
		if strings.HasPrefix(a.Intent.Stream.Key(), "R") {
			return x.buyer.Destroy(ctx, a)
		}
		return x.units.Destroy(ctx, a)
	}
	x.runner.Effects["batch.exec_requested.v2"] = x.buyer.Exec
	sagas := &effects.Sagas{Log: l, Router: router, Checkpoints: &marks{}, Logger: quiet, Processes: []es.Process{
		subscription.Saga.Start(), negotiator.Saga.Start(), handshake.Saga.Start(), dispatch.Saga.Start(), termination.Saga.Start(),
	}}
	deadlines := &effects.Deadlines{Log: l, Router: router, Policy: expiry.Policy{IdleAgreement: time.Hour}, Logger: quiet}
	x.run(x.runner.Run, sagas.Run, deadlines.Run, x.units.Run, follower.Run, gossip.Run)
	return x
}

func (x *node) run(parts ...func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, p := range parts {
		wg.Go(func() {
			if err := p(ctx); err != nil && ctx.Err() == nil {
				x.t.Errorf("%s: %v", x.id, err)
			}
		})
	}
	x.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		if err := x.net.Close(); err != nil {
			x.t.Error(err)
		}
	})
}

// handler stands for the node's answers: what comes before they are wired
// waits for it.
type handler struct {
	wired  chan struct{}
	gossip func(context.Context, peer.Caller, peer.OffersAnnounced)
	effects.Inbound
}

func (h *handler) set(g func(context.Context, peer.Caller, peer.OffersAnnounced), in effects.Inbound) {
	h.gossip, h.Inbound = g, in
	close(h.wired)
}

func (h *handler) hear(ctx context.Context, from peer.Caller, a peer.OffersAnnounced) {
	<-h.wired
	h.gossip(ctx, from, a)
}

func (h *handler) HandleCall(ctx context.Context, from peer.Caller, m peer.Message) (peer.Message, error) {
	<-h.wired
	return h.Inbound.HandleCall(ctx, from, m)
}

func (h *handler) HandleStream(ctx context.Context, from peer.Caller, m peer.Message) iter.Seq2[peer.Message, error] {
	<-h.wired
	return h.Inbound.HandleStream(ctx, from, m)
}

// scan reads the whole log.
func (x *node) scan(f func(es.Recorded)) error {
	for r, err := range x.l.ReadAll(context.Background(), 0, es.Filter{}) {
		if err != nil {
			return err
		}
		f(r)
	}
	return nil
}

func (x *node) ThreadOf(_ context.Context, side identity.Side, id string) (found string, err error) {
	sides := map[string]identity.Side{}
	err = x.scan(func(r es.Recorded) {
		thread, p := r.Stream.Key(), ""
		switch e := r.Data.(type) {
		case negotiation.Opened:
			sides[thread], p = e.Side, e.Initial.ProposalID
		case negotiation.CounterRequested:
			p = e.Proposal.ProposalID
		case negotiation.CounterReceived:
			p = e.Proposal.ProposalID
		}
		if p == id && sides[thread] == side {
			found = thread
		}
	})
	return found, err
}

func (x *node) terms(ctx context.Context, id string) (activities.Terms, error) {
	s, rev, err := x.agreements.Load(ctx, agreement.StreamID(identity.Provider, id))
	if err != nil {
		return activities.Terms{}, err
	}
	if rev == es.NoStream {
		return activities.Terms{}, market.AgreementNotFound(id)
	}
	o := terms.Parse(s.Terms.OfferProperties)
	return activities.Terms{
		Requestor: s.Terms.Requestor, Provider: s.Terms.Provider, State: s.Shown(), Runtime: o.String(terms.RuntimeName), UsageVector: o.Strings(terms.UsageVector),
	}, nil
}

func (x *node) unitsSince(fact string) func(context.Context) ([]string, error) {
	return func(ctx context.Context) ([]string, error) {
		ids, err := effects.OpenStreams(ctx, x.l.Store, "activity-P-", []string{fact}, []string{"activity.terminated.v1"})
		for i := range ids {
			ids[i] = strings.TrimPrefix(ids[i], "P-")
		}
		return ids, err
	}
}

func (x *node) aliveOf(ctx context.Context, agreementID string) (out []string, err error) {
	ids, err := effects.OpenStreams(ctx, x.l.Store, "activity-P-", []string{"activity.created.v1"}, []string{"activity.terminated.v1"})
	for _, id := range ids {
		if s, _, err := x.activities.Load(ctx, id); err == nil && s.AgreementID == agreementID {
			out = append(out, s.ID)
		}
	}
	return out, err
}

func (x *node) openBatches(ctx context.Context, prefix string) (out []activities.OpenBatch, err error) {
	ids, err := effects.OpenStreams(ctx, x.l.Store, prefix, []string{"batch.accepted.v1"}, []string{"batch.closed.v1"})
	for _, id := range ids {
		parts := strings.Split(id, "-")
		out = append(out, activities.OpenBatch{ActivityID: parts[1], BatchID: parts[2]})
	}
	return out, err
}

// client is what an application with the node's key may do.
func (x *node) client() identity.Caller {
	return identity.Caller{Actor: es.ActorREST, Node: x.id, Role: identity.RoleManager}
}

func (x *node) meta(story string) es.Meta {
	return es.Meta{Key: unique(), Actor: es.ActorREST, Identity: string(x.id), Correlation: story}
}

var keys struct {
	sync.Mutex
	n int
}

// unique makes 32 hexadecimal digits.
func unique() string {
	keys.Lock()
	defer keys.Unlock()
	keys.n++
	return fmt.Sprintf("%032x", keys.n)
}

// moment is now, at a nanosecond of its own: ids hash the part of the second
// and leave out the second.
func moment() time.Time {
	keys.Lock()
	defer keys.Unlock()
	keys.n++
	return time.Now().UTC().Add(time.Duration(keys.n) * time.Nanosecond)
}

// pass lets fake time pass, so that no two moments share their part of a second.
func pass(d time.Duration) {
	moment()
	keys.Lock()
	n := keys.n
	keys.Unlock()
	time.Sleep(d + time.Duration(n)*17*time.Microsecond)
}

// types lists the types of facts of a stream, in short.
func (x *node) types(category, id string) string {
	x.t.Helper()
	var out []string
	for r, err := range x.l.ReadStream(context.Background(), es.StreamOf(category, id), 0) {
		if err != nil {
			x.t.Fatal(err)
		}
		out = append(out, strings.TrimSuffix(strings.TrimPrefix(r.Type, category+"."), ".v1"))
	}
	return strings.Join(out, " ")
}

// open lists intents that nobody answered.
func (x *node) open() (out []string) {
	x.t.Helper()
	at, err := intents{l: x.l}.OpenIntents(context.Background())
	if err != nil {
		x.t.Fatal(err)
	}
	for _, p := range at {
		for r, err := range x.l.ReadAll(context.Background(), p, es.Filter{}) {
			if err != nil {
				x.t.Fatal(err)
			}
			out = append(out, r.Type)
			break
		}
	}
	return out
}

// sell opens bob's business: the built-in provider makes an offer.
func (x *node) sell(rules agent.Rulebook) {
	x.t.Helper()
	own := identity.Caller{Actor: es.ActorOperator}
	for _, c := range []agent.Command{
		agent.Setup{By: own, Provider: x.id, Rules: rules, Hardware: agent.Hardware{Architecture: "x86_64", Cores: 4, MemGiB: "2", StorageGiB: "10", Threads: 2}, Presets: []agent.Preset{
			{Name: "wasm", Runtime: "wasmtime", Initial: "0", Coeffs: map[string]string{"golem.usage.duration_sec": "0.001"}},
		}},
		agent.RecordTest{By: own, Provider: x.id, Runtime: agent.Runtime{Name: "wasmtime", Version: "1.0.0", Counters: []string{"golem.usage.duration_sec"}}},
		agent.Enable{By: own, Provider: x.id, NodeName: "bob", Subnet: "public", Platforms: []agent.Platform{{Address: string(x.id), Platform: "erc20-hoodi-tglm"}}},
	} {
		if _, err := x.providers.Do(context.Background(), string(x.id), c, x.meta("")); err != nil {
			x.t.Fatal(err)
		}
	}
}

// live are the offers that a node has on the market.
func (x *node) live() (out []offer.Published) {
	x.t.Helper()
	all := map[string]offer.Published{}
	var order []string
	if err := x.scan(func(r es.Recorded) {
		switch e := r.Data.(type) {
		case offer.Published:
			all[e.OfferID] = e
			order = append(order, e.OfferID)
		case offer.Withdrawn:
			delete(all, e.OfferID)
		case offer.Expired:
			delete(all, e.OfferID)
		}
	}); err != nil {
		x.t.Fatal(err)
	}
	for _, id := range order {
		if o, ok := all[id]; ok {
			out = append(out, o)
		}
	}
	return out
}

// talk is a requestor's part in one negotiation.
type talk struct {
	x      *node
	thread string
	offer  peer.Offer
	demand demand.Published
}

func (x *node) demandText() string {
	b, err := json.Marshal(map[string]any{
		"golem.srv.comp.expiration":         time.Now().Add(25 * time.Minute).UnixMilli(),
		"golem.com.payment.chosen-platform": "erc20-hoodi-tglm",
		"golem.srv.comp.task_package":       "hash:sha3:00:http://x",
		"golem.node.id.name":                "alice", "golem.node.debug.subnet": "public",
	})
	if err != nil {
		x.t.Fatal(err)
	}
	return string(b)
}

// match opens a thread about an offer, as a poll of the client does.
func (x *node) match(o peer.Offer) *talk {
	x.t.Helper()
	now := moment()
	d := demand.Published{Created: now, Expires: now.Add(time.Hour), Properties: x.demandText(), Constraints: "(golem.runtime.name=wasmtime)", Requestor: x.id}
	d.DemandID = market.SubscriptionID(unique(), market.Content{Properties: d.Properties, Constraints: d.Constraints, Owner: x.id, Created: d.Created, Expires: d.Expires})
	k := &talk{x: x, offer: o, demand: d, thread: negotiation.MatchID(d.DemandID, o.ID, "")}
	_, err := x.negotiations.Do(context.Background(), k.thread, negotiation.Open{
		By: x.client(), DemandConstraints: d.Constraints, DemandExpires: d.Expires, DemandID: d.DemandID, DemandProperties: d.Properties,
		NegotiationID: k.thread, OfferID: o.ID, Provider: o.Provider, Requestor: x.id, Initial: negotiation.Proposal{
			Constraints: o.Constraints, Created: now, Expires: o.Expires, Properties: o.Properties, ProposalID: market.PairHash(o.ID, d.DemandID, now),
		},
	}, x.meta(k.thread))
	if err != nil {
		x.t.Fatal(err)
	}
	return k
}

func (k *talk) state() negotiation.State {
	s, _, err := k.x.negotiations.Load(context.Background(), k.thread)
	if err != nil {
		k.x.t.Fatal(err)
	}
	return s
}

// last is the newest proposal of the thread.
func (k *talk) last() negotiation.Step { s := k.state(); return s.Steps[len(s.Steps)-1] }

// counter answers prev with our demand.
func (k *talk) counter(prev string) (string, error) {
	now := moment()
	id := market.PairHash(k.offer.ID, k.demand.DemandID, now)
	_, err := k.x.negotiations.Do(context.Background(), k.thread, negotiation.Counter{
		At: now, By: k.x.client(), Constraints: k.demand.Constraints, Prev: prev, Properties: k.demand.Properties, ProposalID: id,
	}, k.x.meta(k.thread))
	return id, err
}

// agree makes an agreement of the provider's last proposal and confirms it.
func (k *talk) agree(valid time.Duration) string {
	k.x.t.Helper()
	ctx := context.Background()
	draft, now := k.last().ProposalID, moment()
	id := market.PairHash(k.offer.ID, k.demand.DemandID, now)
	_, err := k.x.l.Atomically(ctx, k.x.meta(id), func(t *es.Tx) error {
		thread, err := k.x.negotiations.Peek(t, k.thread)
		if err != nil {
			return err
		}
		terms, err := deal.Terms(thread, draft)
		if err != nil {
			return err
		}
		terms.Created, terms.ValidTo = now, now.Add(valid)
		if _, err := k.x.agreements.In(t, agreement.StreamID(identity.Requestor, id), agreement.Create{AgreementID: id, By: k.x.client(), Terms: terms}); err != nil {
			return err
		}
		_, err = k.x.negotiations.In(t, k.thread, negotiation.Promote{AgreementID: id, At: now, By: k.x.client(), ProposalID: draft})
		return err
	})
	if err != nil {
		k.x.t.Fatal(err)
	}
	k.x.tellAgreement(identity.Requestor, id, agreement.Confirm{At: now, By: k.x.client()})
	return id
}

func (x *node) tellAgreement(side identity.Side, id string, c agreement.Command) {
	x.t.Helper()
	if _, err := x.agreements.Do(context.Background(), agreement.StreamID(side, id), c, x.meta(id)); err != nil {
		x.t.Fatalf("%T: %v", c, err)
	}
}

func (x *node) agreement(side identity.Side, id string) agreement.State {
	x.t.Helper()
	s, _, err := x.agreements.Load(context.Background(), agreement.StreamID(side, id))
	if err != nil {
		x.t.Fatal(err)
	}
	return s
}
