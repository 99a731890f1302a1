package projections

import (
	"context"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/demand"
	"github.com/emet-node/emet/domain/market/offer"
)

// subscriptions answers "which demands and offers of ours are on the market?".
type subscriptions struct{}

func (subscriptions) Name() string { return "subscriptions/1" }

func (subscriptions) Schema() string {
	return `CREATE TABLE subscriptions (
		id TEXT PRIMARY KEY, kind TEXT NOT NULL, owner TEXT NOT NULL, properties TEXT NOT NULL, constraints TEXT NOT NULL,
		created TEXT NOT NULL, expires TEXT NOT NULL, session TEXT NOT NULL, preset TEXT NOT NULL,
		state TEXT NOT NULL, why TEXT NOT NULL, recorded INTEGER NOT NULL, ended INTEGER NOT NULL);
	CREATE INDEX subscriptions_by_owner ON subscriptions (owner, kind, state)`
}

func (subscriptions) Hears() []string {
	return []string{
		"demand.published.v1", "demand.withdrawn.v1", "demand.expired.v1",
		"offer.published.v1", "offer.withdrawn.v1", "offer.expired.v1",
	}
}

func (v subscriptions) Apply(tx *Tx, r es.Recorded) error {
	switch e := r.Data.(type) {
	case demand.Published:
		return tx.insert("subscriptions", e.DemandID, Demands, e.Requestor, e.Properties, e.Constraints,
			stamp(e.Created), stamp(e.Expires), e.Session, "", "live", "", r.Recorded, 0)
	case offer.Published:
		return tx.insert("subscriptions", e.OfferID, Offers, e.Provider, e.Properties, e.Constraints,
			stamp(e.Created), stamp(e.Expires), e.Session, e.Preset, "live", "", r.Recorded, 0)
	case demand.Withdrawn:
		return v.end(tx, r, e.DemandID, "withdrawn", e.Why)
	case offer.Withdrawn:
		return v.end(tx, r, e.OfferID, "withdrawn", e.Why)
	case demand.Expired:
		return v.end(tx, r, e.DemandID, "expired", "")
	case offer.Expired:
		return v.end(tx, r, e.OfferID, "expired", "")
	}
	return nil
}

func (subscriptions) end(tx *Tx, r es.Recorded, id, state, why string) error {
	return tx.update("subscriptions", func(s *row) {
		s.set("state", state)
		s.set("why", why)
		s.set("ended", r.Recorded)
	}, id)
}

// SubscriptionKind tells demands from offers.
type SubscriptionKind string

// The kinds.
const (
	Demands SubscriptionKind = "demand"
	Offers  SubscriptionKind = "offer"
)

// SubscriptionRow is a demand or an offer of ours.
type SubscriptionRow struct {
	ID          string
	Kind        SubscriptionKind
	Owner       identity.NodeID
	Properties  string // flat JSON text
	Constraints string
	Created     time.Time // nanoseconds count
	Expires     time.Time
	Session     string
	Preset      string
	State       string // "live", "withdrawn", "expired"
	Why         string
	Recorded    time.Time
}

const subscriptionColumns = `SELECT id, kind, owner, properties, constraints, created, expires, session, preset, state, why, recorded FROM subscriptions`

func scanSubscription(s scanner) (r SubscriptionRow, err error) {
	return r, s.Scan(&r.ID, &r.Kind, &r.Owner, &r.Properties, &r.Constraints, moment{&r.Created}, moment{&r.Expires},
		&r.Session, &r.Preset, &r.State, &r.Why, moment{&r.Recorded})
}

// Subscriptions lists what owner has on the market, oldest first. An empty
// owner means all identities of this node.
func (m *Market) Subscriptions(ctx context.Context, kind SubscriptionKind, owner identity.NodeID) ([]SubscriptionRow, error) {
	var c conditions
	c.add(true, "kind = ? AND state = 'live'", string(kind))
	c.add(owner != "", "owner = ?", owner)
	return query(ctx, m.DB, scanSubscription, subscriptionColumns+c.text+" ORDER BY recorded", c.args...)
}

// SubscriptionBegun returns the one of owner's whose id begins with prefix (32
// hexadecimal digits), also when it is over.
func (m *Market) SubscriptionBegun(ctx context.Context, owner identity.NodeID, prefix string) (SubscriptionRow, bool, error) {
	return one(ctx, m.DB, scanSubscription, subscriptionColumns+` WHERE id > ? AND id < ? AND owner = ?`, prefix+"-", prefix+".", owner)
}

// Subscription returns one of owner's, also when it is over.
func (m *Market) Subscription(ctx context.Context, owner identity.NodeID, id string) (SubscriptionRow, bool, error) {
	return one(ctx, m.DB, scanSubscription, subscriptionColumns+` WHERE id = ? AND owner = ?`, id, owner)
}
