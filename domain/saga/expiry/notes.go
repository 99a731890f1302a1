package expiry

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	dbill "github.com/emet-node/emet/domain/payment/bill"
)

// note is a debit note of a provider whose requestor still owes something: a
// receipt, an acceptance or a payment.
type note struct {
	id, activity        string
	issued, due         time.Time
	delivered, accepted bool
}

// hearNotes: a requestor must take debit notes, accept them within the agreed
// time, and pay those that are payable by their due date. A provider does not
// go on working for one who does not. Where no time to accept was agreed,
// notes need not be accepted, and the agreement's own end bounds the loss.
func (b *Book) hearNotes(r es.Recorded) {
	side, id, _ := strings.Cut(r.Stream.Key(), "-")
	d, ok := b.deals[id]
	if !ok || r.Stream.Category() != dbill.Category || side != string(identity.Provider) || d.byAgent {
		return
	}
	switch e := r.Data.(type) {
	case dbill.NoteIssued:
		d.notes = append(slices.Clip(d.notes), note{id: e.DebitNoteID, activity: e.ActivityID, issued: r.Recorded, due: e.DueDate})
	case dbill.NoteDelivered:
		d.notes = b.delivered(r, id, d, e.DebitNoteID)
	case dbill.NoteAcceptedByPeer:
		d.notes = b.accepted(d.notes, e.DebitNoteID)
	case dbill.Settled:
		d.notes = b.forget(d.notes, e.DocumentID)
	case dbill.NoteRejectedByPeer: // which ends the agreement for its own reason
		d.notes = b.forget(d.notes, e.DebitNoteID)
	case dbill.NoteCancelled:
		d.notes = b.forget(d.notes, e.DebitNoteID)
	default:
		return
	}
	b.deals[id] = d
	b.reach(r, id, d)
}

// delivered starts the times that the requestor has from now on. The time to
// pay is not cut short by a delivery that took long.
func (b *Book) delivered(r es.Recorded, id string, d deal, noteID string) []note {
	i := slices.IndexFunc(d.notes, func(n note) bool { return n.id == noteID })
	if i < 0 {
		return d.notes
	}
	n := d.notes[i]
	if !n.accepted && d.acceptWithin > 0 {
		b.breakAt(r, "accept/"+n.id, id, d.acceptWithin, r.Recorded.Add(d.acceptWithin), "DebitNotesDeadline",
			"Requestor isn't accepting DebitNotes in time (%s)")
	}
	if !n.due.IsZero() {
		b.breakAt(r, "paid/"+n.id, id, n.due.Sub(n.issued), n.due.Add(r.Recorded.Sub(n.issued)), "DebitNoteNotPaid",
			"Requestor didn't pay for DebitNote in time (%s)")
	}
	notes := slices.Clone(d.notes)
	notes[i].delivered = true
	return done(notes)
}

// accepted: a note counts all that its activity has cost, so that the notes
// before it need no acceptance of their own.
func (b *Book) accepted(notes []note, noteID string) []note {
	i := slices.IndexFunc(notes, func(n note) bool { return n.id == noteID })
	if i < 0 {
		return notes
	}
	notes = slices.Clone(notes)
	for j := range notes[:i+1] {
		if notes[j].activity == notes[i].activity {
			notes[j].accepted = true
			b.clear("accept/" + notes[j].id)
		}
	}
	return done(notes)
}

func (b *Book) forget(notes []note, id string) []note {
	b.clear("accept/"+id, "paid/"+id)
	return slices.DeleteFunc(slices.Clone(notes), func(n note) bool { return n.id == id })
}

// done drops the notes of which nothing is awaited any more.
func done(notes []note) []note {
	return slices.DeleteFunc(notes, func(n note) bool { return n.delivered && n.accepted && n.due.IsZero() })
}

// reach sets the time by which the oldest note that did not get through must
// have been delivered.
func (b *Book) reach(r es.Recorded, id string, d deal) {
	name := "reach/" + id
	i := slices.IndexFunc(d.notes, func(n note) bool { return !n.delivered })
	if i < 0 || d.acceptWithin <= 0 {
		b.clear(name)
		return
	}
	b.breakAt(r, name, id, d.acceptWithin, d.notes[i].issued.Add(d.acceptWithin), "RequestorUnreachable", "Requestor is unreachable more than %s")
}

// breakAt ends an agreement at a moment. What the requestor has to do in a time
// it can do only while this node runs: the time begins anew with the process.
func (b *Book) breakAt(r es.Recorded, name, id string, within time.Duration, at time.Time, code, message string) {
	if up := b.Policy.Started.Add(within); !b.Policy.Started.IsZero() && at.Before(up) {
		at = up
	}
	reason := fmt.Sprintf(`{"golem.provider.code":%q,"message":%q}`, code, fmt.Sprintf(message, short(within)))
	b.set(r, name, at, func(time.Time) es.Order {
		return es.Order{
			Category: agreement.Category, ID: agreement.StreamID(identity.Provider, id), Correlation: id,
			Command: agreement.Terminate{By: own, Reason: reason},
		}
	})
}

// over forgets the notes of an agreement that ended.
func (b *Book) over(id string) {
	for _, n := range b.deals[id].notes {
		b.clear("accept/"+n.id, "paid/"+n.id)
	}
	b.clear("reach/" + id)
	delete(b.deals, id)
}

// short prints a duration without the units that are zero: 4m, not 4m0s.
func short(d time.Duration) string {
	s := d.Round(time.Second).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
