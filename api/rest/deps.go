package rest

import (
	"context"
	"net/http"

	"github.com/emet-node/emet/api/gsb"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/projections"
)

// Aggregate carries out commands on one kind of stream; *es.Aggregate does.
type Aggregate[C, S any] interface {
	Do(ctx context.Context, id string, cmd C, m es.Meta) (S, error)
	Load(ctx context.Context, id string) (S, es.Revision, error)
	Await(ctx context.Context, id string, until func(S) bool) (S, error)
	In(t *es.Tx, id string, cmd C) (S, error)
	Peek(t *es.Tx, id string) (S, error)
}

// Deps is what the handlers ask. Handlers record wishes in aggregates and wait
// for the outcome in the stream; carrying them out is other people's work.
type Deps struct {
	Keys     Keys
	Log      *es.Log
	Market   Market
	Activity Activity
	// Payment is nil where nothing is paid.
	Payment *PaymentDeps
	// Files is the bridge for clients that serve files.
	Files Bridge
	// Stories and Books answer emet's own questions about the log.
	Stories Stories
	Books   Books
	// Ledger proves what the log says; nil = that is not served.
	Ledger Ledger
	// Net says how the node is connected.
	Net Net
	// Past opens the same as of a moment of the past; nil = that is not served.
	Past Past
	// Moment is the moment that everything here is as of; nil = now.
	Moment *es.Moment
	// Limits tells how far the limits of the node are used; nil = only those of
	// REST are told.
	Limits func(context.Context) []Limit
	// Healthy says what keeps the node as such from working; nil = never asked.
	Healthy func(context.Context) error
	// Values are further metrics; nil = none.
	Values func(context.Context) ([]Value, error)
}

// Limit is how much of something bounded is in use, and how often more was
// refused since the start. Name is lower case with underscores.
type Limit struct {
	Name               string
	Used, Max, Refused int64
}

// Bridge is the bus bridge; *gsb.Bridge is one.
type Bridge interface {
	Bind(o gsb.Owner, on string, components []string) (id string, err error)
	Unbind(o gsb.Owner, id string) error
	Connect(o gsb.Owner, id string, w http.ResponseWriter, r *http.Request) error
}

// Net tells about the node's place in the network.
type Net interface {
	NetStatus(ctx context.Context, node identity.NodeID) (NetStatus, error)
}

// NetStatus is how an identity is connected; addresses are "ip:port", "" = unknown.
type NetStatus struct {
	Listen, Public string
	Sessions       int
}

// logNews makes the log tell when something happens.
type logNews struct{ *es.Log }

// Head is the position that the next fact gets.
func (l logNews) Head(ctx context.Context) (es.Position, error) { return l.Store.Head(ctx) }

// Stories finds the facts that belong together; *projections.Node does.
type Stories interface {
	// Positions of all facts of a correlation id, ascending.
	Positions(ctx context.Context, correlation string) ([]es.Position, error)
}

// Books are the double-entry books; *projections.Payment has them.
type Books interface {
	Balances(ctx context.Context, owner identity.NodeID) ([]projections.BalanceRow, error)
}
