package libp2p

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/libp2p/go-libp2p/core/network"
	lpeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/net/swarm"
	"github.com/multiformats/go-multiaddr"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

const (
	maxKnown  = 20_000 // nodes and hosts that are remembered
	maxAddrs  = 16     // of one host
	maxAddr   = 512    // bytes of an address
	maxWord   = 64     // bytes of a feature, and of a version
	askAtOnce = 8      // hosts that are asked for a node
)

// directory remembers where nodes were met or heard of. A proof at first
// contact decides, so a wrong entry costs a dial.
type directory struct {
	nodes map[identity.NodeID]place
	met   int // proofs so far
	addrs map[lpeer.ID][]multiaddr.Multiaddr
}

type place struct {
	host     lpeer.ID
	features []string
	proved   bool // in this life
	kept     bool // in an earlier one
	met      int  // which proof of this life it was, 0 = none
}

func (d *directory) proved(id identity.NodeID, host lpeer.ID, features []string) {
	d.met++
	d.put(id, place{host: host, features: features, proved: true, met: d.met})
}

// left forgets a node whose host does not speak for it any more.
func (d *directory) left(id identity.NodeID, host lpeer.ID) {
	if p, ok := d.nodes[id]; ok && p.host == host {
		delete(d.nodes, id)
	}
}

// heard takes over hearsay unless something better is known.
func (d *directory) heard(id identity.NodeID, host lpeer.ID) {
	if p, ok := d.nodes[id]; !ok || !p.proved && !p.kept {
		d.put(id, place{host: host})
	}
}

// kept takes over what was proved in an earlier life.
func (d *directory) kept(id identity.NodeID, host lpeer.ID) {
	if p, ok := d.nodes[id]; !ok || !p.proved {
		d.put(id, place{host: host, kept: true})
	}
}

func (d *directory) put(id identity.NodeID, p place) {
	if d.nodes == nil {
		d.nodes = make(map[identity.NodeID]place)
	}
	if _, ok := d.nodes[id]; !ok && len(d.nodes) >= maxKnown {
		for old := range d.nodes { // any
			delete(d.nodes, old)
			break
		}
	}
	d.nodes[id] = p
}

func (d *directory) addresses(host lpeer.ID, addrs []multiaddr.Multiaddr) {
	addrs = slices.DeleteFunc(slices.Clone(addrs[:min(len(addrs), maxAddrs)]), func(a multiaddr.Multiaddr) bool { return len(a.Bytes()) > maxAddr })
	if len(addrs) == 0 {
		return
	}
	if d.addrs == nil {
		d.addrs = make(map[lpeer.ID][]multiaddr.Multiaddr)
	}
	if _, ok := d.addrs[host]; !ok && len(d.addrs) >= maxKnown {
		for old := range d.addrs { // any
			delete(d.addrs, old)
			break
		}
	}
	d.addrs[host] = addrs
}

func (n *Net) place(id identity.NodeID) (place, lpeer.AddrInfo, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p, ok := n.known.nodes[id]
	return p, lpeer.AddrInfo{ID: p.host, Addrs: n.known.addrs[p.host]}, ok
}

// Features implements [net.Peer].
func (n *Net) Features(id identity.NodeID) []string {
	p, _, _ := n.place(id)
	return slices.Clone(p.features)
}

var errNotFound = errors.New("no connected node knows where it is")

// reach returns a session with the host of a node, which it has proved.
func (n *Net) reach(ctx context.Context, to identity.NodeID) (*session, error) {
	s, err := n.find(ctx, to)
	if err != nil && n.introduce(ctx) {
		return n.find(ctx, to)
	}
	return s, err
}

func (n *Net) find(ctx context.Context, to identity.NodeID) (*session, error) {
	var first error
	if _, info, ok := n.place(to); ok {
		s, err := n.visit(ctx, info, to)
		if err == nil {
			return s, nil
		}
		first = err
	}
	for _, info := range n.lookup(ctx, to) {
		s, err := n.visit(ctx, info, to)
		if err == nil {
			return s, nil
		}
		first = errors.Join(first, err)
	}
	if first == nil {
		first = errNotFound
	}
	return nil, first
}

// introduce meets the connected hosts that have not said yet who they are:
// their greeting was lost, or is under way. It returns whether there was one.
func (n *Net) introduce(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	var wg sync.WaitGroup
	asked := 0
	for _, id := range n.host.Network().Peers() {
		s := n.session(id)
		if s == nil || s.isMet() || asked == askAtOnce {
			continue
		}
		asked++
		wg.Go(func() {
			if err := n.meet(ctx, s); err != nil {
				n.cfg.Log.Debug("a host was not met", "host", id, "error", err)
			}
		})
	}
	wg.Wait()
	return asked > 0
}

// visit connects to a host, exchanges Hellos and sees whether it has the node.
func (n *Net) visit(ctx context.Context, info lpeer.AddrInfo, to identity.NodeID) (*session, error) {
	if info.ID == n.host.ID() {
		return nil, errors.New("it is this host")
	}
	if n.host.Network().Connectedness(info.ID) != network.Connected {
		if err := n.dial(ctx, info); err != nil {
			return nil, err
		}
	}
	s := n.session(info.ID)
	if s == nil {
		return nil, fmt.Errorf("host %s has gone", info.ID)
	}
	if s.isMet() && s.proved(to) {
		return s, nil
	}
	s.forget()
	if err := n.meet(ctx, s); err != nil {
		return nil, err
	}
	if !s.proved(to) {
		return nil, fmt.Errorf("host %s: %w", info.ID, errProof)
	}
	return s, nil
}

// dial connects to a host even when it did not answer a moment ago: whoever
// calls again has a reason.
func (n *Net) dial(ctx context.Context, info lpeer.AddrInfo) error {
	if s, ok := n.host.Network().(*swarm.Swarm); ok {
		s.Backoff().Clear(info.ID)
	}
	return n.host.Connect(ctx, info)
}

// whoHas asks a host where a node is; hosts is the answer. Both are between
// hosts, no matter who speaks for whom.
type whoHas struct {
	Node identity.NodeID `json:"node"`
}

type hosts struct {
	Hosts []hostAddrs `json:"hosts"`
}

type hostAddrs struct {
	Addrs []string `json:"addrs"`
	Host  string   `json:"host"`
}

func (whoHas) Kind() string { return "net.who_has" }
func (hosts) Kind() string  { return "net.hosts" }

// lookup asks connected hosts where a node is.
func (n *Net) lookup(ctx context.Context, to identity.NodeID) []lpeer.AddrInfo {
	ctx, cancel := context.WithTimeout(ctx, lookupTime)
	defer cancel()
	var ask []*session
	for _, id := range n.host.Network().Peers() { // in any order
		if s := n.session(id); s != nil && len(ask) < askAtOnce {
			ask = append(ask, s)
		}
	}
	body, err := json.Marshal(whoHas{Node: to})
	if err != nil {
		return nil
	}
	var mu sync.Mutex
	var out []lpeer.AddrInfo
	var wg sync.WaitGroup
	for _, s := range ask {
		wg.Go(func() {
			m, err := n.ask(ctx, s, n.envelope(ctx, "", "", whoHas{}.Kind(), body))
			if h, ok := m.(hosts); ok && err == nil {
				mu.Lock()
				defer mu.Unlock()
				out = append(out, h.infos()...)
			}
		})
	}
	wg.Wait()
	return merge(out)
}

// infos are the first hosts of an answer that can be read.
func (h hosts) infos() []lpeer.AddrInfo {
	var out []lpeer.AddrInfo
	for _, a := range h.Hosts[:min(len(h.Hosts), 2)] {
		id, err := lpeer.Decode(a.Host)
		if err != nil {
			continue
		}
		out = append(out, lpeer.AddrInfo{ID: id, Addrs: parseAddrs(a.Addrs)})
	}
	return out
}

func parseAddrs(texts []string) []multiaddr.Multiaddr {
	var out []multiaddr.Multiaddr
	for _, t := range texts[:min(len(texts), maxAddrs)] {
		if a, err := multiaddr.NewMultiaddr(t); err == nil {
			out = append(out, a)
		}
	}
	return out
}

// merge joins what several said of one host; at most 4 hosts are tried.
func merge(in []lpeer.AddrInfo) []lpeer.AddrInfo {
	var out []lpeer.AddrInfo
	for _, a := range in {
		i := slices.IndexFunc(out, func(b lpeer.AddrInfo) bool { return a.ID == b.ID })
		switch {
		case i >= 0:
			out[i].Addrs = multiaddr.Unique(append(out[i].Addrs, a.Addrs...))
		case len(out) < 4:
			out = append(out, a)
		}
	}
	return out
}

// whereIs answers [whoHas] from what was proved to this host.
func (n *Net) whereIs(body []byte) (peer.Message, error) {
	var q whoHas
	if err := json.Unmarshal(body, &q); err != nil {
		return nil, peer.Refuse(peer.BadRequest, "%v", err)
	}
	id, err := identity.ParseNodeID(string(q.Node))
	if err != nil {
		return nil, peer.Refuse(peer.BadRequest, "%v", err)
	}
	if n.ours(id) {
		return hosts{Hosts: []hostAddrs{addrsOf(lpeer.AddrInfo{ID: n.host.ID(), Addrs: n.host.Addrs()})}}, nil
	}
	p, info, ok := n.place(id)
	if !ok || !p.proved || len(info.Addrs) == 0 {
		return hosts{Hosts: []hostAddrs{}}, nil
	}
	return hosts{Hosts: []hostAddrs{addrsOf(info)}}, nil
}

func addrsOf(info lpeer.AddrInfo) hostAddrs {
	h := hostAddrs{Addrs: []string{}, Host: info.ID.String()}
	for _, a := range info.Addrs[:min(len(info.Addrs), maxAddrs)] {
		h.Addrs = append(h.Addrs, a.String())
	}
	return h
}
