// Package billing writes the provider's bills. While an activity runs, a
// reading of its counters becomes a debit note when the agreed interval has
// passed; its last reading becomes its last note; and when the agreement is
// over and all its activities have been billed, there is one invoice.
package billing

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/activity/usage"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/terms"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/pricing"
)

// Defaults where an agreement is silent.
const (
	DefaultInterval = 120 * time.Second
	DefaultDue      = 24 * time.Hour // of an invoice
)

// State is what billing knows of one agreement of a provider.
type State struct {
	id       string
	prices   []string // linear coefficients; none = nothing can be billed
	terms    payment.Terms
	interval time.Duration
	timeout  time.Duration // agreed time to pay a note, 0 = notes are not payable
	approved time.Time     // zero = not
	payable  time.Time     // when the last payable note was written
	ended    bool
	invoiced bool
	failed   bool // rejected, cancelled or expired: there is nothing to bill

	byAgent bool // somebody else runs this deal over REST, and bills it
	asked   bool // for the invoice

	activities []work
	orders     []es.Order // what the fact just heard leads to
}

// work is one activity.
type work struct {
	id       string
	usageID  es.ID  // fact of the newest reading
	vector   string // newest reading, "" = none
	cost     money.Amount
	notedAt  time.Time // of the last note; begins with the activity
	done     bool      // its last note is written
	billable bool      // there was a reading
}

// Saga is the process; an instance is the provider's side of one agreement.
var Saga = es.Saga[State]{
	Name: "billing",
	Hears: []string{
		"agreement.received.v1", "agreement.approval_requested.v1", "agreement.approved.v1", "agreement.rejected.v1", "agreement.cancelled.v1",
		"agreement.expired.v1", "agreement.terminated.v1", "activity.created.v1", "activity.terminated.v1",
		"usage.sampled.v1", "usage.finalised.v1", "bill.invoice_issued.v1", "bill.note_rejected_by_peer.v1",
	},
	Instance: instance,
	Evolve:   evolve,
	React:    func(s State, _ es.Recorded) []es.Order { return s.orders },
	Done:     func(s State) bool { return s.invoiced || s.failed },
}

// Readings and the end of an activity do not name the agreement; the story
// that they belong to does.
func instance(r es.Recorded) string {
	switch e := r.Data.(type) {
	case agreement.Received:
		return e.AgreementID
	case agreement.ApprovalRequested:
		return e.AgreementID
	case agreement.Approved:
		return mine(e.Side, e.AgreementID)
	case agreement.Rejected:
		return mine(e.Side, e.AgreementID)
	case agreement.Cancelled:
		return mine(e.Side, e.AgreementID)
	case agreement.Expired:
		return mine(e.Side, e.AgreementID)
	case agreement.Terminated:
		return mine(e.Side, e.AgreementID)
	case activity.Created:
		return mine(e.Side, e.AgreementID)
	case bill.InvoiceIssued:
		return e.AgreementID
	case bill.NoteRejectedByPeer:
		return e.AgreementID
	case activity.Terminated, usage.Sampled, usage.Finalised:
		if key := r.Stream.Key(); key != "" {
			return mine(identity.Side(key[:1]), r.Info.Correlation)
		}
	}
	return ""
}

func mine(side identity.Side, id string) string {
	if side != identity.Provider {
		return ""
	}
	return id
}

func evolve(s State, r es.Recorded) State {
	s.orders = nil
	switch e := r.Data.(type) {
	case agreement.Received:
		return begin(e)
	case agreement.ApprovalRequested:
		s.byAgent, s.terms.AppSessionID = r.Info.Actor == es.ActorREST, e.Session
	case agreement.Approved:
		s.approved, s.payable = r.Recorded, r.Recorded
	case agreement.Rejected, agreement.Cancelled, agreement.Expired:
		s.failed = true
	case agreement.Terminated:
		s.ended = true
	case activity.Created:
		s.activities = append(slices.Clip(s.activities), work{id: e.ActivityID, notedAt: r.Recorded})
	case usage.Sampled:
		s = s.read(e.ActivityID, e.Vector, r)
		if w, ok := s.work(e.ActivityID); ok && !w.done && s.due(w, r.Recorded) {
			s = s.note(w, r, false)
		}
	case usage.Finalised:
		s = s.read(e.ActivityID, e.Vector, r).finish(e.ActivityID, r)
	case activity.Terminated:
		s = s.finish(e.ActivityID, r)
	case bill.InvoiceIssued:
		s.invoiced = true
	case bill.NoteRejectedByPeer:
		s.orders = append(s.orders, breakOff(e))
	}
	return s.invoice(r)
}

func begin(e agreement.Received) State {
	offer, demand := terms.Parse(e.Terms.OfferProperties), terms.Parse(e.Terms.DemandProperties)
	platform := demand.String(terms.ChosenPlatform)
	s := State{
		id: e.AgreementID, prices: offer.Numbers(terms.Coefficients),
		interval: offer.Seconds(terms.NoteInterval), timeout: offer.Seconds(terms.PaymentTimeout),
		terms: payment.Terms{
			PayeeAddr: offer.Address(platform), PayeeID: e.Terms.Provider,
			PayerAddr: demand.Address(platform), PayerID: e.Terms.Requestor, Platform: payment.Platform(platform),
		},
	}
	if s.interval <= 0 {
		s.interval = DefaultInterval
	}
	if s.terms.PayeeAddr == "" {
		s.terms.PayeeAddr = string(s.terms.PayeeID)
	}
	if s.terms.PayerAddr == "" {
		s.terms.PayerAddr = string(s.terms.PayerID)
	}
	return s
}

// read takes in a reading. What an activity has cost never goes down.
func (s State) read(id, vector string, r es.Recorded) State {
	return s.change(id, func(w *work) {
		if w.done {
			return
		}
		w.billable, w.usageID, w.vector = true, r.ID, vector
		var numbers []json.Number
		if json.Unmarshal([]byte(vector), &numbers) != nil {
			return
		}
		texts := make([]string, len(numbers))
		for i, n := range numbers {
			texts[i] = n.String()
		}
		if cost, err := pricing.Cost(s.prices, texts); err == nil {
			w.cost = w.cost.Max(cost)
		}
	})
}

func (s State) change(id string, f func(*work)) State {
	if i := slices.IndexFunc(s.activities, func(w work) bool { return w.id == id }); i >= 0 {
		s.activities = slices.Clone(s.activities)
		f(&s.activities[i])
	}
	return s
}

func (s State) work(id string) (work, bool) {
	i := slices.IndexFunc(s.activities, func(w work) bool { return w.id == id })
	if i < 0 {
		return work{}, false
	}
	return s.activities[i], true
}

// due says whether a reading at a moment shall become a note: the grid of
// intervals, which begins with the approval, has a line between the last note
// and now, and the last note is not too close.
func (s State) due(w work, now time.Time) bool {
	line := func(t time.Time) time.Duration { return t.Sub(s.approved) / s.interval }
	return !s.approved.IsZero() && !s.byAgent && line(now) > line(w.notedAt) && now.Sub(w.notedAt) >= s.interval*8/10
}

func (s State) finished() bool {
	return s.ended && !s.approved.IsZero() && !s.byAgent && !slices.ContainsFunc(s.activities, func(w work) bool { return !w.done })
}

// name makes an id that follows from what was heard.
func (s State) name(what string, r es.Recorded) string {
	return es.NameID(es.ID{}, fmt.Sprintf("%s/%s/%d", what, s.id, r.Position)).String()
}
