package libp2p

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	golibp2p "github.com/libp2p/go-libp2p"
	"github.com/libp2p/go-libp2p/core/event"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/network"
	lpeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"
	rcmgr "github.com/libp2p/go-libp2p/p2p/host/resource-manager"
	"github.com/libp2p/go-libp2p/p2p/net/connmgr"
	quic "github.com/libp2p/go-libp2p/p2p/transport/quic"
	"github.com/libp2p/go-libp2p/p2p/transport/tcp"
	"github.com/multiformats/go-multiaddr"

	"github.com/emet-node/emet/adapters/net"
)

// Services that a node offers, each with its own protocol. "net" is between
// hosts and needs no identity.
var services = []string{"identity", "market", "activity", "payment", "file", "evidence", "net"}

// Net is a node's connection to the network. Create it with [New].
type Net struct {
	cfg    Config
	host   host.Host
	hostID string // of HostKey, in a delegation
	server *net.Server
	gossip *gossip
	boot   []lpeer.AddrInfo
	mine   atomic.Pointer[self]

	mu       sync.Mutex
	sessions map[lpeer.ID]*session
	known    directory
	proofs   proofs
	keeping  keeping
	learnt   chan struct{} // holds a sign when there is something to remember
	lost     chan struct{} // holds a sign when a host has gone

	ctx     context.Context
	cancel  context.CancelFunc
	closing sync.Mutex
	wg      sync.WaitGroup
}

var _ net.Peer = (*Net)(nil)

// New starts listening and connects to the bootstrap nodes in the background.
func New(cfg Config) (*Net, error) {
	boot, err := cfg.check()
	if err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	n := &Net{cfg: cfg, boot: boot, sessions: make(map[lpeer.ID]*session), learnt: make(chan struct{}, 1), lost: make(chan struct{}, 1), server: net.NewServer(cfg.Handler, cfg.Gossip, cfg.Log)}
	if n.hostID, _, err = HostID(cfg.HostKey); err != nil {
		return nil, fmt.Errorf("network: %w", err)
	}
	n.ctx, n.cancel = context.WithCancel(context.Background())
	if n.host, err = n.open(); err != nil {
		n.cancel()
		return nil, fmt.Errorf("network: %w", err)
	}
	n.loadSelf()
	for _, s := range services {
		n.host.SetStreamHandler(n.protocol(s), n.serve(s))
	}
	if n.gossip, err = n.join(); err != nil {
		return nil, errors.Join(fmt.Errorf("network: %w", err), n.Close())
	}
	if err := n.follow(); err != nil {
		return nil, errors.Join(fmt.Errorf("network: %w", err), n.Close())
	}
	if err := n.listen(); err != nil {
		return nil, errors.Join(fmt.Errorf("network: %w", err), n.Close())
	}
	n.revisit(n.recall())
	if cfg.File != "" {
		n.spawn(n.remember)
	}
	n.spawn(n.stayConnected)
	n.spawn(n.reconcile)
	return n, nil
}

func (n *Net) open() (host.Host, error) {
	key, err := hostKey(n.cfg.HostKey)
	if err != nil {
		return nil, err
	}
	limits, err := n.resources()
	if err != nil {
		return nil, err
	}
	conns, err := connmgr.NewConnManager(n.cfg.Limits.Connections/2, n.cfg.Limits.Connections, connmgr.WithGracePeriod(time.Minute))
	if err != nil {
		return nil, err
	}
	return golibp2p.New(
		golibp2p.Identity(key), golibp2p.NoListenAddrs, golibp2p.UserAgent("emet/"+n.cfg.Version), golibp2p.DisableMetrics(),
		golibp2p.Transport(quic.NewTransport), golibp2p.Transport(tcp.NewTCPTransport), golibp2p.DisableRelay(),
		golibp2p.ResourceManager(limits), golibp2p.ConnectionManager(conns), golibp2p.WithDialTimeout(dialTime),
	)
}

// listen opens the node to others. It comes when everything answers: whoever
// connects before that remembers a host that speaks no protocol of ours.
func (n *Net) listen() error {
	if len(n.cfg.Listen) == 0 {
		return nil
	}
	addrs := make([]multiaddr.Multiaddr, len(n.cfg.Listen))
	for i, text := range n.cfg.Listen {
		a, err := multiaddr.NewMultiaddr(text)
		if err != nil {
			return fmt.Errorf("listen address %q: %w", text, err)
		}
		addrs[i] = a
	}
	return n.host.Network().Listen(addrs...)
}

// resources bounds what others may use of this host.
func (n *Net) resources() (network.ResourceManager, error) {
	l := n.cfg.Limits
	base := rcmgr.DefaultLimits
	golibp2p.SetDefaultServiceLimits(&base)
	limits := rcmgr.PartialLimitConfig{
		System:      rcmgr.ResourceLimits{ConnsInbound: rcmgr.LimitVal(l.Connections)},
		Transient:   rcmgr.ResourceLimits{ConnsInbound: 64},
		PeerDefault: rcmgr.ResourceLimits{Conns: rcmgr.LimitVal(l.PerPeer), StreamsInbound: rcmgr.LimitVal(l.Streams), Streams: rcmgr.LimitVal(2 * l.Streams), StreamsOutbound: rcmgr.LimitVal(2 * l.Streams)},
		Protocol:    make(map[protocol.ID]rcmgr.ResourceLimits), ProtocolPeer: make(map[protocol.ID]rcmgr.ResourceLimits),
	}
	for _, s := range services {
		limits.Protocol[n.protocol(s)] = rcmgr.ResourceLimits{Streams: 4096, StreamsInbound: 2048, StreamsOutbound: 2048}
		limits.ProtocolPeer[n.protocol(s)] = rcmgr.ResourceLimits{
			Streams: rcmgr.LimitVal(2 * l.Streams), StreamsInbound: rcmgr.LimitVal(l.Streams), StreamsOutbound: rcmgr.LimitVal(l.Streams),
		}
	}
	return rcmgr.NewResourceManager(rcmgr.NewFixedLimiter(limits.Build(base.AutoScale())))
}

func (n *Net) protocol(service string) protocol.ID {
	return protocol.ID("/emet/" + n.cfg.Network + "/" + service + "/1.0.0")
}

// spawn runs f until Close, which waits for it.
func (n *Net) spawn(f func()) {
	n.closing.Lock()
	defer n.closing.Unlock()
	if n.ctx.Err() == nil {
		n.wg.Go(f)
	}
}

// follow greets whom this host dials and forgets who has gone.
func (n *Net) follow() error {
	n.host.Network().Notify(&network.NotifyBundle{
		ConnectedF: func(_ network.Network, c network.Conn) {
			if c.Stat().Direction == network.DirOutbound {
				n.spawn(func() { n.greetNew(c.RemotePeer()) })
			}
			n.spawn(func() { n.probeOthers(c) })
		},
		DisconnectedF: func(w network.Network, c network.Conn) {
			if w.Connectedness(c.RemotePeer()) != network.Connected {
				n.mu.Lock()
				delete(n.sessions, c.RemotePeer())
				n.mu.Unlock()
				select {
				case n.lost <- struct{}{}:
				default:
				}
			}
		},
	})
	sub, err := n.host.EventBus().Subscribe(new(event.EvtPeerIdentificationCompleted))
	if err != nil {
		return err
	}
	n.spawn(func() {
		defer sub.Close() //nolint:errcheck // nothing is lost
		for {
			select {
			case e, ok := <-sub.Out():
				if !ok {
					return
				}
				if id, ok := e.(event.EvtPeerIdentificationCompleted); ok {
					n.mu.Lock()
					n.known.addresses(id.Peer, id.ListenAddrs)
					n.mu.Unlock()
					n.changed()
				}
			case <-n.ctx.Done():
				return
			}
		}
	})
	return nil
}

// probeOthers looks whether the older connections to a host that connects anew
// are alive. Those of a host that was started again are not, and whoever waits
// for an answer on them would wait for long.
func (n *Net) probeOthers(c network.Conn) {
	for _, old := range n.host.Network().ConnsToPeer(c.RemotePeer()) {
		if old != c && !n.alive(old) {
			old.Close() //nolint:errcheck // it is of no use
		}
	}
}

// alive says whether somebody answers on a connection. Every host greets
// whoever opens a stream.
func (n *Net) alive(c network.Conn) bool {
	ctx, cancel := context.WithTimeout(n.ctx, probeTime)
	defer cancel()
	st, err := c.NewStream(ctx)
	if err != nil {
		return false
	}
	defer st.Reset()                            //nolint:errcheck // nothing more is said
	st.SetDeadline(time.Now().Add(probeTime))   //nolint:errcheck // every stream has deadlines
	_, err = st.Write([]byte(multistreamHello)) // what every libp2p stream begins with
	if err != nil {
		return false
	}
	_, err = st.Read(make([]byte, 1))
	return err == nil
}

const multistreamHello = "\x13/multistream/1.0.0\n"

func (n *Net) greetNew(id lpeer.ID) {
	ctx, cancel := context.WithTimeout(n.ctx, greetTime)
	defer cancel()
	s := n.session(id)
	if s == nil {
		return
	}
	if err := n.meet(ctx, s); err != nil {
		n.cfg.Log.Debug("a host was not met", "host", id, "error", err)
	}
}

// stayConnected dials the bootstrap nodes whenever they are gone: often at
// first, since a node that is started again is back in a moment.
func (n *Net) stayConnected() {
	wait := firstRedial / 2
	for n.ctx.Err() == nil {
		missing := 0
		for _, b := range n.boot {
			if b.ID == n.host.ID() || n.connected(b.ID) {
				continue
			}
			if err := n.dial(n.ctx, b); err != nil {
				missing++
				n.cfg.Log.Debug("a bootstrap node was not reached", "host", b.ID, "error", err)
			}
		}
		if wait = min(2*wait, lastRedial); missing > 0 {
			n.pause(wait)
			continue
		}
		wait = firstRedial / 2
		n.pauseOr(n.lost, probeEvery)
	}
}

// connected says whether there is a living connection to a host. A dead one is
// closed: to a node that was killed it looks alive until somebody waited for
// an answer in vain.
func (n *Net) connected(id lpeer.ID) bool {
	for _, c := range n.host.Network().ConnsToPeer(id) {
		if n.alive(c) {
			return true
		}
		c.Close() //nolint:errcheck // it is of no use
	}
	return false
}

// pauseOr waits for a sign, but not longer than d.
func (n *Net) pauseOr(sign <-chan struct{}, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-sign:
	case <-t.C:
	case <-n.ctx.Done():
	}
}

func (n *Net) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-n.ctx.Done():
	}
}

// Addrs are the addresses of this node with its PeerID, for others' Bootstrap.
func (n *Net) Addrs() []string {
	self := lpeer.AddrInfo{ID: n.host.ID(), Addrs: n.host.Addrs()}
	all, err := lpeer.AddrInfoToP2pAddrs(&self)
	if err != nil {
		return nil // a host always has an id
	}
	out := make([]string, len(all))
	for i, a := range all {
		out[i] = a.String()
	}
	return out
}

// Connect dials a host by its multiaddr with /p2p/<PeerID> and exchanges
// Hellos: each knows the identities of the other when it returns.
func (n *Net) Connect(ctx context.Context, addr string) error {
	info, err := lpeer.AddrInfoFromString(addr)
	if err != nil {
		return fmt.Errorf("connect to %q: %w", addr, err)
	}
	if err := n.dial(ctx, *info); err != nil {
		return fmt.Errorf("connect to %q: %w", addr, err)
	}
	s := n.session(info.ID)
	if s == nil {
		return fmt.Errorf("connect to %q: %w", addr, errGone)
	}
	if err := n.meet(ctx, s); err != nil {
		return fmt.Errorf("connect to %q: %w", addr, err)
	}
	return nil
}

// Status implements [net.Peer].
func (n *Net) Status() net.Status {
	st := net.Status{Transport: "libp2p", HostID: n.host.ID().String(), Listen: n.Addrs()}
	n.mu.Lock()
	defer n.mu.Unlock()
	for id, s := range n.sessions {
		p := s.status()
		p.HostID, p.Latency = id.String(), n.host.Peerstore().LatencyEWMA(id)
		for _, c := range n.host.Network().ConnsToPeer(id) {
			p.Addr, p.Inbound, p.Since = c.RemoteMultiaddr().String(), c.Stat().Direction == network.DirInbound, c.Stat().Opened
		}
		st.Peers = append(st.Peers, p)
	}
	slices.SortFunc(st.Peers, func(a, b net.PeerStatus) int { return a.Since.Compare(b.Since) })
	return st
}

// Close leaves the network and waits for what is under way.
func (n *Net) Close() error {
	n.closing.Lock()
	n.cancel()
	n.closing.Unlock()
	err := n.host.Close()
	n.wg.Wait()
	return err
}
