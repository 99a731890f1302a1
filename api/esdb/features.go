package esdb

import (
	"context"
	"crypto/rand"
	"net"
	"strconv"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/shared"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/emet-node/emet/domain/es"
)

// emulated is the version of the server whose protocol this is. Clients want
// three whole numbers.
const emulated = "24.10.0"

// features tells clients what they may use.
type features struct {
	serverfeatures.UnimplementedServerFeaturesServer
	writable bool
}

// GetSupportedMethods implements the service ServerFeatures.
func (f *features) GetSupportedMethods(context.Context, *shared.Empty) (*serverfeatures.SupportedMethods, error) {
	out := &serverfeatures.SupportedMethods{EventStoreServerVersion: emulated}
	add := func(service string, methods map[string][]string) {
		for name, list := range methods {
			out.Methods = append(out.Methods, &serverfeatures.SupportedMethod{ServiceName: service, MethodName: name, Features: list})
		}
	}
	add("event_store.client.streams.streams", map[string][]string{
		"read": {"position", "events"}, "append": nil, "delete": nil, "tombstone": nil,
	})
	if f.writable { // Node clients use it as soon as they hear of it
		add("event_store.client.streams.streams", map[string][]string{"batchappend": {"deadline_duration"}})
	}
	both := []string{"stream", "all"}
	add("event_store.client.persistent_subscriptions.persistentsubscriptions", map[string][]string{
		"create": both, "update": both, "delete": both, "read": both, "getinfo": both, "replayparked": both, "list": both, "restartsubsystem": nil,
	})
	add("event_store.client.server_features.serverfeatures", map[string][]string{"getsupportedmethods": nil})
	add("event_store.client.gossip.gossip", map[string][]string{"read": nil})
	return out, nil
}

// member is the one member of a cluster of one.
type member struct {
	gossip.UnimplementedGossipServer
	id es.ID
}

func newMember() *member {
	m := &member{}
	_, _ = rand.Read(m.id[:]) // never fails
	return m
}

// Read implements the service Gossip. The address is the one that the client
// reached.
func (m *member) Read(ctx context.Context, _ *shared.Empty) (*gossip.ClusterInfo, error) {
	at := &gossip.EndPoint{Address: "127.0.0.1"}
	if md, ok := metadata.FromIncomingContext(ctx); ok && len(md.Get(":authority")) > 0 {
		setEndPoint(at, md.Get(":authority")[0])
	}
	if p, ok := peer.FromContext(ctx); at.Port == 0 && ok && p.LocalAddr != nil {
		setEndPoint(at, p.LocalAddr.String())
	}
	return &gossip.ClusterInfo{Members: []*gossip.MemberInfo{{
		InstanceId: uuidOf(m.id, false), TimeStamp: ticks(time.Now()), State: gossip.MemberInfo_Leader, IsAlive: true, HttpEndPoint: at,
	}}}, nil
}

func setEndPoint(at *gossip.EndPoint, addr string) {
	host, port, err := net.SplitHostPort(addr)
	if n, bad := strconv.ParseUint(port, 10, 16); err == nil && bad == nil {
		at.Address, at.Port = host, uint32(n)
	}
}
