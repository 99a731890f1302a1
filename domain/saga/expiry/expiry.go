// Package expiry knows what is due when. It is the one owner of time: it folds
// facts into deadlines, and whoever reads clocks sends the command of a
// deadline that has come, with the time in it. After a restart the deadlines
// are the same, and overdue ones come first.
package expiry

import (
	"time"

	"github.com/emet-node/emet/domain/es"
)

// A Deadline is a command that is due at a moment, unless a fact clears it
// before. The command must be harmless when it comes late or twice.
type Deadline struct {
	Name  string // unique; a later deadline of the same name replaces it
	At    time.Time
	Order func(at time.Time) es.Order
	// Story, Identity and the fact that set the deadline go into the command's
	// metadata.
	Story, Identity string
	Cause           es.ID
	CauseAt         es.Position
}

// Hears lists the fact types that matter.
var Hears = []string{
	"offer.published.v1", "offer.withdrawn.v1", "offer.expired.v1",
	"demand.published.v1", "demand.withdrawn.v1", "demand.expired.v1",
	"agreement.created.v1", "agreement.received.v1", "agreement.approval_requested.v1", "agreement.approval_delivered.v1", "agreement.approval_failed.v1",
	"agreement.commit_failed.v1", "agreement.approved.v1", "agreement.rejected.v1", "agreement.cancelled.v1", "agreement.expired.v1", "agreement.terminated.v1",
	"activity.created.v1", "activity.terminated.v1",
	"allocation.created.v1", "allocation.amended.v1", "allocation.released.v1", "allocation.expired.v1",
	"cycle.configured.v1", "cycle.run_requested.v1",
	"bill.opened.v1", "bill.note_received.v1", "bill.invoice_received.v1", "bill.note_accepted.v1", "bill.invoice_accepted.v1", "bill.settled.v1", "bill.unsettled.v1",
	"bill.note_issued.v1", "bill.note_delivered.v1", "bill.note_accepted_by_peer.v1", "bill.note_rejected_by_peer.v1", "bill.note_cancelled.v1",
}

// Policy is how long a provider waits for things that nothing else ends.
type Policy struct {
	// IdleAgreement is how long an agreement may have no activity. 0 = for ever.
	IdleAgreement time.Duration
	// Started is when this process began to listen. Nobody can be late with
	// what could not have been heard before. Zero = always.
	Started time.Time
}

// Book folds facts into deadlines. Its zero value needs a Policy only.
type Book struct {
	Policy Policy

	deadlines map[string]Deadline
	validTo   map[string]time.Time // by agreement stream, until it is approved or over
	commitBy  map[string]time.Time // by agreement stream, while a commit is awaited
	deals     map[string]deal      // by agreement, provider's side
	bills     map[string]bill      // by stream id
	cycles    map[string]*settling // by stream id
}

// Hear folds a fact.
func (b *Book) Hear(r es.Recorded) {
	if b.deadlines == nil {
		b.deadlines, b.deals = make(map[string]Deadline), make(map[string]deal)
		b.cycles = make(map[string]*settling)
		b.bills, b.validTo, b.commitBy = make(map[string]bill), make(map[string]time.Time), make(map[string]time.Time)
	}
	b.hearMarket(r)
	b.hearAgreement(r)
	b.hearPayment(r)
	b.hearNotes(r)
}

// Next returns the earliest deadline.
func (b *Book) Next() (Deadline, bool) {
	var next Deadline
	for _, d := range b.deadlines {
		if next.Order == nil || d.At.Before(next.At) || d.At.Equal(next.At) && d.Name < next.Name {
			next = d
		}
	}
	return next, next.Order != nil
}

// Get finds a deadline by its name.
func (b *Book) Get(name string) (Deadline, bool) {
	d, ok := b.deadlines[name]
	return d, ok
}

// Passed forgets a deadline whose command was given.
func (b *Book) Passed(d Deadline) {
	if now, ok := b.deadlines[d.Name]; ok && now.At.Equal(d.At) {
		delete(b.deadlines, d.Name)
	}
}

func (b *Book) set(r es.Recorded, name string, at time.Time, order func(at time.Time) es.Order) {
	if at.IsZero() {
		return
	}
	b.deadlines[name] = Deadline{Name: name, At: at, Order: order, Story: r.Info.Correlation, Identity: r.Info.Identity, Cause: r.ID, CauseAt: r.Position}
}

func (b *Book) clear(names ...string) {
	for _, n := range names {
		delete(b.deadlines, n)
	}
}
