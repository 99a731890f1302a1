// Package transaction carries planned transactions to the chain: sign, send,
// send again when their block is lost, and try again when what stood in the
// way of signing is gone.
package transaction

import (
	"maps"
	"slices"
	"strings"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity/account"
	"github.com/emet-node/emet/domain/payment/cycle"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/payment/wallet"
)

// State is the transactions of one address that wait for something.
type State struct {
	waiting map[string]tx.SigningReason // by stream id
	plans   map[string]plan             // that are not signed, by stream id
	told    map[uint64]string           // what stands in the way, by chain, as the wallet was told
	orders  []es.Order                  // that the wallet be told

	unlocked es.Position // when the address was last
}

// Saga is the process; an instance is one address, on all chains.
var Saga = es.Saga[State]{
	Name: "transaction",
	Hears: []string{
		"tx.planned.v1", "tx.signing_requested.v1", "tx.signing_failed.v1", "tx.signed.v1", "tx.orphaned.v1", "tx.superseded.v1",
		"identity.unlocked.v1", "wallet.funds_observed.v1", "cycle.run_requested.v1",
	},
	Instance: instance,
	Evolve:   evolve,
	React:    react,
}

func instance(r es.Recorded) string {
	switch e := r.Data.(type) {
	case tx.Planned:
		return e.Address
	case tx.SigningRequested:
		return e.Address
	case tx.SigningFailed:
		return e.Address
	case tx.Signed:
		return e.Address
	case tx.Orphaned:
		return e.Address
	case tx.Superseded:
		return e.Address
	case account.Unlocked:
		return strings.ToLower(string(e.Identity))
	case wallet.FundsObserved:
		return e.Address
	case cycle.RunRequested:
		return e.Address
	}
	return ""
}

func evolve(s State, r es.Recorded) State {
	id := r.Stream.Key()
	s.orders = nil
	switch e := r.Data.(type) {
	case tx.Planned:
		s.plans = with(s.plans, id, plan{said: e})
	case tx.SigningRequested:
		s.waiting = without(s.waiting, id)
	case account.Unlocked:
		s.unlocked = r.Position
	case tx.SigningFailed:
		s.waiting = with(s.waiting, id, e.Code)
		if p, unsigned := s.plans[id]; unsigned { // else it has lower fees, and is on its way
			p.failed = e.Code
			s.plans = with(s.plans, id, p)
		}
		return s.tell(e.ChainID, e.Address)
	case tx.Signed:
		s.waiting, s.plans = without(s.waiting, id), without(s.plans, id)
		return s.tell(e.ChainID, e.Address)
	case tx.Superseded:
		s.waiting, s.plans = without(s.waiting, id), without(s.plans, id)
		return s.tell(e.ChainID, e.Address)
	}
	return s
}

// with returns a copy of m in which k is v.
func with[K comparable, V any](m map[K]V, k K, v V) map[K]V {
	out := make(map[K]V, len(m)+1)
	maps.Copy(out, m)
	out[k] = v
	return out
}

// without returns a copy of m that lacks k.
func without[V any](m map[string]V, k string) map[string]V {
	out := maps.Clone(m)
	delete(out, k)
	return out
}

func react(s State, r es.Recorded) []es.Order {
	id := r.Stream.Key()
	switch e := r.Data.(type) {
	case tx.Planned:
		return []es.Order{{Category: tx.Category, ID: id, Identity: string(e.OwnerID), Command: tx.RequestSigning{}}}
	case tx.Signed, tx.Orphaned:
		return append([]es.Order{{Category: tx.Category, ID: id, Command: tx.RequestBroadcast{}}}, s.orders...)
	case tx.SigningFailed:
		// Was it unlocked between the wish and the failure? Nobody will say so again.
		if asked := r.Info.Cause; e.Code == tx.Locked && asked != nil && s.unlocked > *asked {
			return append([]es.Order{{Category: tx.Category, ID: id, Command: tx.RequestSigning{}}}, s.orders...)
		}
		return s.orders
	case tx.Superseded:
		return s.orders
	case account.Unlocked:
		return s.again(tx.Locked)
	case wallet.FundsObserved:
		return s.again(tx.NoGas, tx.NoToken)
	case cycle.RunRequested:
		return s.again(tx.Locked, tx.NoGas, tx.NoToken, tx.Rejected)
	}
	return nil
}

// again asks to sign what failed for one of these reasons.
func (s State) again(reasons ...tx.SigningReason) []es.Order {
	var out []es.Order
	for _, id := range slices.Sorted(maps.Keys(s.waiting)) {
		if slices.Contains(reasons, s.waiting[id]) {
			out = append(out, es.Order{Category: tx.Category, ID: id, Command: tx.RequestSigning{}})
		}
	}
	return out
}
