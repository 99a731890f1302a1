package control

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/emet-node/emet/domain/es"
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

	Webhooks
}

// Daemon is what only a running node can do.
type Daemon interface {
	Deps
	Status(ctx context.Context) (Status, error)
	// Stop ends the node. It returns before the node is gone.
	Stop(ctx context.Context) error
	// Follow hands over the facts of the log from a position on, those to come
	// too, until ctx ends or hear fails.
	Follow(ctx context.Context, from uint64, hear func(Fact) error) error
}

// Fact is a fact of the log as people and scripts read it.
type Fact struct {
	Position uint64          `json:"position"`
	Recorded time.Time       `json:"recorded"`
	Stream   string          `json:"stream"`
	Revision int64           `json:"revision"`
	Type     string          `json:"type"`
	ID       string          `json:"id"`
	Story    string          `json:"story,omitzero"` // correlation id
	Cause    *uint64         `json:"cause,omitzero"` // position
	Actor    string          `json:"actor,omitzero"`
	Identity string          `json:"identity,omitzero"`
	Subject  string          `json:"subject,omitzero"` // whose key seals the data in the log
	Erased   bool            `json:"erased,omitzero"`  // the key is gone, so is the data
	Data     json.RawMessage `json:"data"`
	Meta     json.RawMessage `json:"meta"`
	Leaf     string          `json:"leaf,omitzero"` // hash of the fact in the tree
}

// Show is a fact as [Fact].
func Show(r es.Recorded) Fact {
	f := Fact{
		Position: uint64(r.Position), Recorded: r.Recorded, Stream: string(r.Stream), Revision: int64(r.Revision), Type: r.Type,
		ID: r.ID.String(), Story: r.Info.Correlation, Actor: string(r.Info.Actor), Identity: r.Info.Identity, Subject: r.Subject,
		Data: json.RawMessage(r.Event.Data), Meta: json.RawMessage(r.Meta),
	}
	if r.Info.Cause != nil {
		cause := uint64(*r.Info.Cause)
		f.Cause = &cause
	}
	if _, gone := r.Data.(es.Erased); gone {
		f.Erased, f.Data = true, json.RawMessage("null")
	}
	if r.Leaf != (es.Hash{}) {
		f.Leaf = r.Leaf.String()
	}
	return f
}

// Status is what a running node says of itself.
type Status struct {
	DataDir    string            `json:"dataDir"`
	Frozen     string            `json:"frozen,omitzero"` // why the node does not act
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
