package verifier

import (
	"encoding/json"
	"math/big"
)

// commands says whether all that began has one end.
func (x *examiner) commands() verdict {
	open := len(x.batches) == 0
	for name, b := range x.batches {
		if b.contradicts {
			return no("%s: a command ended in two ways", name)
		}
		open = open || b.closed == ""
		for _, i := range b.started {
			_, ended := b.ended[i]
			open = open || !ended && b.closed != "aborted"
		}
	}
	if open {
		return lacks("commands without an end, or none at all")
	}
	return yes
}

var noNotes = lacks("there is no debit note")

// monotone says whether the notes of each activity grow.
func (x *examiner) monotone() verdict {
	if len(x.notes) == 0 {
		return noNotes
	}
	for i, n := range x.notes {
		for _, before := range x.notes[:i] {
			if before.activity == n.activity && before.amount.Cmp(n.amount) > 0 {
				return no("note %s asks for less than one before it", n.id)
			}
		}
	}
	return yes
}

// usage holds each note against the reading that it names.
func (x *examiner) usage() verdict {
	if len(x.notes) == 0 {
		return noNotes
	}
	worst := yes
	for _, n := range x.notes {
		if n.vector == "" || n.theirs {
			continue
		}
		r, ok := x.readings[n.reading]
		if !ok {
			worst = lacks("the reading of note %s is not shown", n.id)
		} else if r != (reading{n.activity, n.vector}) {
			return no("note %s does not say what its reading says", n.id)
		}
	}
	if worst.is == Proved && x.Side == "R" {
		worst = x.messages()
	}
	return worst
}

// cost is the last price and the sum of the others times usage, in 10⁻¹⁸.
// Usage below zero counts as zero, and no price may be below zero.
func cost(prices, usage []json.Number) (*big.Int, bool) {
	if len(usage) != 0 && len(usage) != len(prices)-1 {
		return nil, false
	}
	sum, ok := decimal(prices[len(prices)-1].String())
	if !ok || sum.Sign() < 0 {
		return nil, false
	}
	for i := range usage {
		p, ok1 := decimal(prices[i].String())
		u, ok2 := decimal(usage[i].String())
		if !ok1 || !ok2 || p.Sign() < 0 {
			return nil, false
		}
		if u.Sign() > 0 {
			sum.Add(sum, p.Mul(p, u))
		}
	}
	sum.Mul(sum, places)
	twice := new(big.Int).Add(new(big.Int).Lsh(sum.Num(), 1), sum.Denom()) // half up
	return twice.Div(twice, new(big.Int).Lsh(sum.Denom(), 1)), true
}

// prices are the linear coefficients of the offer, the last one for the start;
// none when the offer has no such prices.
func (t terms) prices() (prices []json.Number) {
	var properties map[string]json.RawMessage
	if json.Unmarshal([]byte(t.OfferProperties), &properties) != nil ||
		json.Unmarshal(properties["golem.com.pricing.model.linear.coeffs"], &prices) != nil {
		return nil
	}
	return prices
}

// price computes every note anew.
func (x *examiner) price() verdict {
	if len(x.notes) == 0 {
		return noNotes
	}
	prices := x.terms.prices()
	if len(prices) == 0 {
		return lacks("there are no linear prices")
	}
	highest := map[string]*big.Int{}
	for _, n := range x.notes {
		var usage []json.Number
		if n.vector != "" && json.Unmarshal([]byte(n.vector), &usage) != nil {
			usage = nil
		}
		want, ok := cost(prices, usage)
		if !ok {
			return no("note %s cannot be computed", n.id)
		}
		if before := highest[n.activity]; before != nil && before.Cmp(want) > 0 {
			want = before
		}
		if want.Cmp(n.amount) != 0 {
			return no("note %s is not usage × price", n.id)
		}
		highest[n.activity] = n.amount
	}
	return yes
}
