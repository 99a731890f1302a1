package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"

	"github.com/emet-node/emet/api/rest"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/peer"
	"github.com/emet-node/emet/projections"
)

// history opens a node as it was: the same log up to a moment, the same views
// folded so far, and no world.
type history struct {
	*Ledger
	keys     rest.Keys
	networks []onchain.Profile
	o        Options
}

func (n *Node) past() history {
	return history{Ledger: n.Ledger, keys: n.people, networks: n.profiles(), o: n.o}
}

// at is what REST asks, as of a moment.
func (h history) at(_ context.Context, m es.Moment) (rest.Deps, func(), error) {
	log := &es.Log{Store: es.AsOf(h.Store, m.Count()), Codec: h.Log.Codec, Sealer: h.Log.Sealer}
	views := projections.PastOf(h.Market, h.Activity, h.Payment, h.Node, m.Count())
	agg := newAggregates(log)
	return rest.Deps{
		Keys: h.keys, Log: log, Stories: storiesThen{h.Node, m.Count()}, Books: views.Payment, Net: nowhere{}, Moment: &m,
		Market: rest.Market{
			Agreements: agg.Agreements, Demands: agg.Demands, Inboxes: agg.Inboxes, Negotiations: agg.Negotiations, Offers: agg.Offers,
			Views: views.Market, Book: emptyBook{}, TTL: h.o.TTL,
		},
		Activity: rest.Activity{
			Activities: agg.Activities, Batches: agg.Batches, Usages: agg.Usage, Views: views.Activity, Providers: nowhere{}, Blobs: h,
		},
		Payment: &rest.PaymentDeps{
			Activities: agg.Activities, Agreements: agg.Agreements, Allocations: agg.Allocations, Bills: agg.Bills, Cycles: agg.Cycles,
			Ops: agg.Ops, Views: views.Payment, Funds: nowhere{}, Networks: h.networks, DefaultNetwork: h.o.DefaultNetwork, Cycle: h.o.cycle(),
		},
	}, func() { views.Close() }, nil //nolint:errcheck // they are in memory
}

// Blob implements rest.Blobs.
func (h history) Blob(_ context.Context, b batch.Blob) ([]byte, error) {
	return blobStore{h.Blobs, h.Secrets.Vault}.read(b.SHA256)
}

// ReadREST answers REST from a ledger alone, for now and for the past: what
// needs a network, a chain or an exe-unit is refused. The views are followed
// until stop is called.
func ReadREST(ctx context.Context, l *Ledger, keys rest.Keys) (h http.Handler, stop func(), err error) {
	past := history{Ledger: l, keys: keys, networks: onchain.Networks(), o: Options{DefaultNetwork: "hoodi"}}
	deps, _, err := past.at(ctx, es.Moment{Last: 1<<62 - 1})
	if err != nil {
		return nil, nil, err
	}
	deps.Moment, deps.Past, deps.Log, deps.Books, deps.Stories = nil, past.at, l.Log, l.Payment, l.Node
	deps.Market.Views, deps.Activity.Views, deps.Payment.Views = l.Market, l.Activity, l.Payment
	return rest.New(rest.Config{Version: yagna}, deps), follow(ctx, l.Views()), nil
}

// storiesThen are the stories of the present up to where the past ends: what
// belongs together never changes.
type storiesThen struct {
	view  *projections.Node
	count es.Position
}

// Positions implements rest.Stories.
func (s storiesThen) Positions(ctx context.Context, correlation string) ([]es.Position, error) {
	return s.view.PositionsUntil(ctx, correlation, s.count)
}

// nowhere is the world as the past sees it: there is none.
type nowhere struct{}

// NetStatus implements rest.Net.
func (nowhere) NetStatus(context.Context, identity.NodeID) (rest.NetStatus, error) {
	return rest.NetStatus{}, nil
}

// Refresh implements rest.Providers.
func (nowhere) Refresh(context.Context, string) error { return nil }

// Usage implements rest.Providers.
func (nowhere) Usage(context.Context, string) (peer.ActivityUsage, error) {
	return peer.ActivityUsage{}, es.ErrPast
}

// Observe implements rest.Funds: what the chain held then is in the log.
func (nowhere) Observe(context.Context, identity.NodeID, payment.Platform, string) error { return nil }

// emptyBook is the offer book of the past: offers of others are not in the log.
type emptyBook struct{}

// Open implements rest.Book.
func (emptyBook) Open(string, string, identity.NodeID) rest.Cursor { return emptyBook{} }

// Scan implements rest.Book.
func (emptyBook) Scan(string) (rest.Cursor, error) { return nil, es.ErrPast }

// Take implements rest.Cursor.
func (emptyBook) Take(int, func(string) bool) []peer.Offer { return nil }

// Return implements rest.Cursor.
func (emptyBook) Return(...string) {}

// Wake implements rest.Cursor.
func (emptyBook) Wake() <-chan struct{} { return nil }

// Close implements rest.Cursor.
func (emptyBook) Close() {}

// Past is a node that stands at a moment of its past and answers REST. It runs
// no sagas and no effects, speaks to nobody and writes nothing.
type Past struct {
	Moment es.Moment

	reading  *Reading
	people   *people
	listener net.Listener
	handler  http.Handler
	log      *slog.Logger
}

// OpenPast opens a data directory as of a moment, whether a node runs on it or
// not. See [es.MomentOf] for the text.
func OpenPast(ctx context.Context, o Options, asOf string, moment func(context.Context, es.Store, string) (es.Moment, error)) (p *Past, err error) {
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, err
	}
	p = &Past{log: o.Logger}
	opened := p
	defer func() {
		if err != nil { // p is nil then
			err = errors.Join(err, opened.Close())
		}
	}()
	if p.reading, err = readWithoutLock(ctx, o); err != nil {
		return nil, err
	}
	if p.Moment, err = moment(ctx, p.reading.Store, asOf); err != nil {
		return nil, err
	}
	if lost := p.reading.LostEnd(ctx); lost != nil && o.Logger != nil {
		o.Logger.Warn("what is shown is not all that there was", "error", lost)
	}
	p.people = &people{l: p.reading.Ledger, ours: make(map[identity.NodeID]bool), fleeting: make(map[string]rest.Key)}
	if err := p.introduce(ctx, o); err != nil {
		return nil, err
	}
	deps, _, err := history{Ledger: p.reading.Ledger, keys: p.people, networks: onchain.Networks(), o: o}.at(ctx, p.Moment)
	if err != nil {
		return nil, err
	}
	if p.listener, err = listen(o.Listen); err != nil {
		return nil, err
	}
	p.handler = rest.New(rest.Config{
		AllowOrigins: o.AllowOrigins, AllowAnyOrigin: o.AllowAnyOrigin, Version: yagna, Name: "emet " + o.Version, Logger: o.Logger,
	}, deps)
	return p, nil
}

// introduce lets clients in that know a key of the present.
func (p *Past) introduce(ctx context.Context, o Options) error {
	known, err := p.people.known(ctx)
	if err != nil {
		return err
	}
	for _, r := range known {
		if r.Default || p.people.main == "" {
			p.people.main = r.ID
		}
	}
	for _, i := range o.Identities {
		for _, k := range i.AppKeys {
			if _, err := p.people.AppKey(ctx, p.people.main, AppKey{Name: k.Name, Secret: k.Secret, Fleeting: true}); err != nil {
				return err
			}
		}
	}
	return nil
}

// readWithoutLock reads a directory beside whoever writes it, so that a node
// can be started on it meanwhile. If nobody does, the views are brought up to
// date first.
func readWithoutLock(ctx context.Context, o Options) (*Reading, error) {
	r, err := ReadLedger(ctx, o)
	if err != nil || r.Live {
		return r, err
	}
	if err := r.Close(); err != nil {
		return nil, err
	}
	return readBeside(ctx, o)
}

// URL is where REST is served.
func (p *Past) URL() string { return "http://" + p.listener.Addr().String() }

// Key is the secret of an app-key that may ask, "" when none is kept here.
func (p *Past) Key(ctx context.Context) (string, error) {
	keys, err := p.reading.Node.AppKeys(ctx)
	if err != nil {
		return "", err
	}
	for _, k := range keys {
		if secret, ok := p.reading.Secrets.AppKeys.Get(k.Name); ok {
			return secret, nil
		}
	}
	return "", nil
}

// Run serves until ctx ends.
func (p *Past) Run(ctx context.Context) error { return serveUntil(ctx, p.handler, p.listener, nil) }

// Close closes what OpenPast opened.
func (p *Past) Close() error {
	var errs []error
	if p.listener != nil {
		_ = p.listener.Close()
	}
	if p.reading != nil {
		errs = append(errs, p.reading.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}
