package expiry

import (
	"time"

	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/demand"
	"github.com/emet-node/emet/domain/market/offer"
	"github.com/emet-node/emet/domain/market/terms"
)

var own = identity.Caller{Actor: es.ActorSaga, Grade: es.GradeSelf}

// hearMarket: subscriptions end at their expiry; offers of the built-in
// provider are taken back for a fresh one after two thirds of their life.
func (b *Book) hearMarket(r es.Recorded) {
	id := r.Stream.Key()
	switch e := r.Data.(type) {
	case offer.Published:
		b.set(r, "offer/"+id, e.Expires, func(at time.Time) es.Order {
			return es.Order{Category: offer.Category, ID: id, Command: offer.Expire{At: at}}
		})
		if e.Preset != "" {
			b.set(r, "refresh/"+id, e.Created.Add(e.Expires.Sub(e.Created)*2/3), func(at time.Time) es.Order {
				return es.Order{Category: offer.Category, ID: id, Command: offer.Withdraw{At: at, By: own, OfferID: id, Why: "refreshed"}}
			})
		}
	case offer.Withdrawn, offer.Expired:
		b.clear("offer/"+id, "refresh/"+id)
	case demand.Published:
		b.set(r, "demand/"+id, e.Expires, func(at time.Time) es.Order {
			return es.Order{Category: demand.Category, ID: id, Command: demand.Expire{At: at}}
		})
	case demand.Withdrawn, demand.Expired:
		b.clear("demand/" + id)
	}
}

// deal is what a provider's deadlines need of an agreement.
type deal struct {
	expires      time.Time     // golem.srv.comp.expiration of the demand
	acceptWithin time.Duration // agreed time to accept a debit note, 0 = none
	alive        int           // activities
	holds        bool
	byAgent      bool   // somebody else runs this deal over REST
	notes        []note // of which something is still awaited, in order
}

// hearAgreement: an agreement must be approved by validTo, a commit must come
// by its deadline; an approved one ends at the demand's expiration, or when it
// has had no activity for too long.
func (b *Book) hearAgreement(r es.Recorded) {
	stream := r.Stream.Key()
	order := func(c func(at time.Time) agreement.Command) func(time.Time) es.Order {
		return func(at time.Time) es.Order {
			return es.Order{Category: agreement.Category, ID: stream, Command: c(at)}
		}
	}
	expire := order(func(at time.Time) agreement.Command { return agreement.Expire{At: at} })
	switch e := r.Data.(type) {
	case agreement.Created:
		b.validTo[stream] = e.Terms.ValidTo
		b.set(r, "validTo/"+stream, e.Terms.ValidTo, expire)
	case agreement.CommitFailed: // while the commit was open, expiry kept silent
		b.set(r, "validTo/"+stream, b.validTo[stream], expire)
	case agreement.Received:
		b.set(r, "validTo/"+stream, e.Terms.ValidTo, expire)
		b.deals[e.AgreementID] = agreed(e.Terms)
	case agreement.ApprovalRequested:
		b.set(r, "commit/"+stream, e.Deadline, order(func(at time.Time) agreement.Command { return agreement.TimeoutApproval{At: at} }))
		b.commitBy[stream] = e.Deadline
		b.approver(e.AgreementID, r.Info.Actor)
	case agreement.ApprovalDelivered: // while the approval was under way, its deadline kept silent
		b.set(r, "commit/"+stream, b.commitBy[stream], order(func(at time.Time) agreement.Command { return agreement.TimeoutApproval{At: at} }))
	case agreement.ApprovalFailed:
		b.clear("commit/" + stream)
		delete(b.commitBy, stream)
	case agreement.Approved:
		b.clear("validTo/"+stream, "commit/"+stream)
		delete(b.validTo, stream)
		delete(b.commitBy, stream)
		if e.Side == identity.Provider {
			b.approved(r, e.AgreementID, order)
		}
	case agreement.Rejected, agreement.Cancelled, agreement.Expired, agreement.Terminated:
		b.clear("validTo/"+stream, "commit/"+stream, "expiration/"+stream, "idle/"+stream)
		delete(b.validTo, stream)
		delete(b.commitBy, stream)
		if identity.Side(stream[:1]) == identity.Provider {
			b.over(stream[2:])
		}
	case activity.Created:
		if e.Side == identity.Provider {
			b.busy(e.AgreementID)
		}
	case activity.Terminated:
		if identity.Side(stream[:1]) == identity.Provider {
			b.free(r)
		}
	}
}

func agreed(t agreement.Terms) deal {
	demand := terms.Parse(t.DemandProperties)
	d := deal{expires: demand.Millis(terms.Expiration)}
	if within := terms.Parse(t.OfferProperties).Seconds(terms.AcceptTimeout); within == demand.Seconds(terms.AcceptTimeout) {
		d.acceptWithin = within
	}
	return d
}

// approver remembers whether the built-in provider approved, or an agent that
// looks after its agreements by itself.
func (b *Book) approver(id string, by es.Actor) {
	if d, ok := b.deals[id]; ok {
		d.byAgent = by == es.ActorREST
		b.deals[id] = d
	}
}

func (b *Book) approved(r es.Recorded, id string, order func(func(time.Time) agreement.Command) func(time.Time) es.Order) {
	d := b.deals[id]
	d.holds = true
	b.deals[id] = d
	b.set(r, "expiration/"+r.Stream.Key(), d.expires, order(func(time.Time) agreement.Command {
		return agreement.Terminate{By: own, Reason: `{"message":"Agreement expired","golem.provider.code":"Expired"}`}
	}))
	b.idle(r, id)
}

func (b *Book) idle(r es.Recorded, id string) {
	if b.Policy.IdleAgreement <= 0 || b.deals[id].byAgent {
		return
	}
	stream := agreement.StreamID(identity.Provider, id)
	b.set(r, "idle/"+stream, r.Recorded.Add(b.Policy.IdleAgreement), func(time.Time) es.Order {
		return es.Order{Category: agreement.Category, ID: stream, Command: agreement.Terminate{
			By: own, Reason: `{"golem.provider.code":"NoActivity","message":"No activity created within ` + short(b.Policy.IdleAgreement) + `"}`,
		}}
	})
}

func (b *Book) busy(id string) {
	d, ok := b.deals[id]
	if !ok {
		return
	}
	d.alive++
	b.deals[id] = d
	b.clear("idle/" + agreement.StreamID(identity.Provider, id))
}

// free starts the idle time anew when the last activity of an agreement ended.
// An activity's end names its agreement by the story it belongs to.
func (b *Book) free(r es.Recorded) {
	id := r.Info.Correlation
	d, ok := b.deals[id]
	if !ok {
		return
	}
	d.alive = max(d.alive-1, 0)
	b.deals[id] = d
	if d.alive == 0 && d.holds {
		b.idle(r, id)
	}
}
