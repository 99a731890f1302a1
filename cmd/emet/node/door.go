package node

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/emet-node/emet/api/esdb"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/appkey"
	"github.com/emet-node/emet/eventschemas"
)

// door lets EventStoreDB clients read the log, and operators append to it.
type door struct {
	server    *esdb.Server
	listener  net.Listener
	authority string // file that clients must trust; "" = no TLS
	key       string // of an auditor
}

// doorKey is the name of the app-key that the connection string carries.
const doorKey = "grpc"

// openDoor opens the door if there is an address for it.
func (n *Node) openDoor(ctx context.Context) (err error) {
	if n.o.GRPC == "" {
		return nil
	}
	d := &door{}
	o := esdb.Options{Store: n.Store, MayRead: n.mayRead, MayAppend: n.mayAppend, Reserved: reserved, Groups: filepath.Join(n.o.Dir, "grpc", "groups.json"), Logger: n.log}
	if n.o.GRPCTLS {
		host, _, _ := net.SplitHostPort(n.o.GRPC) // Listen tells if it is none
		if o.TLS, d.authority, err = esdb.Certificate(filepath.Join(n.o.Dir, "secrets", "grpc"), host, time.Now()); err != nil {
			return err
		}
	}
	if d.server, err = esdb.New(o); err != nil {
		return err
	}
	if d.listener, err = esdb.Listen(n.o.GRPC, n.o.GRPCTLS); err != nil {
		return err
	}
	n.door = d
	if d.key, err = n.people.AppKey(ctx, n.people.Default(), AppKey{Name: doorKey, Role: identity.RoleAuditor}); err != nil {
		return err
	}
	key, _, err := n.AppKeys.Load(ctx, appkey.StreamID(doorKey))
	if err == nil && key.Role != identity.RoleAuditor {
		err = fmt.Errorf("the app-key %q is a %s's; the gRPC door needs it for an auditor: emet app-key drop %s", doorKey, key.Role, doorKey)
	}
	return err
}

func (d *door) serve(ctx context.Context) error { return d.server.Serve(ctx, d.listener) }

// mayRead says whether a secret is an auditor's.
func (n *Node) mayRead(secret string) bool {
	k, ok := n.people.Find(secret)
	return ok && k.Role == identity.RoleAuditor
}

// mayAppend says whether a secret is an operator's, and what is then known of
// an event.
func (n *Node) mayAppend(secret string) (es.Meta, bool) {
	k, ok := n.people.Find(secret)
	return es.Meta{Actor: es.ActorOperator, Identity: string(k.Identity), AppKey: k.ID, Grade: es.GradeSelf}, ok && k.Role == identity.RoleOperator
}

// names are the first words of streams and types.
type names map[string]bool

// has says whether text begins with a name and what parts it from the rest.
func (n names) has(text, sep string) bool {
	first, _, _ := strings.Cut(text, sep)
	return n[first] || strings.HasPrefix(first, "$")
}

// ownNames are those that the node writes: categories of streams, and packages
// of types. The two are mostly the same words.
var ownNames = sync.OnceValue(func() names {
	out := names{}
	for _, c := range []string{
		"offer", "demand", "inbox", "negotiation", "agreement", "activity", "batch", "usage", "bill", "allocation", "wallet", "tx", "order",
		"cycle", "payment", "identity", "appkey", "peer", "network", "provider", "job", "emet", "webhook",
	} {
		out[c] = true
	}
	for _, typ := range eventschemas.New().Names() {
		first, _, _ := strings.Cut(typ, ".")
		out[first] = true
	}
	return out
})

// reserved says why operators must not append something: views, sagas and
// effects act on the node's own facts.
func reserved(s es.Stream, typ string) error {
	switch {
	case ownNames().has(string(s), "-"):
		return fmt.Errorf("streams of category %q are the node's", s.Category())
	case ownNames().has(typ, "."):
		first, _, _ := strings.Cut(typ, ".")
		return fmt.Errorf("types that begin with %q are the node's", first+".")
	}
	return nil
}

// GRPCURL is the connection string for EventStoreDB clients, with the key of an
// auditor in it; "" when there is no door.
func (n *Node) GRPCURL() string {
	if n.door == nil {
		return ""
	}
	host, port, _ := net.SplitHostPort(n.door.listener.Addr().String()) // it listens there
	if ip := net.ParseIP(host); ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	u := url.URL{Scheme: "esdb", Host: net.JoinHostPort(host, port), User: url.UserPassword("auditor", n.door.key), RawQuery: "tls=false"}
	if n.door.authority != "" {
		u.RawQuery = "tls=true&tlsCAFile=" + url.QueryEscape(n.door.authority)
	}
	return u.String()
}
