package node

import (
	"context"
	"crypto/ed25519"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	enet "github.com/emet-node/emet/adapters/net"
	"github.com/emet-node/emet/adapters/net/libp2p"
	"github.com/emet-node/emet/adapters/secrets"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/delegation"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/peer"
)

// delegations are our identities' words for the host key, made anew at each
// start and when half of their life is over.
func (n *Node) delegations(ctx context.Context, key ed25519.PrivateKey) func() []peer.Delegation {
	return func() []peer.Delegation {
		public, subject, err := libp2p.HostID(key)
		if err != nil {
			return nil
		}
		now := time.Now()
		var out []peer.Delegation
		for _, id := range n.people.All() {
			d, err := n.Secrets.Keys.SignDelegation(ctx, delegation.Document{
				Identity: id, NotBefore: now.Add(-time.Minute).Unix(), NotAfter: now.Add(delegation.MaxHostTime - time.Hour).Unix(),
				PublicKey: public, Role: delegation.Host, Subject: subject,
			})
			if err != nil {
				n.log.Warn("an identity is not present on the network", "identity", id, "error", err)
				continue
			}
			out = append(out, d)
		}
		return out
	}
}

// present tells other nodes which identities this host speaks for.
func (n *Node) present(ctx context.Context) {
	if n.host != nil {
		n.host.Refresh(ctx)
	}
}

// presentAgain renews the delegations long before they end.
func (n *Node) presentAgain(ctx context.Context) error {
	tick := time.NewTicker(delegation.MaxHostTime / 2)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			n.present(ctx)
		}
	}
}

// agreementSigner signs, and says so plainly when the key is locked.
type agreementSigner struct{ keys *secrets.Keys }

func (s agreementSigner) SignAgreement(ctx context.Context, as identity.NodeID, text []byte) (string, error) {
	return s.keys.SignAgreement(ctx, as, text)
}

// recoverPayment says who signed a payment document.
func recoverPayment(canonical, signature []byte) (identity.NodeID, error) {
	return secrets.RecoverVRS(secrets.PaymentDigest(canonical), signature)
}

// lateHandler stands for the node's handler until everything that it needs is
// wired; requests before that are told to come again, and announcements wait.
// Create it with newLateHandler.
type lateHandler struct {
	mu        sync.RWMutex
	h         peer.Handler
	gossip    enet.Gossip
	listening chan struct{} // closed when gossip is set
	busy      atomic.Int64  // how often a peer was told to come again
}

func newLateHandler() *lateHandler { return &lateHandler{listening: make(chan struct{})} }

func (l *lateHandler) set(h peer.Handler) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.h = h
}

func (l *lateHandler) get() peer.Handler {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.h
}

// HandleCall implements peer.Handler.
func (l *lateHandler) HandleCall(ctx context.Context, from peer.Caller, m peer.Message) (peer.Message, error) {
	if h := l.get(); h != nil {
		answer, err := h.HandleCall(ctx, from, m)
		if no, ok := effects.RefusalOf(err); ok && no.Code == peer.Busy {
			l.busy.Add(1)
		}
		return answer, err
	}
	return nil, starting()
}

// HandleStream implements peer.Handler.
func (l *lateHandler) HandleStream(ctx context.Context, from peer.Caller, m peer.Message) iter.Seq2[peer.Message, error] {
	if h := l.get(); h != nil {
		return h.HandleStream(ctx, from, m)
	}
	return func(yield func(peer.Message, error) bool) { yield(nil, starting()) }
}

func starting() error {
	return &peer.Refusal{Code: peer.Busy, RetryAfter: time.Second, Text: "the node is starting"}
}

// listen hands announcements on from now, once.
func (l *lateHandler) listen(g enet.Gossip) {
	l.gossip = g
	close(l.listening)
}

// announced keeps what is heard while the node starts: nodes that are met then
// list their offers once, and repeat them a minute later.
func (l *lateHandler) announced(ctx context.Context, from peer.Caller, a peer.OffersAnnounced) {
	select {
	case <-l.listening:
		l.gossip(ctx, from, a)
	case <-ctx.Done():
	}
}

// nobody is the network of a node that speaks to no other.
type nobody struct{}

func (nobody) Call(_ context.Context, _, to identity.NodeID, m peer.Message) (peer.Message, error) {
	return nil, enet.Unreachable(to, m.Kind(), errAlone)
}

func (nobody) Stream(_ context.Context, _, to identity.NodeID, m peer.Message) iter.Seq2[peer.Message, error] {
	return func(yield func(peer.Message, error) bool) { yield(nil, enet.Unreachable(to, m.Kind(), errAlone)) }
}

func (nobody) Broadcast(context.Context, identity.NodeID, peer.OffersAnnounced) error { return nil }
func (nobody) Features(identity.NodeID) []string                                      { return nil }
func (nobody) Status() enet.Status                                                    { return enet.Status{Transport: "local"} }
func (nobody) Close() error                                                           { return nil }

// profiles lists the payment networks that are served.
func (n *Node) profiles() []onchain.Profile { return n.chains.profiles }
