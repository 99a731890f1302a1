package settlement

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/cycle"
	"github.com/emet-node/emet/domain/payment/order"
)

// How much JSON of ranges one intent and one order hold. The names in them are
// the payees' choice; what does not fit into a fact or a message would never be
// paid, and everybody's debts with it.
const (
	intentWeight = 32 << 10
	orderWeight  = 512 << 10
	orderIntents = 1000
)

// prepare makes orders of what is owed, and takes it off the debts. The ids of
// the orders follow from the fact that asked for the run.
func (c Config) prepare(s *State, r es.Recorded, e cycle.RunRequested) {
	key := cycle.StreamID(e.Platform, e.Address)
	profile, ok := c.Profile(e.Platform)
	if !ok {
		return
	}
	byPayee := make(map[string][]payment.Range)
	for _, d := range s.debts[key] {
		byPayee[d.payee] = append(byPayee[d.payee], d.rng)
	}
	var intents []order.Intent
	payer := strings.ToLower(e.Address)
	s.debts[key] = nil
	for _, payee := range sorted(byPayee) {
		ranges := joined(byPayee[payee])
		for _, paid := range s.settledBefore(key, payee, &ranges) {
			if id, ok := intentID(profile, payer, payee, paid.ranges); ok {
				intents = append(intents, order.Intent{ID: id, PayeeAddr: payee, Ranges: paid.ranges})
				s.carried[id] = paid.by
			}
		}
		enough := c.Minimum.Less(payment.Total(ranges))
		for _, part := range parts(ranges) {
			if id, ok := intentID(profile, payer, payee, part); ok && enough {
				intents = append(intents, order.Intent{ID: id, PayeeAddr: payee, Ranges: part})
				continue
			}
			for _, rng := range part { // it waits and adds up
				s.debts[key] = append(s.debts[key], debt{payee: payee, rng: rng})
			}
		}
	}
	var run []order.Open
	for i, some := range orders(intents) {
		name := fmt.Sprintf("order/%s/%d", key, r.Position)
		if i > 0 {
			name += fmt.Sprintf("/%d", i)
		}
		run = append(run, order.Open{
			ChainID: profile.ChainID, CycleID: key, Intents: some, OrderID: es.NameID(es.ID{}, name).String(), PayerAddr: payer,
			PayerID: e.OwnerID, Platform: e.Platform,
		})
	}
	if len(run) > 0 {
		s.prepared[key] = append(s.prepared[key], run)
	}
}

// joined makes one range of those that follow each other in one debt, on one
// budget.
func joined(ranges []payment.Range) []payment.Range {
	var out []payment.Range
	last := make(map[string]int) // by debt
	for _, r := range ranges {
		key := r.AgreementID + "/" + r.ActivityID
		if i, ok := last[key]; ok && out[i].To.Equal(r.From) && out[i].AllocationID == r.AllocationID && out[i].PayeeID == r.PayeeID {
			out[i].To = r.To
			continue
		}
		last[key] = len(out)
		out = append(out, r)
	}
	return out
}

// parts cuts ranges, in order, so that each part is an intent.
func parts(ranges []payment.Range) (out [][]payment.Range) {
	sum := 0
	for i, r := range ranges {
		w := weight(r)
		if sum += w; i == 0 || sum > intentWeight {
			out, sum = append(out, nil), w
		}
		out[len(out)-1] = append(out[len(out)-1], r)
	}
	return out
}

// orders cuts intents, in order, so that each part is an order.
func orders(intents []order.Intent) (out [][]order.Intent) {
	sum := 0
	for i, t := range intents {
		w := weight(t.Ranges)
		if sum += w; i == 0 || sum > orderWeight || len(out[len(out)-1]) == orderIntents {
			out, sum = append(out, nil), w
		}
		out[len(out)-1] = append(out[len(out)-1], t)
	}
	return out
}

func weight(x any) int {
	b, _ := json.Marshal(x) //nolint:errchkjson // ranges are texts
	return len(b)
}
