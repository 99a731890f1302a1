package memory

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emet-node/emet/adapters/net"
	"github.com/emet-node/emet/adapters/net/nettest"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

type world struct {
	t *testing.T
	n *Network
}

func (w world) Join(h nettest.Host) nettest.Node {
	var ids []identity.NodeID
	for _, i := range h.Identities {
		ids = append(ids, i.ID)
	}
	node := w.n.Join(ids, h.Handler, h.Gossip)
	w.t.Cleanup(func() { node.Close() })
	return nettest.Node{
		Peer: node,
		Forge: func(ctx context.Context, claimed, to identity.NodeID, m peer.Message) (peer.Message, error) {
			body, err := net.Encode(m)
			if err != nil {
				return nil, err
			}
			return node.send(ctx, node.caller(ctx, claimed, to, body), m.Kind(), body)
		},
		Restart: func() nettest.Node {
			if err := node.Close(); err != nil {
				w.t.Error(err)
			}
			return w.Join(h)
		},
	}
}

func TestMemoryNetwork(t *testing.T) {
	t.Parallel()
	nettest.Run(t, func(t *testing.T) nettest.World { return world{t, New()} })
}

func pair(t *testing.T, h *nettest.Handler) (*Network, *Node, identity.NodeID, identity.NodeID) {
	t.Helper()
	n, a, b := New(), nettest.Person(1).ID, nettest.Person(2).ID
	alice := n.Join([]identity.NodeID{a}, &nettest.Handler{}, nil)
	bob := n.Join([]identity.NodeID{b}, h, nil)
	t.Cleanup(func() { alice.Close(); bob.Close() })
	alice.wg.Wait()
	bob.wg.Wait()
	return n, alice, a, b
}

func TestFaults(t *testing.T) {
	t.Parallel()
	ask := peer.Exec{Script: "[]"}
	for name, c := range map[string]struct {
		fault Fault
		want  error
		calls int
		takes time.Duration
	}{
		"delay":        {Fault{Delay: time.Minute / 4}, nil, 1, time.Minute / 4},
		"too late":     {Fault{Delay: time.Hour}, peer.ErrNoAnswer, 0, net.CallTimeout},
		"lost request": {Fault{LoseRequest: true}, peer.ErrNoAnswer, 0, net.CallTimeout},
		"lost reply":   {Fault{LoseReply: true}, peer.ErrNoAnswer, 1, net.CallTimeout},
		"unreachable":  {Fault{Refuse: true}, peer.ErrUnreachable, 0, 0},
		"doubled":      {Fault{Twice: true}, nil, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &nettest.Handler{}
				n, alice, a, b := pair(t, h)
				n.Faults(func(_, _ identity.NodeID, kind string) Fault {
					if kind != ask.Kind() {
						t.Errorf("asked about %s", kind)
					}
					return c.fault
				})
				start := time.Now()
				if _, err := alice.Call(t.Context(), a, b, ask); !errors.Is(err, c.want) {
					t.Fatalf("got %v, want %v", err, c.want)
				}
				synctest.Wait()
				if d := time.Since(start); d != c.takes || len(h.Seen()) != c.calls {
					t.Fatalf("took %s and %d calls, want %s and %d", d, len(h.Seen()), c.takes, c.calls)
				}
			})
		})
	}
}

func TestPartition(t *testing.T) {
	t.Parallel()
	n, alice, a, b := pair(t, &nettest.Handler{})
	n.Partition([]identity.NodeID{a})
	if _, err := alice.Call(t.Context(), a, b, peer.Exec{}); !errors.Is(err, peer.ErrUnreachable) {
		t.Fatalf("across the partition: %v", err)
	}
	n.Partition()
	if _, err := alice.Call(t.Context(), a, b, peer.Exec{}); err != nil {
		t.Fatalf("after it healed: %v", err)
	}
	if !slices.Equal(alice.Features(b), net.AllFeatures()) {
		t.Fatal("features")
	}
}
