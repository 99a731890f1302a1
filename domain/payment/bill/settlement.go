package bill

import (
	"fmt"
	"slices"
	"strings"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
)

// maxSettled is how many documents one command settles, so that a day's worth
// of debit notes still fits into one append.
const maxSettled = 1000

func move(s State, c Command) ([]Event, error) {
	switch c := c.(type) {
	case Schedule:
		return schedule(s, c)
	case MarkPaid:
		return markPaid(s, c)
	case CreditPayment:
		return credit(s, c)
	case ReversePayment:
		return reverse(s, c)
	case Settle:
		return s.thenSettle(nil)
	default: // about a document, not about money
		return nil, es.ErrWrongCommand
	}
}

func schedule(s State, c Schedule) ([]Event, error) {
	if s.Side != identity.Requestor {
		return nil, ErrSide
	}
	if _, ok := s.intents.Get(c.IntentID); ok {
		return nil, nil
	}
	reached := make(map[string]money.Amount)
	for _, r := range c.Ranges {
		t := s.Activity(r.ActivityID).Totals
		from, ok := reached[r.ActivityID]
		if !ok {
			from = t.Scheduled
		}
		if r.AgreementID != s.AgreementID || !r.From.Equal(from) || !r.From.Less(r.To) || t.Accepted.Less(r.To) {
			return nil, fmt.Errorf("%w: [%s, %s) of activity %q; scheduled %s, accepted %s", ErrRange, r.From, r.To, r.ActivityID, from, t.Accepted)
		}
		reached[r.ActivityID] = r.To
	}
	if len(c.Ranges) == 0 {
		return nil, fmt.Errorf("%w: there are none", ErrRange)
	}
	return []Event{Scheduled{
		AgreementID: s.AgreementID, IntentID: c.IntentID, OrderID: c.OrderID, PaymentID: c.PaymentID, Ranges: c.Ranges, Side: s.Side,
	}}, nil
}

func markPaid(s State, c MarkPaid) ([]Event, error) {
	i, ok := s.intents.Get(c.IntentID)
	if !ok {
		return nil, ErrIntent
	}
	if p, ok := s.payments.Get(i.PaymentID); ok && !p.Reversed {
		return nil, nil
	}
	return s.thenSettle([]Event{Paid{
		AgreementID: s.AgreementID, IntentID: i.ID, PaymentID: i.PaymentID, Ranges: i.Ranges, Side: s.Side, TxHash: c.TxHash,
	}})
}

func credit(s State, c CreditPayment) ([]Event, error) {
	if s.Side != identity.Provider {
		return nil, ErrSide
	}
	if t := s.Terms; !payment.SameAddress(c.PayeeAddr, t.PayeeAddr) || !payment.SameAddress(c.PayerAddr, t.PayerAddr) || c.Platform != t.Platform {
		return nil, fmt.Errorf("%w: %s paid %s on %s", ErrOtherTerms, c.PayerAddr, c.PayeeAddr, c.Platform)
	}
	if p, ok := s.payments.Get(c.PaymentID); ok && !p.Reversed {
		return nil, nil
	}
	var ranges []payment.Range
	for _, share := range c.Shares {
		known := share.ActivityID == "" && share.AgreementID == s.AgreementID || share.ActivityID != "" && s.Activity(share.ActivityID).Notes > 0
		if !known || share.Amount.Sign() <= 0 {
			continue
		}
		from := s.Activity(share.ActivityID).Totals.Paid
		for _, r := range ranges {
			if r.ActivityID == share.ActivityID {
				from = r.To
			}
		}
		ranges = append(ranges, payment.Range{
			ActivityID: share.ActivityID, AgreementID: s.AgreementID, From: from, PayeeID: s.Terms.PayeeID, To: from.Add(share.Amount),
		})
	}
	if len(ranges) == 0 {
		return nil, nil
	}
	return s.thenSettle([]Event{Paid{AgreementID: s.AgreementID, PaymentID: c.PaymentID, Ranges: ranges, Side: s.Side, TxHash: c.TxHash}})
}

func reverse(s State, c ReversePayment) ([]Event, error) {
	p, ok := s.payments.Get(c.PaymentID)
	if !ok || p.Reversed {
		return nil, nil
	}
	facts := []Event{PaymentReversed{AgreementID: s.AgreementID, PaymentID: p.ID, Ranges: p.Ranges, Side: s.Side, Why: c.Why}}
	after := fold(s, facts)
	var back []Document
	for _, d := range after.docs.All() {
		if d.Status == payment.Settled && !after.covered(d) {
			back = append(back, d)
		}
	}
	slices.SortFunc(back, func(a, b Document) int { return strings.Compare(a.ID, b.ID) })
	for _, d := range back[:min(len(back), maxSettled)] {
		facts = append(facts, Unsettled{AgreementID: s.AgreementID, DocumentID: d.ID, Kind: d.Kind, Side: s.Side})
	}
	return facts, nil
}

// thenSettle adds to facts the settlement of all accepted documents that what
// was paid covers after them.
func (s State) thenSettle(facts []Event) ([]Event, error) {
	after := fold(s, facts)
	n := 0
	paid := len(facts) > 0 && isPaid(facts[0])
	for _, id := range after.open {
		d, _ := after.docs.Get(id)
		if !after.covered(d) || d.Status != payment.Accepted && !(paid && after.proves(d)) {
			continue
		}
		if n++; n > maxSettled {
			last := facts[len(facts)-1].(Settled)
			last.More = true
			facts[len(facts)-1] = last
			break
		}
		facts = append(facts, Settled{AgreementID: s.AgreementID, DocumentID: d.ID, Kind: d.Kind, Side: s.Side})
	}
	return facts, nil
}

func fold(s State, facts []Event) State {
	for _, f := range facts {
		s = evolve(s, f)
	}
	return s
}

func isPaid(e Event) bool {
	_, ok := e.(Paid)
	return ok
}

// proves says whether a payment that covers a document stands for its
// acceptance: at the provider it does, when the acceptance itself got lost.
func (s State) proves(d Document) bool {
	return s.Side == identity.Provider && d.Amount.Sign() > 0 && (d.Status == payment.Issued || d.Status == payment.Received)
}

// covered says whether what was paid settles a document: a note needs the
// payments for its activity, an invoice those for the whole agreement.
func (s State) covered(d Document) bool {
	if d.Kind == payment.Invoice {
		return !s.paid.Less(d.Amount)
	}
	return !s.Activity(d.ActivityIDs[0]).Totals.Paid.Less(d.Amount)
}
