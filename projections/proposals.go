package projections

import (
	"context"
	"sync"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/negotiation"
)

// proposals answers "in which negotiation is this proposal?".
type proposals struct{}

func (proposals) Name() string { return "proposals/1" }

func (proposals) Schema() string {
	return `CREATE TABLE negotiations (
		id TEXT PRIMARY KEY, side TEXT NOT NULL, owner TEXT NOT NULL, peer TEXT NOT NULL, demand_id TEXT NOT NULL,
		offer_id TEXT NOT NULL, subscription TEXT NOT NULL, agreement_id TEXT NOT NULL, closed TEXT NOT NULL, recorded INTEGER NOT NULL);
	CREATE INDEX negotiations_by_subscription ON negotiations (subscription);
	CREATE TABLE proposals (
		id TEXT NOT NULL, side TEXT NOT NULL, negotiation TEXT NOT NULL, owner TEXT NOT NULL, subscription TEXT NOT NULL,
		PRIMARY KEY (id, side)) WITHOUT ROWID`
}

func (proposals) Hears() []string {
	return []string{
		"negotiation.opened.v1", "negotiation.counter_requested.v1", "negotiation.counter_received.v1",
		"negotiation.promoted.v1", "negotiation.closed.v1",
	}
}

func (proposals) Apply(tx *Tx, r es.Recorded) error {
	switch e := r.Data.(type) {
	case negotiation.Opened:
		owner, other, sub := parties(e)
		err := tx.insert("negotiations", e.NegotiationID, e.Side, owner, other, e.DemandID, e.OfferID, sub, "", "", r.Recorded)
		if err != nil {
			return err
		}
		return place(tx, e.NegotiationID, e.Initial.ProposalID)
	case negotiation.CounterRequested:
		return place(tx, e.NegotiationID, e.Proposal.ProposalID)
	case negotiation.CounterReceived:
		return place(tx, e.NegotiationID, e.Proposal.ProposalID)
	case negotiation.Promoted:
		return tx.update("negotiations", func(n *row) { n.set("agreement_id", e.AgreementID) }, e.NegotiationID)
	case negotiation.Closed:
		return tx.update("negotiations", func(n *row) { n.set("closed", e.Why) }, e.NegotiationID)
	}
	return nil
}

func parties(e negotiation.Opened) (owner, other identity.NodeID, subscription string) {
	if e.Side == identity.Requestor {
		return e.Requestor, e.Provider, e.DemandID
	}
	return e.Provider, e.Requestor, e.OfferID
}

func place(tx *Tx, thread, proposal string) error {
	n, err := tx.get("negotiations", thread)
	if err != nil || n == nil {
		return err
	}
	return tx.merge("proposals", []string{"negotiation"}, proposal, n.text("side"), thread, n.text("owner"), n.text("subscription"))
}

// ProposalPlace says where a proposal is.
type ProposalPlace struct {
	ProposalID   string // 64 hex digits
	Side         identity.Side
	Negotiation  string
	Owner        identity.NodeID // local
	Subscription string          // of the owner: its demand or offer
}

// Proposal finds the negotiation that a proposal belongs to, from memory. Whether
// the caller may see it is for the caller to check against Owner and Subscription.
func (m *Market) Proposal(ctx context.Context, side identity.Side, proposalID string) (ProposalPlace, bool, error) {
	if err := m.Fresh(ctx); err != nil {
		return ProposalPlace{}, false, err
	}
	if m.proposals == nil {
		return m.proposal(ctx, side, proposalID)
	}
	p, ok := m.proposals.get(side, proposalID)
	return p, ok, nil
}

// proposal is Proposal from the tables.
func (m *Market) proposal(ctx context.Context, side identity.Side, id string) (ProposalPlace, bool, error) {
	return one(ctx, m.DB, func(s scanner) (r ProposalPlace, err error) {
		return r, s.Scan(&r.ProposalID, &r.Side, &r.Negotiation, &r.Owner, &r.Subscription)
	}, `SELECT id, side, negotiation, owner, subscription FROM proposals WHERE id = ? AND side = ?`, id, side)
}

// NegotiationRow is one thread.
type NegotiationRow struct {
	ID           string
	Side         identity.Side
	Owner, Peer  identity.NodeID
	DemandID     string
	OfferID      string
	Subscription string
	AgreementID  string // "" unless promoted
	Closed       string // why, "" while open
}

// Negotiations lists the threads of a subscription, oldest first.
func (m *Market) Negotiations(ctx context.Context, subscription string) ([]NegotiationRow, error) {
	return query(ctx, m.DB, func(s scanner) (r NegotiationRow, err error) {
		return r, s.Scan(&r.ID, &r.Side, &r.Owner, &r.Peer, &r.DemandID, &r.OfferID, &r.Subscription, &r.AgreementID, &r.Closed)
	}, `SELECT id, side, owner, peer, demand_id, offer_id, subscription, agreement_id, closed
		FROM negotiations WHERE subscription = ? ORDER BY recorded`, subscription)
}

// proposalMemory is the table of proposals in memory.
type proposalMemory struct {
	mu      sync.RWMutex
	threads map[string]ProposalPlace // by negotiation, without ProposalID
	places  map[proposalKey]string   // → negotiation
}

type proposalKey struct {
	side identity.Side
	id   string
}

func (p *proposalMemory) get(side identity.Side, id string) (ProposalPlace, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	thread, ok := p.places[proposalKey{side, id}]
	out := p.threads[thread]
	out.ProposalID = id
	return out, ok
}

func (p *proposalMemory) load(ctx context.Context, db *DB) error {
	rows, err := queryNow(ctx, db, func(s scanner) (r ProposalPlace, err error) {
		return r, s.Scan(&r.ProposalID, &r.Side, &r.Negotiation, &r.Owner, &r.Subscription)
	}, `SELECT id, side, negotiation, owner, subscription FROM proposals`)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.threads, p.places = make(map[string]ProposalPlace), make(map[proposalKey]string, len(rows))
	for _, r := range rows {
		p.places[proposalKey{r.Side, r.ProposalID}] = r.Negotiation
		r.ProposalID = ""
		p.threads[r.Negotiation] = r
	}
	return nil
}

func (p *proposalMemory) hear(facts []es.Recorded) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range facts {
		switch e := r.Data.(type) {
		case negotiation.Opened:
			owner, _, sub := parties(e)
			p.threads[e.NegotiationID] = ProposalPlace{Side: e.Side, Negotiation: e.NegotiationID, Owner: owner, Subscription: sub}
			p.add(e.NegotiationID, e.Initial.ProposalID)
		case negotiation.CounterRequested:
			p.add(e.NegotiationID, e.Proposal.ProposalID)
		case negotiation.CounterReceived:
			p.add(e.NegotiationID, e.Proposal.ProposalID)
		}
	}
}

func (p *proposalMemory) add(thread, proposal string) {
	if t, ok := p.threads[thread]; ok {
		p.places[proposalKey{t.Side, proposal}] = thread
	}
}
