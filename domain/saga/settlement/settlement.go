// Package settlement turns what a requestor has accepted into transfers. A run
// of a cycle gathers all debts that are not scheduled; they become intents,
// one transfer for each payee; an intent is bound to the debts before anything
// is signed for it, and the debts are paid when the transfer is on the chain.
package settlement

import (
	"encoding/hex"
	"slices"
	"strings"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/cycle"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/domain/payment/order"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/payment/wallet"
)

// Config is what a node knows of chains and cycles.
type Config struct {
	// Profile describes the chain of a platform. Debts on a platform without
	// one wait.
	Profile func(payment.Platform) (onchain.Profile, bool)
	// Cycle says how often a new payer settles; nil means cycle.Defaults.
	Cycle func(payment.Platform) (interval, extra time.Duration)
	// Minimum is what a transfer must exceed; smaller debts wait and add up.
	Minimum money.Amount
}

// State is the debts and transfers of all payers of the node. Payees may share
// a transfer across agreements, so one process sees them all. It belongs to
// the process and is changed in place.
type State struct {
	bills    map[string]payment.Terms  // by agreement
	debts    map[string][]debt         // not in any order, by cycle
	orders   map[string]*run           // open orders
	intents  map[string]*transfer      // by id, of open orders
	prepared map[string][][]order.Open // by cycle, those of each run of which none is open yet
	credits  map[string][]*credit      // transfers that were learned from the chain, by cycle
	carried  map[string]*credit        // by the intent that one of them carries
}

type debt struct {
	payee string // address
	rng   payment.Range
}

// run is one open order.
type run struct {
	opened  order.Opened
	intents []string
	final   map[string]bool // intents whose transfer is final
}

// transfer is one intent.
type transfer struct {
	intent    order.IntentRecorded
	scheduled map[string]bool // agreements that know of it
	batch     string          // live batch
}

// New makes the saga.
func New(c Config) es.Saga[*State] {
	if c.Cycle == nil {
		c.Cycle = cycle.Defaults
	}
	return es.Saga[*State]{
		Name: "settlement",
		Hears: []string{
			"allocation.created.v1", "bill.opened.v1", "bill.note_accepted.v1", "bill.invoice_accepted.v1",
			"bill.scheduled.v1", "bill.settled.v1", "cycle.run_requested.v1",
			"order.opened.v1", "order.intent_recorded.v1", "order.batch_sealed.v1", "order.batch_returned.v1",
			"order.completed.v1", "order.transfer_adopted.v1", "tx.included.v1", "tx.orphaned.v1", "tx.finalised.v1", "tx.reverted.v1",
			"tx.superseded.v1", "wallet.transfer_learned.v1",
		},
		Instance: func(es.Recorded) string { return "node" },
		Evolve:   c.evolve,
		React:    c.react,
	}
}

func newState() *State {
	return &State{
		bills: make(map[string]payment.Terms), debts: make(map[string][]debt), orders: make(map[string]*run),
		intents: make(map[string]*transfer), prepared: make(map[string][][]order.Open),
		credits: make(map[string][]*credit), carried: make(map[string]*credit),
	}
}

func (c Config) evolve(s *State, r es.Recorded) *State {
	if s == nil {
		s = newState()
	}
	switch e := r.Data.(type) {
	case bill.Opened:
		if e.Side == identity.Requestor {
			s.bills[e.AgreementID] = payment.Terms{
				PayeeAddr: e.PayeeAddr, PayeeID: e.PayeeID, PayerAddr: e.PayerAddr, PayerID: e.PayerID, Platform: e.Platform,
			}
		}
	case bill.NoteAccepted:
		s.owe(payment.Range{
			ActivityID: e.ActivityID, AgreementID: e.AgreementID, AllocationID: e.AllocationID, From: e.From, To: e.To,
		})
	case bill.InvoiceAccepted:
		s.owe(payment.Range{AgreementID: e.AgreementID, AllocationID: e.AllocationID, From: e.From, To: e.To})
	case cycle.RunRequested:
		c.prepare(s, r, e)
	case bill.Scheduled:
		if t := s.intents[e.IntentID]; t != nil {
			t.scheduled[e.AgreementID] = true
		}
	case wallet.TransferLearned:
		s.learn(e)
	default:
		s.hearOrder(e)
	}
	return s
}

func (s *State) hearOrder(e any) {
	switch e := e.(type) {
	case order.Opened:
		s.orders[e.OrderID] = &run{opened: e, final: make(map[string]bool)}
		s.prepared[e.CycleID] = slices.DeleteFunc(s.prepared[e.CycleID], func(run []order.Open) bool {
			return slices.ContainsFunc(run, func(o order.Open) bool { return o.OrderID == e.OrderID })
		})
	case order.IntentRecorded:
		if o := s.orders[e.OrderID]; o != nil {
			o.intents = append(o.intents, e.IntentID)
		}
		s.intents[e.IntentID] = &transfer{intent: e, scheduled: make(map[string]bool)}
	case order.BatchSealed:
		for _, id := range e.Intents {
			if t := s.intents[id]; t != nil {
				t.batch = e.BatchID
			}
		}
	case order.TransferAdopted:
		if t := s.intents[e.IntentID]; t != nil {
			t.batch = "adopted/" + e.TxHash
			s.orders[e.OrderID].final[e.IntentID] = true
		}
	case order.BatchReturned:
		for _, t := range s.inBatch(e.OrderID, e.BatchID) {
			t.batch = ""
		}
	case order.Completed:
		if o := s.orders[e.OrderID]; o != nil {
			for _, id := range o.intents {
				delete(s.intents, id)
				delete(s.carried, id)
			}
		}
		delete(s.orders, e.OrderID)
	case tx.Finalised:
		for _, t := range s.inBatch(e.OrderID, e.BatchID) {
			s.orders[e.OrderID].final[t.intent.IntentID] = true
		}
	}
}

// owe adds an accepted range to what the next run gathers.
func (s *State) owe(r payment.Range) {
	t, ok := s.bills[r.AgreementID]
	if !ok || r.Amount().IsZero() {
		return
	}
	r.PayeeID = t.PayeeID
	key := cycle.StreamID(t.Platform, t.PayerAddr)
	s.debts[key] = append(s.debts[key], debt{payee: strings.ToLower(t.PayeeAddr), rng: r})
}

// intentID names the wish to pay ranges; false says that nothing of the kind can
// be paid.
func intentID(p onchain.Profile, payer, payee string, ranges []payment.Range) (string, bool) {
	from, err := onchain.ParseAddress(payer)
	if err != nil {
		return "", false
	}
	to, err := onchain.ParseAddress(payee)
	if err != nil {
		return "", false
	}
	out := make([]onchain.Range, len(ranges))
	for i, r := range ranges {
		if r.To.Wei().BitLen() > 256 {
			return "", false
		}
		out[i] = onchain.Range{ActivityID: r.ActivityID, AgreementID: r.AgreementID, From: r.From.Wei(), To: r.To.Wei()}
	}
	id := onchain.IntentID(p.ChainID, p.Token, from, to, out)
	return hex.EncodeToString(id[:]), true
}

// inBatch are the transfers of one batch, in the order of their intents.
func (s *State) inBatch(orderID, batchID string) []*transfer {
	o := s.orders[orderID]
	if o == nil {
		return nil
	}
	var out []*transfer
	for _, id := range o.intents {
		if t := s.intents[id]; t != nil && t.batch == batchID {
			out = append(out, t)
		}
	}
	return out
}

// ready says whether all agreements know of the transfer.
func (t *transfer) ready() bool { return len(t.scheduled) == len(agreements(t.intent.Ranges)) }

func agreements(ranges []payment.Range) []string {
	var out []string
	for _, r := range ranges {
		if !slices.Contains(out, r.AgreementID) {
			out = append(out, r.AgreementID)
		}
	}
	return out
}

func of(ranges []payment.Range, agreementID string) []payment.Range {
	return slices.DeleteFunc(slices.Clone(ranges), func(r payment.Range) bool { return r.AgreementID != agreementID })
}

func sorted(m map[string][]payment.Range) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// payment is the transfer as a call has it.
func (t *transfer) payment() (onchain.Payment, error) {
	to, err := onchain.ParseAddress(t.intent.PayeeAddr)
	return onchain.Payment{Amount: t.intent.Amount.Wei(), To: to}, err
}
