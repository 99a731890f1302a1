package libp2p

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	lpeer "github.com/libp2p/go-libp2p/core/peer"
	"github.com/multiformats/go-multiaddr"

	"github.com/emet-node/emet/domain/identity"
)

// stranger is the n-th of many nodes, each on a host of its own.
func stranger(n int) (identity.NodeID, lpeer.ID, []multiaddr.Multiaddr) {
	host := lpeer.ID(fmt.Sprintf("\x00\x24\x08\x01\x12\x20%032d", n)) // an Ed25519 key, by its form
	return identity.NodeID(fmt.Sprintf("0x%040x", n)), host, []multiaddr.Multiaddr{
		multiaddr.StringCast(fmt.Sprintf("/ip4/127.0.0.1/udp/%d/quic-v1", 10000+n%50000)), multiaddr.StringCast(fmt.Sprintf("/ip4/127.0.0.1/tcp/%d", 10000+n%50000)),
	}
}

// meetAll lets nodes prove themselves at once, each from a goroutine of its
// own, as their greetings come in.
func (n *Net) meetAll(from, many int) {
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() {
			id, host, addrs := stranger(from + i)
			n.mu.Lock()
			n.known.addresses(host, addrs)
			n.known.proved(id, host, nil)
			n.mu.Unlock()
			n.save()
		})
	}
	wg.Wait()
}

// BenchmarkManyGreetings is what it costs to keep the places of 256 hosts that
// say Hello at once, in a directory of so many nodes that others told of.
func BenchmarkManyGreetings(b *testing.B) {
	for _, heard := range []int{0, maxKnown - 256} {
		b.Run(fmt.Sprintf("heard=%d", heard), func(b *testing.B) {
			for b.Loop() {
				b.StopTimer()
				n := &Net{cfg: Config{File: filepath.Join(b.TempDir(), "peers.json")}}
				for i := range heard {
					id, host, addrs := stranger(1000 + i)
					n.known.addresses(host, addrs[:1])
					n.known.heard(id, host)
				}
				b.StartTimer()
				n.meetAll(0, 256)
			}
		})
	}
}
