package bill

import (
	"time"

	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/internal/pmap"
)

// State is what one side knows about the debts of one agreement.
type State struct {
	AgreementID string // "" = there is no bill
	Side        identity.Side
	Terms       payment.Terms
	InvoiceID   string // the newest one, "" = none

	docs       pmap.Map[Document]
	activities pmap.Map[Activity] // by id; "" = what the invoice adds
	order      *link              // ids of activities, newest first
	intents    pmap.Map[Intent]
	payments   pmap.Map[Payment]
	open       []string // documents that may still be settled, oldest first
	due        money.Amount
	accepted   money.Amount
	scheduled  money.Amount
	paid       money.Amount
}

type link struct {
	id   string
	next *link
}

// Document is a debit note or an invoice.
type Document struct {
	ActivityIDs []string // one for a note
	Amount      money.Amount
	AmountText  string // as written by the provider when finer than the token
	DueDate     time.Time
	ID          string
	Kind        payment.Kind
	Nonce       int
	PreviousID  string
	Rejection   string // JSON text of the last one
	Status      payment.Status
	Timestamp   time.Time
	UsageVector string

	// AllocationID and Added say how the requestor accepted it.
	AllocationID string
	Added        payment.Range

	sending, accepting, noticing bool // open intents
	flags                        []Flag
}

// Said is the amount as the document says it.
func (d Document) Said() money.Decimal {
	if d.AmountText != "" {
		if v, err := money.ParseDecimal(d.AmountText); err == nil {
			return v
		}
	}
	return d.Amount.Decimal()
}

// Sending says whether an issued document is still on its way to the peer.
func (d Document) Sending() bool { return d.sending }

// Totals are how far a debt has come: Due ≥ Accepted ≥ Scheduled ≥ Paid at the
// requestor. The provider hears of acceptances and payments only.
type Totals struct{ Due, Accepted, Scheduled, Paid money.Amount }

// Activity is the debt for one activity.
type Activity struct {
	ID     string
	Last   string // id of its newest note
	Notes  int    // how many there are
	Totals Totals
}

// Intent is a set of ranges that one payment will cover.
type Intent struct {
	ID        string
	OrderID   string
	PaymentID string
	Ranges    []payment.Range
}

// Payment is a transfer that was credited here.
type Payment struct {
	ID       string
	IntentID string
	Ranges   []payment.Range
	Reversed bool
	TxHash   string
}

// Document returns a document by id.
func (s State) Document(id string) (Document, bool) { return s.docs.Get(id) }

// Activity returns the debt for one activity; "" is what the invoice adds.
func (s State) Activity(id string) Activity {
	a, _ := s.activities.Get(id)
	a.ID = id
	return a
}

// Activities are the ids of all activities that have debts, in the order in
// which they appeared.
func (s State) Activities() []string {
	var out []string
	for l := s.order; l != nil; l = l.next {
		out = append([]string{l.id}, out...)
	}
	return out
}

// Intent returns what was scheduled under an intent.
func (s State) Intent(id string) (Intent, bool) { return s.intents.Get(id) }

// Payment returns a payment that was credited here.
func (s State) Payment(id string) (Payment, bool) { return s.payments.Get(id) }

// Totals are the sums over the agreement.
func (s State) Totals() Totals {
	due := s.due
	if d, ok := s.docs.Get(s.InvoiceID); ok && d.Status != payment.Cancelled {
		due = due.Max(d.Amount)
	}
	return Totals{Due: due, Accepted: s.accepted, Scheduled: s.scheduled, Paid: s.paid}
}

// Unsettled says how many accepted documents are not paid for.
func (s State) Unsettled() int {
	n := 0
	for _, id := range s.open {
		if d, _ := s.docs.Get(id); d.Status == payment.Accepted {
			n++
		}
	}
	return n
}
