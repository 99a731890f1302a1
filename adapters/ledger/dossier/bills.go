package dossier

import (
	"encoding/json"
	"slices"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/market/terms"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment/pricing"
)

func (c *checker) commands() answer {
	if len(c.deal.batches) == 0 {
		return missing("no batch of commands is shown")
	}
	n := 0
	var open []es.Stream
	for _, b := range c.deal.batches {
		if b.twice {
			return disproved("%s: a command ended twice", b.stream)
		}
		n += len(b.finished)
		if b.outcome == "" {
			open = append(open, b.stream)
		}
		for _, i := range b.started {
			if _, ended := b.finished[i]; !ended && b.outcome != "aborted" {
				open = append(open, b.stream)
			}
		}
	}
	if len(open) > 0 {
		return missing("%s has no end", open[0])
	}
	return proved("%d commands in %d batches began and ended", n, len(c.deal.batches))
}

// last are the newest notes, one for each activity, in order.
func (d deal) last() []document {
	var out []document
	for _, n := range d.notes {
		if i := slices.IndexFunc(out, func(o document) bool { return o.activity == n.activity }); i >= 0 {
			out[i] = n
			continue
		}
		out = append(out, n)
	}
	return out
}

func (c *checker) monotone() answer {
	if len(c.deal.notes) == 0 {
		return missing("no debit note is shown")
	}
	highest := map[string]money.Amount{}
	for _, n := range c.deal.notes {
		if n.amount.Less(highest[n.activity]) {
			return disproved("note %s over %s comes after one over %s", n.id, n.amount, highest[n.activity])
		}
		highest[n.activity] = n.amount
	}
	return proved("%d debit notes never fall", len(c.deal.notes))
}

func (c *checker) usage() answer {
	if len(c.deal.notes) == 0 {
		return missing("no debit note is shown")
	}
	var lacks []string
	for _, n := range c.deal.notes {
		if n.vector == "" || n.heard {
			continue // what the other party counted stands in its message
		}
		id, err := es.ParseID(n.usageEvent)
		r, ok := c.deal.readings[id]
		switch {
		case err != nil || !ok:
			lacks = append(lacks, n.id)
		case r.vector != n.vector || r.activity != n.activity:
			return disproved("note %s is not about the reading that it names", n.id)
		}
	}
	if len(lacks) > 0 {
		return missing("the readings of notes %q are not shown", lacks)
	}
	if c.Side == "R" {
		if a := c.letters(); a.verdict != Proved {
			return answer{a.verdict, "the notes are not shown as they were signed"}
		}
	}
	return proved("each debit note has its reading")
}

// price computes each note anew. An activity's cost never falls, so a note may
// also repeat the one before it.
func (c *checker) price() answer {
	if len(c.deal.notes) == 0 {
		return missing("no debit note is shown")
	}
	prices := terms.Parse(c.deal.terms.OfferProperties).Numbers(terms.Coefficients)
	if len(prices) == 0 {
		return missing("the agreement has no linear prices")
	}
	before := map[string]money.Amount{}
	for _, n := range c.deal.notes {
		want, err := pricing.Cost(prices, numbers(n.vector))
		if err != nil {
			return disproved("note %s: %v", n.id, err)
		}
		if want = want.Max(before[n.activity]); want.Cmp(n.amount) != 0 {
			return disproved("note %s asks for %s, usage × price is %s", n.id, n.amount, want)
		}
		before[n.activity] = n.amount
	}
	return proved("usage × price is the amount of each debit note")
}

func numbers(vector string) []string {
	var n []json.Number
	if vector == "" || json.Unmarshal([]byte(vector), &n) != nil {
		return nil
	}
	out := make([]string, len(n))
	for i, v := range n {
		out[i] = v.String()
	}
	return out
}

// bill is the invoice that counts.
func (d deal) bill() (document, bool) {
	for i := len(d.invoices) - 1; i >= 0; i-- {
		if !d.invoices[i].cancelled {
			return d.invoices[i], true
		}
	}
	return document{}, false
}

func (c *checker) invoice() answer {
	i, ok := c.deal.bill()
	if !ok {
		return missing("no invoice is shown")
	}
	var sum money.Amount
	for _, n := range c.deal.last() {
		sum = sum.Add(n.amount)
	}
	if sum.Cmp(i.amount) != 0 {
		if c.report.Of(ClaimLogStreams) != Proved {
			return missing("the debit notes that are shown do not add up to the invoice, and something is left out")
		}
		return disproved("the invoice asks for %s, the debit notes for %s", i.amount, sum)
	}
	return proved("the invoice over %s is the sum of the last debit notes", i.amount)
}

// due are the documents that must be accepted: the invoice, or else the last
// note of each activity.
func (d deal) due() []document {
	if i, ok := d.bill(); ok {
		return []document{i}
	}
	return d.last()
}

// owed is what was accepted of what is due, and whether that is all.
func (d deal) owed() (sum money.Amount, all bool) {
	due := d.due()
	for _, doc := range due {
		ok := slices.ContainsFunc(d.accepted, func(a acceptance) bool { return a.document == doc.id })
		if !ok {
			return sum, false
		}
		sum = sum.Add(doc.amount)
	}
	return sum, len(due) > 0
}

func (c *checker) accepted() answer {
	var unseen []string
	all := slices.Concat(c.deal.notes, c.deal.invoices)
	for _, a := range c.deal.accepted {
		i := slices.IndexFunc(all, func(d document) bool { return d.id == a.document })
		switch {
		case i < 0:
			unseen = append(unseen, a.document)
		case all[i].amount.Cmp(a.amount) != 0:
			return disproved("%s is over %s, and was accepted for %s", a.document, all[i].amount, a.amount)
		}
	}
	if len(unseen) > 0 {
		return missing("%q was accepted, but is not shown", unseen)
	}
	sum, ok := c.deal.owed()
	if !ok {
		return missing("not all that is due was accepted")
	}
	return proved("the requestor accepted to pay %s", sum)
}
