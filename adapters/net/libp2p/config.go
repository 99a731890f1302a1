// Package libp2p connects nodes over QUIC and TCP. A node's host has a key of
// its own; which identities it speaks for is proved by delegations that are
// exchanged when two hosts meet. Offers spread by gossip.
package libp2p

import (
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/libp2p/go-libp2p/core/crypto"
	lpeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/emet-node/emet/adapters/net"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

// Config says how a node takes part.
type Config struct {
	// Network separates networks from each other, e.g. "public" or "dev".
	Network string
	// HostKey is the key of this data directory.
	HostKey ed25519.PrivateKey
	// Listen are multiaddrs, e.g. /ip4/0.0.0.0/udp/11511/quic-v1 and
	// /ip4/0.0.0.0/tcp/11511. Without any the node can only dial.
	Listen []string
	// Bootstrap are multiaddrs with /p2p/<PeerID> that the node stays connected to.
	Bootstrap []string
	// Delegations are the identities' signed words for HostKey, as they are
	// now. It is asked at start and by [Net.Refresh].
	Delegations func() []peer.Delegation
	Handler     peer.Handler
	Gossip      net.Gossip // may be nil
	// Met is told about each node that proved itself, and again when it says
	// Hello anew. It may be nil and must not block.
	Met     func(node identity.NodeID, h peer.Hello)
	Version string // of this build
	// File remembers where other nodes were, "" = they are forgotten at the end.
	File   string
	Limits Limits
	Log    *slog.Logger // may be nil
}

// Limits protect the node from others. Zero values become defaults.
type Limits struct {
	Connections  int     // inbound in all; 320
	PerPeer      int     // connections of one host; 8
	Streams      int     // inbound of one host; 256
	MessagesRate float64 // of one host per second; 50
	MessageBurst int     // 200
	BytesRate    float64 // of one host per second, files apart; 4 MiB
	GossipRate   float64 // announcements that one host makes per second, ten times as many it delivers; 20
}

func (l *Limits) defaults() {
	set(&l.Connections, 320)
	set(&l.PerPeer, 8)
	set(&l.Streams, 256)
	set(&l.MessagesRate, 50)
	set(&l.MessageBurst, 200)
	set(&l.BytesRate, 4<<20)
	set(&l.GossipRate, 20)
}

func set[T int | float64](v *T, to T) {
	if *v == 0 {
		*v = to
	}
}

// Durations of the protocol.
const (
	firstByte   = 10 * time.Second // from opening a stream to the request
	wholeBody   = 30 * time.Second // to read the request
	writeStall  = 30 * time.Second // a consumer that takes nothing
	longestWork = time.Hour        // that a caller may let the other work
	lookupTime  = 5 * time.Second  // asking others for a node
	greetTime   = 10 * time.Second
	dialTime    = 5 * time.Second
	probeTime   = 4 * time.Second
	probeEvery  = 5 * time.Second        // whether the bootstrap nodes are there
	firstRedial = 250 * time.Millisecond // of a bootstrap node that has gone
	lastRedial  = 15 * time.Second       // the longest pause between two
	maxNodes    = 64                     // identities of one host
)

func (c *Config) check() ([]lpeer.AddrInfo, error) {
	c.Limits.defaults()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Met == nil {
		c.Met = func(identity.NodeID, peer.Hello) {}
	}
	var errs []error
	if c.Network == "" || len(c.Network) > 64 {
		errs = append(errs, fmt.Errorf("network name %q: want 1 to 64 bytes", c.Network))
	}
	if len(c.HostKey) != ed25519.PrivateKeySize {
		errs = append(errs, errors.New("there is no host key"))
	}
	if c.Handler == nil || c.Delegations == nil {
		errs = append(errs, errors.New("there is no handler or no source of delegations"))
	}
	for _, a := range c.Listen {
		if _, err := multiaddr.NewMultiaddr(a); err != nil {
			errs = append(errs, fmt.Errorf("listen address %q: %w", a, err))
		}
	}
	var boot []lpeer.AddrInfo
	for _, a := range c.Bootstrap {
		info, err := lpeer.AddrInfoFromString(a)
		if err != nil {
			errs = append(errs, fmt.Errorf("bootstrap address %q: %w; it ends in /p2p/<PeerID>", a, err))
			continue
		}
		boot = append(boot, *info)
	}
	return boot, errors.Join(errs...)
}

// HostID is what a delegation says about a host key: its public key in the
// protobuf form of libp2p, in hexadecimal, and its PeerID as the subject.
func HostID(key ed25519.PrivateKey) (publicKey, subject string, err error) {
	k, err := hostKey(key)
	if err != nil {
		return "", "", err
	}
	b, err := crypto.MarshalPublicKey(k.GetPublic())
	if err != nil {
		return "", "", err
	}
	id, err := lpeer.IDFromPublicKey(k.GetPublic())
	return hex.EncodeToString(b), id.String(), err
}

func hostKey(key ed25519.PrivateKey) (crypto.PrivKey, error) {
	k, err := crypto.UnmarshalEd25519PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("host key: %w", err)
	}
	return k, nil
}
