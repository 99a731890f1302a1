package esdb

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/emet-node/emet/domain/es"
)

// open are the services that clients ask before they send a key.
var open = []string{"/event_store.client.server_features.", "/event_store.client.gossip."}

// admit decides on a call. It returns the secret that was given, "" when none
// was needed. A connection with a call that was let in, stays.
func (s *Server) admit(ctx context.Context, method string) (secret string, err error) {
	if s.o.Open {
		stay(ctx)
		return "", nil
	}
	for _, p := range open {
		if strings.HasPrefix(method, p) {
			return "", nil
		}
	}
	if secret, err = s.caller(ctx); err == nil {
		stay(ctx)
	}
	return secret, err
}

// caller is the secret of whoever may read, "" for the user of this process.
func (s *Server) caller(ctx context.Context) (secret string, err error) {
	md, _ := metadata.FromIncomingContext(ctx)
	if given := md.Get("authorization"); len(given) > 0 {
		if secret, ok := password(given[0]); ok && s.knows(secret) {
			return secret, nil
		}
		return "", status.Error(codes.Unauthenticated, "the password is not an app-key of an auditor or operator; emet app-key create --role auditor makes one")
	}
	if p, ok := peer.FromContext(ctx); ok {
		if who, ok := p.AuthInfo.(plain); ok && who.sameUser {
			return "", nil
		}
	}
	return "", status.Error(codes.Unauthenticated, "no app-key was sent; most clients send the one of the connection string with TLS only")
}

// knows says whether a secret opens the door.
func (s *Server) knows(secret string) bool {
	if secret == "" {
		return false
	}
	if s.o.MayRead != nil && s.o.MayRead(secret) {
		return true
	}
	_, ok := s.mayAppend(secret)
	return ok
}

func (s *Server) mayAppend(secret string) (es.Meta, bool) {
	if s.o.MayAppend == nil {
		return es.Meta{}, false
	}
	return s.o.MayAppend(secret)
}

// password takes the secret from "Basic base64(user:secret)".
func password(header string) (string, bool) {
	scheme, text, _ := strings.Cut(header, " ")
	b, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if !strings.EqualFold(scheme, "Basic") || err != nil {
		return "", false
	}
	_, secret, ok := strings.Cut(string(b), ":")
	return secret, ok
}

func (s *Server) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if _, err := s.admit(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	return next(ctx, req)
}

var errRevoked = errors.New("the app-key was revoked")

// stream admits a call and ends it when its key is revoked.
func (s *Server) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
	secret, err := s.admit(ss.Context(), info.FullMethod)
	if err != nil {
		return err
	}
	if secret == "" {
		return next(srv, ss)
	}
	ctx := ss.Context()
	if m, ok := s.mayAppend(secret); ok {
		ctx = context.WithValue(ctx, authorKey{}, &author{m})
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		look := time.NewTicker(keyLooks)
		defer look.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-look.C:
				if !s.knows(secret) {
					cancel(errRevoked)
					return
				}
			}
		}
	}()
	err = next(srv, &keyed{ServerStream: ss, ctx: ctx})
	if errors.Is(context.Cause(ctx), errRevoked) {
		return status.Error(codes.Unauthenticated, errRevoked.Error())
	}
	return err
}

// keyed is a stream that ends with its key.
type keyed struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // that is how gRPC hands it on
}

// Context implements [grpc.ServerStream].
func (k *keyed) Context() context.Context { return k.ctx }

// plain is what is known of a client without TLS.
type plain struct {
	credentials.CommonAuthInfo
	sameUser bool
}

// AuthType implements [credentials.AuthInfo].
func (plain) AuthType() string { return "plain" }

// handshake finds out whose process a plain connection comes from.
type handshake struct {
	credentials.TransportCredentials
}

func newHandshake(c *tls.Config) credentials.TransportCredentials {
	if c != nil {
		return credentials.NewTLS(c)
	}
	return handshake{insecure.NewCredentials()}
}

// ServerHandshake implements [credentials.TransportCredentials].
func (h handshake) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	info := plain{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}}
	theirs := c.RemoteAddr()
	if r, ok := theirs.(remote); ok {
		theirs = r.Addr
	}
	info.sameUser = sameUser(theirs, c.LocalAddr())
	return c, info, nil
}

// Clone implements [credentials.TransportCredentials].
func (h handshake) Clone() credentials.TransportCredentials {
	return handshake{h.TransportCredentials.Clone()}
}
