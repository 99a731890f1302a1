package verifier

import (
	"math/big"
	"slices"
)

// lastNotes are the newest note of each activity.
func (s story) lastNotes() map[string]bill {
	out := map[string]bill{}
	for _, n := range s.notes {
		out[n.activity] = n
	}
	return out
}

// invoice is the last one that was not cancelled, nil if there is none.
func (s story) invoice() *bill {
	for i := range s.invoices {
		if b := &s.invoices[len(s.invoices)-1-i]; !b.cancelled {
			return b
		}
	}
	return nil
}

func (x *examiner) invoiceAmount() verdict {
	invoice := x.invoice()
	if invoice == nil {
		return lacks("there is no invoice")
	}
	sum := new(big.Int)
	for _, n := range x.lastNotes() {
		sum.Add(sum, n.amount)
	}
	if sum.Cmp(invoice.amount) != 0 {
		if x.gaps {
			return lacks("the shown notes are not the invoice")
		}
		return no("the invoice is not the sum of the notes")
	}
	return yes
}

// owed is what was accepted of what is due; nil when not all of it was.
func (s story) owed() *big.Int {
	due := []bill{}
	if invoice := s.invoice(); invoice != nil {
		due = append(due, *invoice)
	} else {
		for _, n := range s.lastNotes() {
			due = append(due, n)
		}
	}
	sum := new(big.Int)
	for _, b := range due {
		if !slices.ContainsFunc(s.accepted, func(a accepted) bool { return a.id == b.id }) {
			return nil
		}
		sum.Add(sum, b.amount)
	}
	if len(due) == 0 {
		return nil
	}
	return sum
}

func (x *examiner) billsAccepted() verdict {
	hidden := false
	for _, a := range x.accepted {
		named := slices.DeleteFunc(slices.Concat(x.notes, x.invoices), func(b bill) bool { return b.id != a.id })
		if hidden = hidden || len(named) == 0; len(named) > 0 && named[0].amount.Cmp(a.amount) != 0 {
			return no("%s was accepted for another amount", a.id)
		}
	}
	if hidden {
		return lacks("a document that was accepted is not shown")
	}
	if x.owed() == nil {
		return lacks("not everything that is due was accepted")
	}
	return yes
}
