package node

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/provider/agent"
)

// Options are all that a node is told.
type Options struct {
	Dir     string // everything of the node; made 0700 when absent
	Version string // own version
	Logger  *slog.Logger

	// Store is the engine of the log: "" (what the directory has, else
	// segment), segment, sqlite, sqlite:PATH, or the connection string of a
	// KurrentDB or EventStoreDB.
	Store        string
	SegmentBytes int64 // of a segment; 0 = the engine's own size
	// GRPC is host:port of the door for EventStoreDB clients; "" = none.
	GRPC string
	// GRPCTLS secures it with a certificate of the data directory's own.
	GRPCTLS bool
	// Program is the binary that is run again as an exe-unit. "" = this one.
	Program string

	Listen       string // host:port of REST
	AllowOrigins []string
	// AllowAnyOrigin makes "*" in lists of origins count.
	AllowAnyOrigin bool
	Socket         string // path of the operator's socket; "" = none

	Net Network
	// Identities are made when they are absent; the first is the default one.
	// None: one identity, which buys, and sells if Provider is set.
	Identities []Identity
	// Chains are the JSON-RPC URLs of payment networks, by network.
	Chains         map[string][]string
	DefaultNetwork string
	Cycle          time.Duration // between settlement runs; 0 = as usual on the network
	SkipValidation bool          // of allocations against the account

	TTL           time.Duration // of subscriptions
	IdleAgreement time.Duration
	Unresponsive  time.Duration
	ProviderLost  time.Duration // out of reach for so long: its work is lost; 0 = 30 s
	WallClock     time.Duration
	OrphanAfter   time.Duration
	AllowLoopback bool

	Webhooks Webhooks
}

// Webhooks says how news are delivered.
type Webhooks struct {
	// Allow are addresses that webhooks may reach although they belong to this
	// machine or its network, and with http.
	Allow  []netip.Prefix
	GiveUp time.Duration // how long one fact is tried before it is set aside; 0 = 24 h
}

// Network says how other nodes are reached.
type Network struct {
	Name      string   // nodes of other names are not heard
	Listen    []string // multiaddrs; none = nobody else is spoken to
	Bootstrap []string
}

// Identity is one local identity with what it does here.
type Identity struct {
	Alias  string
	Secret string // hex; "" = random
	// AppKeys are made when they are absent.
	AppKeys []AppKey
	// Provider makes the identity sell. nil = it goes on as before.
	Provider *Provider
	// Closed makes an identity that sold stop selling.
	Closed bool
}

// AppKey is a key for clients. Secret "" = random.
type AppKey struct {
	Name, Secret string
	Role         identity.Role
	// Fleeting keys are not recorded: they exist while the process runs.
	Fleeting bool
}

// Provider is what an identity offers.
type Provider struct {
	Name, Subnet string
	Presets      []agent.Preset
	Hardware     agent.Hardware
	Rules        agent.Rulebook
	Public       bool
}
