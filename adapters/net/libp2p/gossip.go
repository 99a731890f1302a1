package libp2p

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	lpeer "github.com/libp2p/go-libp2p/core/peer"

	"github.com/emet-node/emet/adapters/net"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

const (
	maxOfferLife  = 24 * time.Hour
	maxPerMessage = 50 // offers and withdrawals in one announcement
	reconcileTime = time.Minute
	reconcileWith = 3 // hosts each time
)

// announcement is what travels. It proves by itself who speaks: the message is
// signed by the host key, and the delegation binds the identity to that key.
type announcement struct {
	Addrs      []string             `json:"addrs,omitzero"`
	Announced  peer.OffersAnnounced `json:"announced"`
	Delegation peer.Delegation      `json:"delegation"`
	SentAt     time.Time            `json:"sentAt"`
}

// gossip is the topic of offers.
type gossip struct {
	topic *pubsub.Topic
	pace  *bucket // of this node's own messages
	mu    sync.Mutex
	by    map[source]*bucket
	busy  map[lpeer.ID]int // announcements of each host that are followed up
}

// source is a host that delivers announcements, or one that makes them.
type source struct {
	host  lpeer.ID
	makes bool
}

// join enters the topic and hands on what is heard.
func (n *Net) join() (*gossip, error) {
	name := "/emet/" + n.cfg.Network + "/offers"
	ps, err := pubsub.NewGossipSub(n.ctx, n.host,
		pubsub.WithMaxMessageSize(net.MaxGossip+net.EnvelopeOverhead), pubsub.WithPeerOutboundQueueSize(512),
		pubsub.WithFloodPublish(true), pubsub.WithSeenMessagesTTL(5*time.Minute), pubsub.WithSubscriptionFilter(pubsub.NewAllowlistSubscriptionFilter(name)),
	)
	if err != nil {
		return nil, err
	}
	g := &gossip{pace: newBucket(n.cfg.Limits.GossipRate, n.cfg.Limits.GossipRate), by: make(map[source]*bucket), busy: make(map[lpeer.ID]int)}
	if err := ps.RegisterTopicValidator(name, n.validate(g)); err != nil {
		return nil, err
	}
	if g.topic, err = ps.Join(name); err != nil {
		return nil, err
	}
	sub, err := g.topic.Subscribe(pubsub.WithBufferSize(256))
	if err != nil {
		return nil, err
	}
	n.spawn(func() {
		defer sub.Cancel()
		for {
			m, err := sub.Next(n.ctx)
			if err != nil {
				return
			}
			if h, ok := m.ValidatorData.(heard); ok {
				n.pass(g, m.GetFrom(), h)
			}
		}
	})
	return g, nil
}

const (
	atOnceOfAll = 64 // announcements that are followed up at the same time
	atOnceOfOne = 2  // of one host
)

// pass hands an announcement on beside others, since whoever made it may take
// long to give its texts. What is too much is dropped: it will be announced
// again.
func (n *Net) pass(g *gossip, by lpeer.ID, h heard) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.busy[by] >= atOnceOfOne || len(g.busy) >= atOnceOfAll {
		return
	}
	g.busy[by]++
	n.spawn(func() {
		defer func() {
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.busy[by]--; g.busy[by] <= 0 {
				delete(g.busy, by)
			}
		}()
		n.server.Announce(n.ctx, h.from, h.announced)
	})
}

// heard is an announcement that was checked.
type heard struct {
	from      peer.Caller
	announced peer.OffersAnnounced
}

// validate decides which announcements are passed on: what is provably bad is
// held against its bringer, what comes too fast is dropped.
func (n *Net) validate(g *gossip) pubsub.ValidatorEx {
	return func(_ context.Context, from lpeer.ID, m *pubsub.Message) pubsub.ValidationResult {
		if m.GetFrom() == n.host.ID() {
			return pubsub.ValidationAccept
		}
		if len(m.Data) > net.MaxGossip {
			return pubsub.ValidationReject
		}
		rate := n.cfg.Limits.GossipRate
		if g.bucket(source{from, false}, 10*rate).take(1) > 0 || g.bucket(source{m.GetFrom(), true}, rate).take(1) > 0 {
			return pubsub.ValidationIgnore
		}
		h, info, err := n.hear(m.GetFrom(), m.Data)
		if errors.Is(err, errStale) {
			return pubsub.ValidationIgnore
		}
		if err != nil {
			n.cfg.Log.Debug("an announcement is bad", "host", m.GetFrom(), "error", err)
			return pubsub.ValidationReject
		}
		n.mu.Lock()
		n.known.heard(h.from.Node, info.ID)
		if _, ok := n.known.addrs[info.ID]; !ok {
			n.known.addresses(info.ID, info.Addrs)
		}
		n.mu.Unlock()
		h.from.MessageID = fmt.Sprintf("%x", m.GetSeqno())
		m.ValidatorData = h
		return pubsub.ValidationAccept
	}
}

func (g *gossip) bucket(id source, rate float64) *bucket {
	g.mu.Lock()
	defer g.mu.Unlock()
	b, ok := g.by[id]
	if !ok {
		if len(g.by) >= maxKnown {
			g.by = make(map[source]*bucket)
		}
		b = newBucket(rate, 10*rate)
		g.by[id] = b
	}
	return b
}

var errStale = errors.New("announcement is out of date")

// hear reads an announcement and checks who speaks and that its times are sane.
func (n *Net) hear(host lpeer.ID, data []byte) (heard, lpeer.AddrInfo, error) {
	var a announcement
	info := lpeer.AddrInfo{ID: host}
	if err := json.Unmarshal(data, &a); err != nil {
		return heard{}, info, err
	}
	doc, err := n.proofs.prove(host, a.Delegation)
	if err != nil {
		return heard{}, info, err
	}
	now := time.Now()
	if a.SentAt.Before(now.Add(-2*net.MaxSkew)) || a.SentAt.After(now.Add(net.MaxSkew)) {
		return heard{}, info, errStale
	}
	if len(a.Announced.Offers)+len(a.Announced.Withdrawn) > maxPerMessage {
		return heard{}, info, fmt.Errorf("more than %d offers at once", maxPerMessage)
	}
	for _, o := range a.Announced.Offers {
		if o.Expires.After(now.Add(maxOfferLife + net.MaxSkew)) {
			return heard{}, info, fmt.Errorf("offer %.80q lives until %s", o.ID, o.Expires)
		}
	}
	a.Announced.Offers = slices.DeleteFunc(a.Announced.Offers, func(o peer.OfferDigest) bool { return !o.Expires.After(now) })
	info.Addrs = parseAddrs(a.Addrs)
	return heard{
		from:      peer.Caller{Node: doc.Identity, Via: "libp2p", SentAt: a.SentAt, Raw: data},
		announced: a.Announced,
	}, info, nil
}

// Broadcast implements [net.Peer]. Many offers make several messages; those
// connected hosts that gossip does not reach yet are told directly.
func (n *Net) Broadcast(ctx context.Context, from identity.NodeID, m peer.OffersAnnounced) error {
	d, ok := n.mine.Load().byNode[from]
	if !ok {
		return fmt.Errorf("%s as %s: %w", m.Kind(), from, net.ErrNotOurs)
	}
	for _, part := range split(m) {
		if err := n.publish(ctx, d, part); err != nil {
			return fmt.Errorf("announce offers: %w", err)
		}
		n.tell(from, part)
	}
	return nil
}

func (n *Net) publish(ctx context.Context, d peer.Delegation, part peer.OffersAnnounced) error {
	data, err := es.CanonicalJSON(announcement{
		Addrs: addrsOf(lpeer.AddrInfo{ID: n.host.ID(), Addrs: n.host.Addrs()}).Addrs, Announced: part, Delegation: d,
		SentAt: time.Now().UTC().Truncate(time.Microsecond),
	})
	if err != nil {
		return err
	}
	if len(data) > net.MaxGossip {
		return fmt.Errorf("%d bytes, at most %d: %w", len(data), net.MaxGossip, net.ErrTooLarge)
	}
	if err := n.gossip.pace.wait(ctx); err != nil {
		return err
	}
	return n.gossip.topic.Publish(ctx, data)
}

// tell announces to connected hosts that are not in the topic (yet).
func (n *Net) tell(from identity.NodeID, part peer.OffersAnnounced) {
	in := n.gossip.topic.ListPeers()
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, s := range n.sessions {
		nodes := s.status().Nodes
		if len(nodes) == 0 || slices.Contains(in, id) {
			continue
		}
		n.spawn(func() {
			ctx, cancel := context.WithTimeout(n.ctx, greetTime)
			defer cancel()
			if _, err := n.Call(ctx, from, nodes[0], part); err != nil {
				n.cfg.Log.Debug("a host was not told of offers", "host", id, "error", err)
			}
		})
	}
}

// split cuts an announcement so that each part fits into a message.
func split(m peer.OffersAnnounced) []peer.OffersAnnounced {
	const part = maxPerMessage / 2
	var out []peer.OffersAnnounced
	for c := range slices.Chunk(m.Offers, part) {
		out = append(out, peer.OffersAnnounced{Offers: c})
	}
	for c := range slices.Chunk(m.Withdrawn, part) {
		out = append(out, peer.OffersAnnounced{Withdrawn: c})
	}
	return out
}

// list asks a host for the offers of its nodes, so that who comes late knows
// what was announced before.
func (n *Net) list(s *session, again bool) {
	mine := n.mine.Load().nodes
	if len(mine) == 0 {
		return
	}
	for _, id := range s.unlisted(again) {
		ctx, cancel := context.WithTimeout(n.ctx, greetTime)
		m, err := n.Call(ctx, mine[0], id, peer.ListOffers{})
		cancel()
		a, ok := m.(peer.OffersAnnounced)
		if err != nil || !ok {
			n.cfg.Log.Debug("a node did not list its offers", "peer", id, "error", err)
			continue
		}
		from := peer.Caller{Node: id, To: mine[0], Via: "libp2p", SentAt: time.Now().UTC()}
		n.server.Announce(n.ctx, from, a)
	}
}

// reconcile repairs what gossip lost: now and then a few hosts are asked for
// their offers again.
func (n *Net) reconcile() {
	for n.ctx.Err() == nil {
		n.pause(reconcileTime/2 + rand.N(reconcileTime)) //nolint:gosec // no secret
		n.mu.Lock()
		var some []*session
		for _, s := range n.sessions { // in any order
			if len(some) < reconcileWith {
				some = append(some, s)
			}
		}
		n.mu.Unlock()
		for _, s := range some {
			if n.ctx.Err() == nil {
				n.list(s, true)
			}
		}
	}
}
