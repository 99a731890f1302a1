// Package memory is a network inside one process, for tests and simulation:
// messages can be delayed, lost, doubled, and nodes kept apart.
package memory

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/emet-node/emet/adapters/net"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

// Fault is what befalls one request. The zero Fault is none.
type Fault struct {
	Delay       time.Duration // before the request arrives
	Twice       bool          // the request arrives twice
	LoseRequest bool
	LoseReply   bool
	Refuse      bool // the node is unreachable
}

// Network connects nodes. Create it with [New].
type Network struct {
	mu     sync.Mutex
	nodes  map[identity.NodeID]*Node
	faults func(from, to identity.NodeID, kind string) Fault
	group  map[identity.NodeID]int
}

// New makes a network without nodes and without faults.
func New() *Network { return &Network{nodes: make(map[identity.NodeID]*Node)} }

// Faults makes f decide what befalls each request; nil heals all. f must be
// safe for concurrent use.
func (n *Network) Faults(f func(from, to identity.NodeID, kind string) Fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = f
}

// Partition lets nodes reach those of their own group only. Nodes in no group
// form one together. No groups at all heal the network.
func (n *Network) Partition(groups ...[]identity.NodeID) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.group = make(map[identity.NodeID]int)
	for i, g := range groups {
		for _, id := range g {
			n.group[id] = i + 1
		}
	}
}

// Node is one node's connection to the network.
type Node struct {
	network  *Network
	ids      []identity.NodeID
	server   *net.Server
	features []string
	ctx      context.Context
	cancel   context.CancelFunc

	closing sync.Mutex // held to begin work in the background
	wg      sync.WaitGroup
}

// spawn runs f in the background unless the node has left.
func (n *Node) spawn(f func()) {
	n.closing.Lock()
	defer n.closing.Unlock()
	if n.ctx.Err() == nil {
		n.wg.Go(f)
	}
}

var _ net.Peer = (*Node)(nil)

// Join adds a node with its identities. Its neighbours are asked for their
// offers, and ask it, as on every connection.
func (n *Network) Join(ids []identity.NodeID, h peer.Handler, g net.Gossip) *Node {
	ctx, cancel := context.WithCancel(context.Background())
	node := &Node{
		network: n, ids: slices.Clone(ids), server: net.NewServer(h, g, nil), features: net.AllFeatures(), ctx: ctx, cancel: cancel,
	}
	others := n.others(node)
	n.mu.Lock()
	for _, id := range ids {
		n.nodes[id] = node
	}
	n.mu.Unlock()
	for _, o := range others {
		node.list(o)
		o.list(node)
	}
	return node
}

// others are all nodes but this one.
func (n *Network) others(node *Node) []*Node {
	n.mu.Lock()
	defer n.mu.Unlock()
	seen := make(map[*Node]bool)
	var out []*Node
	for _, id := range slices.Sorted(maps.Keys(n.nodes)) {
		if o := n.nodes[id]; o != node && !seen[o] {
			seen[o] = true
			out = append(out, o)
		}
	}
	return out
}

// list asks another node for its offers, in the background.
func (n *Node) list(o *Node) {
	n.spawn(func() {
		if len(n.ids) == 0 {
			return
		}
		for _, id := range o.ids {
			m, err := n.Call(n.ctx, n.ids[0], id, peer.ListOffers{})
			if a, ok := m.(peer.OffersAnnounced); ok && err == nil {
				n.server.Announce(n.ctx, n.caller(n.ctx, id, n.ids[0], nil), a)
			}
		}
	})
}

func (n *Node) caller(ctx context.Context, from, to identity.NodeID, body []byte) peer.Caller {
	at := time.Now().UTC().Truncate(time.Microsecond)
	return peer.Caller{Node: from, To: to, Via: "memory", SentAt: at, Raw: body, MessageID: net.MessageID(ctx)}
}

// route finds who answers for to, and what befalls the request.
func (n *Network) route(from, to identity.NodeID, kind string) (*Node, Fault) {
	n.mu.Lock()
	defer n.mu.Unlock()
	o := n.nodes[to]
	if o == nil || n.group[from] != n.group[to] {
		return nil, Fault{}
	}
	if n.faults == nil {
		return o, Fault{}
	}
	return o, n.faults(from, to, kind)
}

var (
	errNobody = errors.New("nobody there")
	errLost   = errors.New("lost on the way")
)

// Call implements [net.Peer].
func (n *Node) Call(ctx context.Context, from, to identity.NodeID, m peer.Message) (peer.Message, error) {
	ctx, cancel := net.Deadline(ctx)
	defer cancel()
	body, err := net.Encode(m)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(n.ids, from) {
		return nil, fmt.Errorf("%s as %s: %w", m.Kind(), from, net.ErrNotOurs)
	}
	return n.send(ctx, n.caller(ctx, from, to, body), m.Kind(), body)
}

func (n *Node) send(ctx context.Context, c peer.Caller, kind string, body []byte) (peer.Message, error) {
	o, fault := n.network.route(c.Node, c.To, kind)
	if err := n.reach(ctx, o, fault, c.To, kind); err != nil {
		return nil, err
	}
	if fault.LoseRequest {
		<-ctx.Done()
		return nil, net.Unanswered(c.To, kind, errLost)
	}
	if !n.network.proved(n, c.Node) {
		return nil, peer.Refuse(peer.Forbidden, "%s is not an identity of the sender", c.Node)
	}
	if fault.Twice {
		n.spawn(func() { net.Hand(ctx, o.server, c, kind, body) }) //nolint:errcheck // its answer goes nowhere
	}
	reply, err := net.Hand(ctx, o.server, c, kind, body)
	if fault.LoseReply {
		<-ctx.Done()
		return nil, net.Unanswered(c.To, kind, errLost)
	}
	return reply, err
}

// reach waits for the delay and says whether the other node is there.
func (n *Node) reach(ctx context.Context, o *Node, f Fault, to identity.NodeID, kind string) error {
	if o == nil || f.Refuse || n.ctx.Err() != nil {
		return net.Unreachable(to, kind, errNobody)
	}
	if f.Delay == 0 {
		return nil
	}
	t := time.NewTimer(f.Delay)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return net.Unanswered(to, kind, ctx.Err())
	}
}

// proved says whether the network knows node as the one that has the identity.
func (n *Network) proved(node *Node, id identity.NodeID) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.nodes[id] == node
}

// Stream implements [net.Peer].
func (n *Node) Stream(ctx context.Context, from, to identity.NodeID, m peer.Message) iter.Seq2[peer.Message, error] {
	return func(yield func(peer.Message, error) bool) {
		body, err := net.Encode(m)
		if err == nil && !slices.Contains(n.ids, from) {
			err = fmt.Errorf("%s as %s: %w", m.Kind(), from, net.ErrNotOurs)
		}
		o, fault := n.network.route(from, to, m.Kind())
		if err == nil {
			err = n.reach(ctx, o, fault, to, m.Kind())
		}
		if err != nil {
			yield(nil, err)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(o.ctx, cancel)()
		net.HandStream(ctx, o.server, n.caller(ctx, from, to, body), m.Kind(), body, yield)
	}
}

// Broadcast implements [net.Peer].
func (n *Node) Broadcast(ctx context.Context, from identity.NodeID, m peer.OffersAnnounced) error {
	body, err := net.Encode(m)
	if err != nil {
		return err
	}
	if !slices.Contains(n.ids, from) {
		return fmt.Errorf("%s as %s: %w", m.Kind(), from, net.ErrNotOurs)
	}
	for _, o := range n.network.others(n) {
		n.spawn(func() {
			if len(o.ids) > 0 { // one of its identities is enough
				n.send(n.ctx, n.caller(ctx, from, o.ids[0], body), m.Kind(), body) //nolint:errcheck // gossip
			}
		})
	}
	return nil
}

// Features implements [net.Peer].
func (n *Node) Features(to identity.NodeID) []string {
	if o, _ := n.network.route(to, to, ""); o != nil {
		return slices.Clone(o.features)
	}
	return nil
}

// Status implements [net.Peer].
func (n *Node) Status() net.Status {
	s := net.Status{Transport: "memory"}
	for _, o := range n.network.others(n) {
		s.Peers = append(s.Peers, net.PeerStatus{Nodes: slices.Clone(o.ids), Features: slices.Clone(o.features)})
	}
	return s
}

// Close leaves the network and waits for what is under way.
func (n *Node) Close() error {
	n.closing.Lock()
	n.cancel()
	n.closing.Unlock()
	n.network.mu.Lock()
	for _, id := range n.ids {
		if n.network.nodes[id] == n {
			delete(n.network.nodes, id)
		}
	}
	n.network.mu.Unlock()
	n.wg.Wait()
	return nil
}
