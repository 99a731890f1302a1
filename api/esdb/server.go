package esdb

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/protos/gossip"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/persistent"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/serverfeatures"
	"github.com/EventStore/EventStore-Client-Go/v4/protos/streams"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/emet-node/emet/domain/es"
)

// Options of a [Server].
type Options struct {
	Store es.Store
	// MayRead says whether an app-key's secret opens the door. nil = nothing
	// does, except that a process of the same user needs none without TLS.
	MayRead func(secret string) bool
	// MayAppend says whether an app-key's secret opens the door for appends too,
	// and what the metadata of these events says about it. nil = none does.
	MayAppend func(secret string) (es.Meta, bool)
	// Reserved says why a stream or a type of event is not for those who may
	// append, nil = it is for them. Names that begin with $ never are.
	Reserved func(s es.Stream, typ string) error
	// TLS of the listener; nil = plain text, which is for loopback only.
	TLS *tls.Config
	// Groups is the file that keeps persistent subscriptions; "" = in memory.
	Groups string
	// Writable lets everybody append anything. A node never sets it: what stands
	// in its log must not be forged. Tests of clients run against it.
	Writable bool
	// Open lets everybody in, for tests.
	Open bool
	// MaxConns is how many may be connected, 0 = 64.
	MaxConns int
	// FirstCall is how long a connection stays on which no call was admitted, 0 = 10 s.
	FirstCall time.Duration
	Logger    *slog.Logger // nil = none
}

// Server is the door. Create it with [New] and run it once.
type Server struct {
	o      Options
	grpc   *grpc.Server
	groups *groups
	log    *slog.Logger

	streams.UnimplementedStreamsServer
}

// The largest message that clients send or take, and limits against a local
// process that means no good.
const (
	maxMessage     = 68 << 20
	usualConns     = 64
	maxCalls       = 256 // of one connection
	firstRequest   = 10 * time.Second
	keyLooks       = 500 * time.Millisecond
	goodbye        = 500 * time.Millisecond
	clientPings    = 5 * time.Second // official clients ping every 10 s
	silence        = 30 * time.Second
	writeBuffer    = 128 << 10
	flowWindow     = 1 << 20
	maxHeaderBytes = 16 << 10
)

// New returns a server that is not running yet. It fails when the file of the
// persistent subscriptions cannot be read.
func New(o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, log: o.Logger}
	var err error
	if s.groups, err = openGroups(o.Groups, o.Store, o.Logger); err != nil {
		return nil, err
	}
	s.grpc = grpc.NewServer(
		grpc.Creds(newHandshake(o.TLS)), grpc.ForceServerCodecV2(newCodec()), grpc.UnaryInterceptor(s.unary), grpc.StreamInterceptor(s.stream),
		grpc.MaxRecvMsgSize(s.largest()), grpc.MaxSendMsgSize(maxMessage), grpc.MaxHeaderListSize(maxHeaderBytes),
		grpc.ConnectionTimeout(firstRequest), grpc.MaxConcurrentStreams(maxCalls),
		grpc.WriteBufferSize(writeBuffer), grpc.InitialWindowSize(flowWindow), grpc.InitialConnWindowSize(flowWindow),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: clientPings, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: silence, Timeout: firstRequest}),
	)
	streams.RegisterStreamsServer(s.grpc, s)
	serverfeatures.RegisterServerFeaturesServer(s.grpc, &features{writable: o.Writable})
	gossip.RegisterGossipServer(s.grpc, newMember())
	persistent.RegisterPersistentSubscriptionsServer(s.grpc, s.groups)
	return s, nil
}

// largest is what a request may weigh: a reader has nothing large to say.
func (s *Server) largest() int {
	if s.o.Writable {
		return maxMessage
	}
	return 1 << 20
}

// Listen opens a listener for the door. Without TLS it must be loopback.
func Listen(addr string, secure bool) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("gRPC door at %q: want an address such as 127.0.0.1:2113: %w", addr, err)
	}
	if ip := net.ParseIP(host); !secure && !(host == "localhost" || ip != nil && ip.IsLoopback()) {
		return nil, fmt.Errorf("gRPC door at %s: without TLS it opens on loopback only, since clients send their key in plain text or not at all", addr)
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("gRPC door cannot listen on %s: %w; choose another port", addr, err)
	}
	return l, nil
}

// Serve answers until ctx ends. It closes l.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer s.groups.close()
	done := make(chan error, 1)
	go func() {
		done <- s.grpc.Serve(limit(l, cmp.Or(s.o.MaxConns, usualConns), cmp.Or(s.o.FirstCall, firstRequest)))
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	ended := make(chan struct{})
	go func() { s.grpc.GracefulStop(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(goodbye): // subscriptions never end by themselves
		s.grpc.Stop()
	}
	if err := <-done; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return err
	}
	return nil
}
