package control

import (
	"context"
	"errors"
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/provider/agent"
)

// Errors that a caller branches on.
var (
	ErrNotFound = errors.New("not found")
	ErrBad      = errors.New("not possible as asked")
	ErrRefused  = errors.New("refused")
	// ErrNoDaemon says that no node listens on the socket.
	ErrNoDaemon = errors.New("no emet daemon runs here")
)

// Deps is what a node lets its operator do. A [Client] is one, too, so that a
// command works the same with and without a daemon. Identities are named by
// node id or alias; "" is the default identity.
type Deps interface {
	Identities(ctx context.Context) ([]Identity, error)
	// Identity fails with [ErrNotFound].
	Identity(ctx context.Context, ref string) (Identity, error)
	CreateIdentity(ctx context.Context, n NewIdentity) (Identity, error)
	UpdateIdentity(ctx context.Context, ref string, c IdentityChange) (Identity, error)
	LockIdentity(ctx context.Context, ref string) (Identity, error)
	UnlockIdentity(ctx context.Context, ref, passphrase string) (Identity, error)
	DropIdentity(ctx context.Context, ref string) (Identity, error)
	// ExportIdentity returns the key file, or the bare secret in hexadecimal.
	ExportIdentity(ctx context.Context, ref string, plain bool) (string, error)

	AppKeys(ctx context.Context) ([]AppKey, error)
	// CreateAppKey fails with [ErrBad] when the name is taken.
	CreateAppKey(ctx context.Context, n NewAppKey) (AppKey, error)
	// DropAppKey ends a key. owner, when it is not "", must be the one that it
	// belongs to. It fails with [ErrNotFound].
	DropAppKey(ctx context.Context, name, owner string) error

	Providers(ctx context.Context) ([]Provider, error)
	// SwitchProvider opens, drains or closes a provider.
	SwitchProvider(ctx context.Context, ref string, to Switch) (Provider, error)
}

// Daemon is what only a running node can do.
type Daemon interface {
	Deps
	Status(ctx context.Context) (Status, error)
	// Stop ends the node. It returns before the node is gone.
	Stop(ctx context.Context) error
}

// Status is what a running node says of itself.
type Status struct {
	DataDir    string            `json:"dataDir"`
	Identities []identity.NodeID `json:"identities"`
	PID        int               `json:"pid"`
	Position   uint64            `json:"position"` // events in the log
	REST       string            `json:"rest"`     // URL
	Since      time.Time         `json:"since"`
	Version    string            `json:"version"`
}

// Identity is one of the node's own.
type Identity struct {
	Alias     string          `json:"alias"`
	Created   time.Time       `json:"created"`
	IsDefault bool            `json:"isDefault"`
	IsLocked  bool            `json:"isLocked"`
	NodeID    identity.NodeID `json:"nodeId"`
	Origin    string          `json:"origin"` // "generated", "imported", …
	PublicKey string          `json:"publicKey,omitzero"`
}

// NewIdentity asks for an identity. At most one of Secret and KeyFile is set;
// without either a random one is made.
type NewIdentity struct {
	Alias      string `json:"alias,omitzero"`
	Default    bool   `json:"default,omitzero"`
	KeyFile    string `json:"keyFile,omitzero"`    // JSON text, Web3 secret storage version 3
	Passphrase string `json:"passphrase,omitzero"` // of the key file
	Secret     string `json:"secret,omitzero"`     // 64 hexadecimal digits
}

// IdentityChange is what to change of an identity. nil leaves things alone.
type IdentityChange struct {
	Alias   *string `json:"alias,omitzero"`
	Default bool    `json:"default,omitzero"`
}

// AppKey is a key of a client, with its secret.
type AppKey struct {
	AllowOrigins []string        `json:"allowOrigins"`
	Created      time.Time       `json:"created"`
	Identity     identity.NodeID `json:"identity"`
	Key          string          `json:"key"` // "" when the secret is not on this machine
	Name         string          `json:"name"`
	Role         identity.Role   `json:"role"`
}

// NewAppKey asks for a key. Identity is a node id or alias, Role "" is manager.
type NewAppKey struct {
	AllowOrigins []string      `json:"allowOrigins,omitzero"`
	Identity     string        `json:"identity,omitzero"`
	Name         string        `json:"name"`
	Role         identity.Role `json:"role,omitzero"`
}

// Provider is an identity that sells, or did.
type Provider struct {
	Hardware  agent.Hardware   `json:"hardware"`
	NodeID    identity.NodeID  `json:"nodeId"`
	NodeName  string           `json:"nodeName"`
	Platforms []agent.Platform `json:"platforms"`
	Presets   []agent.Preset   `json:"presets"`
	Rules     agent.Rulebook   `json:"rules"`
	Runtimes  []Runtime        `json:"runtimes"`
	State     string           `json:"state"` // "enabled", "draining", "disabled"
	Subnet    string           `json:"subnet"`
	Updated   time.Time        `json:"updated"`
}

// Runtime is what the last self-test of a runtime showed.
type Runtime struct {
	agent.Runtime
	Failure string    `json:"failure,omitzero"`
	Tested  time.Time `json:"tested"`
}

// Switch is where a provider can be switched to.
type Switch string

// The switches.
const (
	Enable  Switch = "enable"
	Drain   Switch = "drain"
	Disable Switch = "disable"
)
