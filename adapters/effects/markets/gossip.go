package markets

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/offer"
	"github.com/emet-node/emet/domain/peer"
)

// Book is the index of live offers, own and foreign.
type Book interface {
	Add(o peer.Offer) error
	AddOwn(o peer.Offer) error
	Get(ids []string) []peer.Offer
	Own() []peer.Offer
	Missing(digests []peer.OfferDigest) []string
	Remove(id string, by identity.NodeID) error
	Save() error
}

// Broadcaster tells everyone.
type Broadcaster interface {
	Broadcast(ctx context.Context, from identity.NodeID, m peer.OffersAnnounced) error
}

// Gossip keeps the book: own offers come from the log and are announced,
// foreign ones are learned from announcements and fetched from the announcer.
type Gossip struct {
	Log    *es.Log
	Book   Book
	Peers  effects.Peers
	Out    Broadcaster
	Logger *slog.Logger
	// Default is the identity that asks for texts.
	Default func() identity.NodeID
	// Limits bound what others announce. nil = nothing does.
	Limits *Limits
	// Every is the pause between repeated announcements, 0 = one minute.
	Every time.Duration
}

// fetchTime bounds one request for the texts of announced offers.
const fetchTime = 5 * time.Second

// maxAsked is how many texts a node answers at a time.
const maxAsked = 200

// maxAnnounced is how many offers go into one announcement.
const maxAnnounced = 50

// Run follows own offers and repeats their announcement now and then, until
// ctx ends.
func (g *Gossip) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() { g.repeat(ctx) })
	sub := g.Log.Store.Subscribe(ctx, nil, es.Filter{Types: []string{"offer.published.v1", "offer.withdrawn.v1", "offer.expired.v1"}})
	defer sub.Close() //nolint:errcheck // nothing is written
	live := false
	for {
		m, err := sub.Next(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if m.CaughtUp && !live {
			live = true
			g.announce(ctx, g.Book.Own())
		}
		if m.Event == nil {
			continue
		}
		r, err := g.Log.Decode(ctx, *m.Event)
		if err != nil {
			return err
		}
		g.hear(ctx, r, live)
	}
}

func (g *Gossip) hear(ctx context.Context, r es.Recorded, live bool) {
	owner := identity.NodeID(r.Info.Identity)
	switch e := r.Data.(type) {
	case offer.Published:
		o := peer.Offer{Constraints: e.Constraints, Created: e.Created, Expires: e.Expires, ID: e.OfferID, Properties: e.Properties, Provider: e.Provider}
		if err := g.Book.AddOwn(o); err != nil {
			g.Logger.Debug("own offer is not in the book", "offer", e.OfferID, "error", err)
			return
		}
		if live {
			g.announce(ctx, []peer.Offer{o})
		}
	case offer.Withdrawn:
		g.gone(ctx, e.OfferID, owner, live)
	case offer.Expired:
		g.gone(ctx, e.OfferID, owner, live)
	}
}

func (g *Gossip) gone(ctx context.Context, id string, owner identity.NodeID, live bool) {
	_ = g.Book.Remove(id, owner)
	if live {
		g.tell(ctx, owner, peer.OffersAnnounced{Withdrawn: []peer.Withdrawal{{ID: id, Provider: owner}}})
	}
}

// announce groups offers by owner: each speaks for itself.
func (g *Gossip) announce(ctx context.Context, offers []peer.Offer) {
	byOwner := make(map[identity.NodeID][]peer.OfferDigest)
	for _, o := range offers {
		byOwner[o.Provider] = append(byOwner[o.Provider], peer.OfferDigest{Expires: o.Expires, ID: o.ID, Provider: o.Provider})
	}
	for owner, digests := range byOwner {
		for len(digests) > 0 {
			n := min(len(digests), maxAnnounced)
			g.tell(ctx, owner, peer.OffersAnnounced{Offers: digests[:n]})
			digests = digests[n:]
		}
	}
}

func (g *Gossip) tell(ctx context.Context, from identity.NodeID, m peer.OffersAnnounced) {
	if err := g.Out.Broadcast(ctx, from, m); err != nil && ctx.Err() == nil {
		g.Logger.Debug("announcement was not sent", "error", err)
	}
}

func (g *Gossip) repeat(ctx context.Context) {
	every := g.Every
	if every == 0 {
		every = time.Minute
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if err := g.Book.Save(); err != nil {
				g.Logger.Warn("the offer book was not saved", "error", err)
			}
			return
		case <-tick.C:
			g.announce(ctx, g.Book.Own())
		}
	}
}

// Hear takes in an announcement of another node: unknown offers of its own are
// fetched from it, and what it withdraws of its own goes. Nodes speak for
// themselves only: else anybody could fill another's few places in the book.
func (g *Gossip) Hear(ctx context.Context, from peer.Caller, a peer.OffersAnnounced) {
	for _, w := range a.Withdrawn {
		if w.Provider == from.Node {
			_ = g.Book.Remove(w.ID, from.Node)
		}
	}
	own := slices.DeleteFunc(slices.Clone(a.Offers), func(d peer.OfferDigest) bool { return d.Provider != from.Node })
	missing := g.Book.Missing(own)
	missing = missing[:g.Limits.announce(from, len(missing))]
	if len(missing) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	me := from.To
	if me == "" {
		me = g.Default()
	}
	for ids := range slices.Chunk(missing, maxAsked) {
		g.fetch(ctx, me, from.Node, ids)
	}
}

// fetch asks a node for the texts of offers, and takes no others.
func (g *Gossip) fetch(ctx context.Context, me, from identity.NodeID, ids []string) {
	got, err := effects.Answer[peer.Offers](ctx, g.Peers, me, from, peer.GetOffers{IDs: ids})
	if err != nil {
		g.Logger.Debug("announced offers could not be fetched", "from", from, "error", err)
		return
	}
	for _, o := range got.Offers {
		if !slices.Contains(ids, o.ID) || o.Provider != from {
			continue
		}
		if err := g.Book.Add(o); err != nil {
			g.Logger.Debug("an offer was not taken", "offer", o.ID, "from", from, "error", err)
		}
	}
}

// OfferTexts and OfferDigests serve what the book holds to other nodes.
func (g *Gossip) OfferTexts(_ context.Context, ids []string) ([]peer.Offer, error) {
	return g.Book.Get(ids), nil
}

// OfferDigests names this node's own live offers.
func (g *Gossip) OfferDigests(context.Context) ([]peer.OfferDigest, error) {
	var out []peer.OfferDigest
	for _, o := range g.Book.Own() {
		out = append(out, peer.OfferDigest{Expires: o.Expires, ID: o.ID, Provider: o.Provider})
	}
	return out, nil
}
