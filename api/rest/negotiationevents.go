package rest

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	gen "github.com/emet-node/emet/api/gen/market"
	"github.com/emet-node/emet/api/rest/dto"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/inbox"
	"github.com/emet-node/emet/domain/market/negotiation"
	"github.com/emet-node/emet/domain/peer"
	"github.com/emet-node/emet/projections"
)

// subscription is what a poll needs to know of a demand or an offer.
type subscription struct {
	id, properties, constraints string
	side                        identity.Side
	owner                       identity.NodeID
	expires                     time.Time
	live                        bool
}

// negotiationNews are the facts that may bring something for a subscription.
var negotiationNews = es.Filter{Types: []string{
	"negotiation.counter_received.v1", "negotiation.rejection_received.v1", "agreement.received.v1", "agreement.terminated.v1",
	"demand.withdrawn.v1", "demand.expired.v1", "offer.withdrawn.v1", "offer.expired.v1",
}}

// CollectDemandEvents hands out what came for a demand.
func (m *marketAPI) CollectDemandEvents(c echo.Context) error {
	return m.collect(c, m.demandOf)
}

// CollectOfferEvents hands out what came for an offer.
func (m *marketAPI) CollectOfferEvents(c echo.Context) error {
	return m.collect(c, m.offerOf)
}

func (m *marketAPI) demandOf(ctx context.Context, id string) (subscription, error) {
	s, _, err := m.Demands.Load(ctx, id)
	return subscription{
		id: id, properties: s.Properties, constraints: s.Constraints, side: identity.Requestor,
		owner: s.Requestor, expires: s.Expires, live: s.Live(time.Now()),
	}, err
}

func (m *marketAPI) offerOf(ctx context.Context, id string) (subscription, error) {
	s, _, err := m.Offers.Load(ctx, id)
	return subscription{
		id: id, properties: s.Properties, constraints: s.Constraints, side: identity.Provider,
		owner: s.Provider, expires: s.Expires, live: s.Live(time.Now()),
	}, err
}

func (m *marketAPI) collect(c echo.Context, find func(context.Context, string) (subscription, error)) error {
	ctx := c.Request().Context()
	q := queryOf(c)
	wait, most := q.wait("timeout", defaultWait), int(q.number("maxEvents", defaultMaxEvents))
	if q.err != nil {
		return q.err
	}
	if err := market.CheckMaxEvents(most); err != nil {
		return err
	}
	id, err := market.ParseSubscriptionID(c.Param("subscriptionId"))
	if err != nil {
		return err
	}
	deadline, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	news := negotiationNews
	if keyed(c) { // another try of the same poll may be answered first
		news.Types = append(slices.Clone(news.Types), "inbox.delivered.v1")
	}
	for {
		head, err := m.Log.Store.Head(ctx)
		if err != nil {
			return err
		}
		sub, err := find(ctx, id)
		switch {
		case err != nil:
			return err
		case sub.owner != keyOf(ctx).Identity:
			return gone(id, false)
		}
		events, matches, err := m.look(c, sub, most)
		if err != nil || len(events) > 0 {
			if err != nil {
				return err
			}
			return list(c, events)
		}
		if err := m.newsOr(deadline, head, news, matches, sub.expires); err != nil {
			if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
				return list(c, events)
			}
			return err
		}
	}
}

// look hands out what there is for a subscription, and says when there may be
// more. Tries of the same poll take turns, and get what the first of them took.
func (m *marketAPI) look(c echo.Context, sub subscription, most int) (events []gen.NegotiationEvent, matches <-chan struct{}, err error) {
	if keyed(c) {
		done, err := m.tries.take(c.Request().Context(), commandKey(c))
		if err != nil {
			return nil, nil, err
		}
		defer done()
		if events, ok, err := m.handedOut(c, sub); ok || err != nil {
			return events, nil, err
		}
	}
	if !sub.live {
		m.mail.close(sub.id)
		return nil, nil, gone(sub.id, !sub.expires.IsZero() && !sub.expires.After(time.Now()))
	}
	var box *mailbox
	if sub.side == identity.Requestor {
		box = m.mail.open(sub.id, sub.properties, sub.constraints, sub.owner, sub.expires)
		matches = box.news()
	}
	events, err = m.handOut(c, sub, box, most)
	return events, matches, err
}

// newsOr waits for facts, for another sign, or for a moment.
func (m *marketAPI) newsOr(ctx context.Context, head es.Position, f es.Filter, sign <-chan struct{}, until time.Time) error {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	facts := make(chan error, 1)
	go func() { facts <- m.Log.Wait(waiting, head, f) }()
	moment := time.NewTimer(time.Until(until))
	defer moment.Stop()
	select {
	case err := <-facts:
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return err
	case <-sign:
	case <-moment.C:
	}
	return nil
}

// parcel is something to hand out: what it is called in the inbox, and how it
// becomes an event once it is the caller's.
type parcel struct {
	ref   inbox.Ref
	match *peer.Offer // for a match: the offer to open a thread about
}

// handOut takes at most n things out of the queue of a subscription. They are
// recorded as handed out before the answer is made, so that nothing reaches the
// client twice; what another poll took meanwhile is left out.
func (m *marketAPI) handOut(c echo.Context, sub subscription, box *mailbox, n int) ([]gen.NegotiationEvent, error) {
	ctx := c.Request().Context()
	handed, _, err := m.Inboxes.Load(ctx, sub.id)
	if err != nil {
		return nil, err
	}
	first, proposals, err := m.waiting(ctx, sub, handed, box)
	if err != nil {
		return nil, err
	}
	parcels := append(first, proposals...)
	if len(parcels) > n {
		parcels = parcels[:n]
	}
	taken := m.matches(sub, handed, box, n-len(parcels))
	parcels = append(parcels, taken...)
	if len(parcels) == 0 {
		return nil, nil
	}
	mine, at, err := m.deliver(c, sub, parcels)
	if err != nil {
		for _, p := range taken {
			box.cursor.Return(p.match.ID)
		}
		return nil, err
	}
	return m.events(ctx, sub, mine, at)
}

// waiting lists what came and was not handed out: rejections and agreements in
// the order of time, and counters.
func (m *marketAPI) waiting(ctx context.Context, sub subscription, handed inbox.State, box *mailbox) (first, counters []parcel, err error) {
	threads, err := m.Views.Negotiations(ctx, sub.id)
	if err != nil {
		return nil, nil, err
	}
	for _, row := range threads {
		n, _, err := m.Negotiations.Load(ctx, row.ID)
		if err != nil {
			return nil, nil, err
		}
		for _, p := range n.Steps {
			ref := refOf(n, p)
			if ref.ID != "" && !handed.Has(ref) {
				if ref.Kind == inbox.Proposal {
					counters = append(counters, parcel{ref: ref})
				} else {
					first = append(first, parcel{ref: ref})
				}
			}
		}
		if n.Agreement == "" {
			continue
		}
		if sub.side == identity.Provider {
			if ref := (inbox.Ref{ID: n.Agreement, Kind: inbox.Agreement, Negotiation: n.NegotiationID}); !handed.Has(ref) {
				first = append(first, parcel{ref: ref})
			}
		} else if err := m.freeAgain(ctx, n, box); err != nil {
			return nil, nil, err
		}
	}
	return first, counters, nil
}

// refOf says what of a proposal its subscription's owner is told: that the peer
// made it, or that the peer rejected it. The zero Ref means nothing.
func refOf(n negotiation.State, p negotiation.Step) inbox.Ref {
	switch {
	case p.Issuer == n.Side && p.RejectedBy == n.Side.Other():
		return inbox.Ref{ID: p.ProposalID, Kind: inbox.Rejection, Negotiation: n.NegotiationID}
	case p.Issuer != n.Side && p.Prev != "":
		return inbox.Ref{ID: p.ProposalID, Kind: inbox.Proposal, Negotiation: n.NegotiationID}
	}
	return inbox.Ref{}
}

// freeAgain lets the offer of a thread match anew when the agreement that came
// of it is terminated: pools find their provider again that way.
func (m *marketAPI) freeAgain(ctx context.Context, n negotiation.State, box *mailbox) error {
	a, _, err := m.Agreements.Load(ctx, agreement.StreamID(identity.Requestor, n.Agreement))
	if err == nil && a.Phase == agreement.PhaseTerminated && box != nil {
		box.free(n.OfferID, n.Agreement)
	}
	return err
}

// matches takes matches that were not handed out yet from the book.
func (m *marketAPI) matches(sub subscription, handed inbox.State, box *mailbox, n int) []parcel {
	if box == nil || n <= 0 {
		return nil
	}
	ref := func(offerID string) inbox.Ref {
		after := box.after(offerID)
		return inbox.Ref{After: after, Kind: inbox.Proposal, Negotiation: negotiation.MatchID(sub.id, offerID, after), Offer: offerID}
	}
	offers := box.cursor.Take(n, func(offerID string) bool { return handed.Has(ref(offerID)) })
	out := make([]parcel, len(offers))
	for i, o := range offers {
		out[i] = parcel{ref: ref(o.ID), match: &o}
	}
	return out
}

// deliver records, in one append, that parcels are handed out and that threads
// begin about the matches among them. It returns those that are the caller's,
// and when that was.
func (m *marketAPI) deliver(c echo.Context, sub subscription, parcels []parcel) ([]parcel, time.Time, error) {
	ctx := c.Request().Context()
	caller, now := callerOf(ctx), time.Now().UTC()
	meta := metaOf(c, sub.id, "")
	opens := make(map[string]negotiation.Open)
	for i, p := range parcels {
		if p.match != nil {
			open := openingOf(sub, p, caller, now.Add(time.Duration(i)))
			opens[p.ref.Negotiation] = open
			parcels[i].ref.ID = open.Initial.ProposalID
		}
	}
	var mine []parcel
	receipt, err := m.Log.Atomically(ctx, meta, func(t *es.Tx) error {
		before, err := m.Inboxes.Peek(t, sub.id)
		if err != nil {
			return err
		}
		refs := make([]inbox.Ref, len(parcels))
		for i, p := range parcels {
			refs[i] = p.ref
		}
		fresh := before.Fresh(refs)
		mine = slices.DeleteFunc(slices.Clone(parcels), func(p parcel) bool { return !slices.Contains(fresh, p.ref) })
		if _, err := m.Inboxes.In(t, sub.id, inbox.Deliver{By: caller, Owner: sub.owner, Refs: refs, Side: sub.side, Subscription: sub.id}); err != nil {
			return err
		}
		for _, p := range mine {
			if p.match != nil {
				if _, err := m.Negotiations.In(t, p.ref.Negotiation, opens[p.ref.Negotiation]); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return mine, receipt.Recorded, err
}

// handedOut is what an earlier try of the same poll took, if the client gave it
// a key: its answer may have been lost on the way.
func (m *marketAPI) handedOut(c echo.Context, sub subscription) ([]gen.NegotiationEvent, bool, error) {
	ctx, key := c.Request().Context(), commandKey(c)
	for r, err := range m.Log.ReadStream(ctx, es.StreamOf(inbox.Category, sub.id), 0) {
		if err != nil {
			return nil, false, err
		}
		d, ok := r.Data.(inbox.Delivered)
		if !ok || r.Info.Key != key {
			continue
		}
		parcels := make([]parcel, len(d.Refs))
		for i, ref := range d.Refs {
			parcels[i].ref = ref
			if ref.Offer != "" {
				parcels[i].match = &peer.Offer{ID: ref.Offer}
			}
		}
		events, err := m.events(ctx, sub, parcels, r.Recorded)
		return events, err == nil, err
	}
	return nil, false, nil
}

// openingOf makes the thread that a match begins.
func openingOf(sub subscription, p parcel, caller identity.Caller, now time.Time) negotiation.Open {
	o := p.match
	expires := o.Expires
	if sub.expires.Before(expires) {
		expires = sub.expires
	}
	var raw []byte
	if o.Signature != "" {
		raw, _ = json.Marshal(o) // a struct of texts and times
	}
	return negotiation.Open{
		After: p.ref.After, By: caller, DemandConstraints: sub.constraints, DemandExpires: sub.expires, DemandID: sub.id,
		DemandProperties: sub.properties, NegotiationID: p.ref.Negotiation, OfferID: o.ID, Provider: o.Provider, Raw: raw, Requestor: sub.owner,
		Initial: negotiation.Proposal{
			Constraints: o.Constraints, Created: now, Expires: expires, Properties: o.Properties,
			ProposalID: market.PairHash(o.ID, sub.id, now),
		},
	}
}

// events makes events of parcels. Matches date from now, the rest from when it
// came.
func (m *marketAPI) events(ctx context.Context, sub subscription, parcels []parcel, at time.Time) ([]gen.NegotiationEvent, error) {
	out := make([]gen.NegotiationEvent, 0, len(parcels))
	for _, p := range parcels {
		n, _, err := m.Negotiations.Load(ctx, p.ref.Negotiation)
		if err != nil {
			return nil, err
		}
		when := at
		if p.match == nil {
			if when, err = m.cameAt(ctx, p.ref); err != nil {
				return nil, err
			}
		}
		e := gen.NegotiationEvent{EventDate: dto.At(when)}
		switch p.ref.Kind {
		case inbox.Agreement:
			a, _, err := m.Agreements.Load(ctx, agreement.StreamID(sub.side, p.ref.ID))
			if err != nil {
				return nil, err
			}
			shown := agreementOf(a, time.Now())
			e.EventType, e.Agreement = gen.NegotiationEventEventTypeAgreementEvent, &shown
		case inbox.Rejection:
			step, _ := n.Find(p.ref.ID)
			e.EventType, e.ProposalId = gen.NegotiationEventEventTypeProposalRejectedEvent, market.ProposalID(sub.side, p.ref.ID)
			e.Reason = reasonObject(step.Reason)
		default:
			step, _ := n.Find(p.ref.ID)
			shown := proposalOf(n, step, time.Now())
			e.EventType, e.Proposal = gen.NegotiationEventEventTypeProposalEvent, &shown
		}
		out = append(out, e)
	}
	sortEvents(out)
	return out, nil
}

// sortEvents puts rejections and agreements first, in the order of time.
func sortEvents(events []gen.NegotiationEvent) {
	isProposal := func(e gen.NegotiationEvent) bool { return e.EventType == gen.NegotiationEventEventTypeProposalEvent }
	slices.SortStableFunc(events, func(a, b gen.NegotiationEvent) int {
		switch {
		case isProposal(a) != isProposal(b):
			if isProposal(a) {
				return 1
			}
			return -1
		case isProposal(a):
			return 0
		}
		return a.EventDate.Compare(b.EventDate.Time)
	})
}

// cameAt is when the fact behind a thing was recorded.
func (m *marketAPI) cameAt(ctx context.Context, ref inbox.Ref) (time.Time, error) {
	stream := es.StreamOf(negotiation.Category, ref.Negotiation)
	if ref.Kind == inbox.Agreement {
		stream = agreement.StreamOf(identity.Provider, ref.ID)
	}
	for r, err := range m.Log.ReadStream(ctx, stream, 0) {
		if err != nil {
			return time.Time{}, err
		}
		switch e := r.Data.(type) {
		case negotiation.CounterReceived:
			if ref.Kind == inbox.Proposal && e.Proposal.ProposalID == ref.ID {
				return r.Recorded, nil
			}
		case negotiation.RejectionReceived:
			if ref.Kind == inbox.Rejection && e.ProposalID == ref.ID {
				return r.Recorded, nil
			}
		case agreement.Received:
			if ref.Kind == inbox.Agreement {
				return r.Recorded, nil
			}
		}
	}
	return time.Time{}, errors.New("the fact behind an event is not in its stream")
}

var _ MarketViews = (*projections.Market)(nil)
