// Package ops are the few wishes about money that change more than one stream
// and must become true together or not at all. It decides nothing by itself:
// the aggregates do, inside one append.
package ops

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/allocation"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/order"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/payment/wallet"
)

// Category under which orders for this package travel. It is no category of
// streams; the id of such an order is for reading only.
const Category = "ops"

// ErrWrongAllocation says that an allocation is for another payer or platform
// than the document.
var ErrWrongAllocation = errors.New("the allocation does not fit the agreement")

// AcceptNote accepts a debit note (bill) and takes what it adds from an
// allocation. Refusals are those of bill.AcceptNote and allocation.Commit, and
// [ErrWrongAllocation].
type AcceptNote struct {
	AgreementID  string
	AllocationID string
	Amount       money.Decimal
	By           identity.Caller
	DebitNoteID  string
}

// AcceptInvoice accepts the invoice, as [AcceptNote].
type AcceptInvoice struct {
	AgreementID  string
	AllocationID string
	Amount       money.Decimal
	By           identity.Caller
	InvoiceID    string
}

// CreateAllocation sets a budget aside (allocation) and holds it in the wallet,
// which is taken into use if need be. The chain must have been asked about the
// wallet before (wallet.Observe). Refusals are those of allocation.Create and
// wallet.Reserve.
type CreateAllocation struct {
	allocation.Create
	Unchecked bool // developers may allocate money that is not there
}

// AmendAllocation changes a budget (allocation) and what the wallet holds for it.
type AmendAllocation struct {
	AllocationID string
	allocation.Amend
	Unchecked bool
}

// ReleaseAllocation gives back what is left of a budget.
type ReleaseAllocation struct {
	AllocationID string
	By           identity.Caller
}

// ExpireAllocation is [ReleaseAllocation] when the timeout has passed.
type ExpireAllocation struct {
	AllocationID string
	At           time.Time
}

// ReserveNonce seals a batch of an order, binds the wallet's next nonce to it
// and plans the transaction. Again for the same batch it is silence. Refusals
// are those of wallet.ReserveNonce and order.SealBatch.
type ReserveNonce struct {
	Address     string
	BatchID     string
	Calldata    string // 0x and hexadecimal digits
	ChainID     uint64
	Intents     []string
	OrderID     string
	OwnerID     identity.NodeID
	PayloadHash string
	Platform    payment.Platform
	To          string
	Value       money.Amount // of the native coin
}

// Ops carries the wishes out.
type Ops struct {
	Log         *es.Log
	Allocations *es.Aggregate[allocation.Command, allocation.Event, allocation.State]
	Bills       *es.Aggregate[bill.Command, bill.Event, bill.State]
	Orders      *es.Aggregate[order.Command, order.Event, order.State]
	Txs         *es.Aggregate[tx.Command, tx.Event, tx.State]
	Wallets     *es.Aggregate[wallet.Command, wallet.Event, wallet.State]
}

// New makes an Ops with aggregates of its own over a log. To share caches with
// the rest of the node, fill the fields instead.
func New(l *es.Log) *Ops {
	return &Ops{
		Log:         l,
		Allocations: es.NewAggregate(l, allocation.Category, allocation.Rules),
		Bills:       es.NewAggregate(l, bill.Category, bill.Rules),
		Orders:      es.NewAggregate(l, order.Category, order.Rules),
		Txs:         es.NewAggregate(l, tx.Category, tx.Rules),
		Wallets:     es.NewAggregate(l, wallet.Category, wallet.Rules),
	}
}

// Handle carries out any command of this package, so that Ops can stand among
// the aggregates. The id is not looked at.
func (o *Ops) Handle(ctx context.Context, id string, cmd any, m es.Meta) error {
	var plan func(*es.Tx) error
	switch c := cmd.(type) {
	case AcceptNote:
		plan = func(t *es.Tx) error { return o.acceptNote(t, c) }
	case AcceptInvoice:
		plan = func(t *es.Tx) error { return o.acceptInvoice(t, c) }
	case CreateAllocation:
		plan = func(t *es.Tx) error { return o.create(t, c) }
	case AmendAllocation:
		plan = func(t *es.Tx) error { return o.amend(t, c) }
	case ReleaseAllocation:
		plan = func(t *es.Tx) error { return o.giveBack(t, c.AllocationID, allocation.Release{By: c.By}) }
	case ExpireAllocation:
		plan = func(t *es.Tx) error { return o.giveBack(t, c.AllocationID, allocation.Expire{At: c.At}) }
	case ReserveNonce:
		plan = func(t *es.Tx) error { return o.reserveNonce(t, c) }
	default:
		return fmt.Errorf("%s-%s: %T: %w", Category, id, cmd, es.ErrWrongCommand)
	}
	_, err := o.Log.Atomically(ctx, m, plan)
	return err
}

func (o *Ops) acceptNote(t *es.Tx, c AcceptNote) error {
	accept := bill.AcceptNote{AllocationID: c.AllocationID, Amount: c.Amount, By: c.By, DebitNoteID: c.DebitNoteID}
	return o.accept(t, c.AgreementID, c.DebitNoteID, c.AllocationID, accept)
}

func (o *Ops) acceptInvoice(t *es.Tx, c AcceptInvoice) error {
	accept := bill.AcceptInvoice{AllocationID: c.AllocationID, Amount: c.Amount, By: c.By, InvoiceID: c.InvoiceID}
	return o.accept(t, c.AgreementID, c.InvoiceID, c.AllocationID, accept)
}

// accept lets the bill decide, and takes what it decided from the allocation.
func (o *Ops) accept(t *es.Tx, agreementID, documentID, allocationID string, cmd bill.Command) error {
	id := bill.StreamID(identity.Requestor, agreementID)
	before, err := o.Bills.Peek(t, id)
	if err != nil {
		return err
	}
	after, err := o.Bills.In(t, id, cmd)
	if err != nil {
		return err
	}
	was, _ := before.Document(documentID)
	is, _ := after.Document(documentID)
	if is.Status == was.Status {
		return nil // nothing was decided: accepted before, or the invoice was decided on
	}
	if err := o.fits(t, allocationID, after.Terms); err != nil {
		return err
	}
	_, err = o.Allocations.In(t, allocationID, allocation.Commit{
		ActivityID: is.Added.ActivityID, AgreementID: agreementID, Delta: is.Added.Amount(), DocumentID: documentID, Kind: is.Kind,
	})
	return err
}

func (o *Ops) fits(t *es.Tx, allocationID string, terms payment.Terms) error {
	a, err := o.Allocations.Peek(t, allocationID)
	switch {
	case err != nil:
		return err
	case a.ID == "":
		return fmt.Errorf("allocation %s: %w", allocationID, allocation.ErrUnknown)
	case !a.Active():
		return fmt.Errorf("allocation %s: %w", allocationID, allocation.ErrReleased)
	case a.Platform != terms.Platform || !payment.SameAddress(a.Address, terms.PayerAddr):
		return fmt.Errorf("%w: it pays from %s on %s, the agreement from %s on %s", ErrWrongAllocation,
			a.Address, a.Platform, terms.PayerAddr, terms.Platform)
	}
	return nil
}

func (o *Ops) create(t *es.Tx, c CreateAllocation) error {
	a, err := o.Allocations.In(t, c.AllocationID, c.Create)
	if err != nil {
		return err
	}
	id := wallet.StreamID(a.ChainID, a.Address)
	if _, err := o.Wallets.In(t, id, wallet.Open{
		Address: a.Address, By: c.By, ChainID: a.ChainID, OwnerID: a.OwnerID, Platform: a.Platform,
	}); err != nil {
		return err
	}
	_, err = o.Wallets.In(t, id, wallet.Reserve{AllocationID: a.ID, Amount: a.Total, Unchecked: c.Unchecked})
	return err
}

func (o *Ops) amend(t *es.Tx, c AmendAllocation) error {
	before, err := o.Allocations.Peek(t, c.AllocationID)
	if err != nil {
		return err
	}
	after, err := o.Allocations.In(t, c.AllocationID, c.Amend)
	if err != nil {
		return err
	}
	id := wallet.StreamID(after.ChainID, after.Address)
	if more := after.Total.Sub(before.Total); more.Sign() >= 0 {
		_, err = o.Wallets.In(t, id, wallet.Reserve{AllocationID: after.ID, Amount: more, Unchecked: c.Unchecked})
	} else {
		_, err = o.Wallets.In(t, id, wallet.Return{AllocationID: after.ID, Amount: more.Neg()})
	}
	return err
}

func (o *Ops) giveBack(t *es.Tx, allocationID string, cmd allocation.Command) error {
	before, err := o.Allocations.Peek(t, allocationID)
	if err != nil {
		return err
	}
	after, err := o.Allocations.In(t, allocationID, cmd)
	if err != nil || before.Closed == after.Closed {
		return err
	}
	_, err = o.Wallets.In(t, wallet.StreamID(after.ChainID, after.Address), wallet.Return{
		AllocationID: allocationID, Amount: before.Remaining(),
	})
	return err
}

func (o *Ops) reserveNonce(t *es.Tx, c ReserveNonce) error {
	w, err := o.Wallets.In(t, wallet.StreamID(c.ChainID, c.Address), wallet.ReserveNonce{BatchID: c.BatchID, OrderID: c.OrderID})
	if err != nil {
		return err
	}
	nonce, ok := w.NonceOf(c.BatchID)
	if !ok {
		return nil // the key was seen: it is all there
	}
	if _, err := o.Orders.In(t, c.OrderID, order.SealBatch{
		BatchID: c.BatchID, Calldata: c.Calldata, Intents: c.Intents, Nonce: nonce, To: c.To, Value: c.Value,
	}); err != nil {
		return err
	}
	_, err = o.Txs.In(t, tx.StreamID(c.ChainID, c.Address, nonce), tx.Plan{
		Address: c.Address, BatchID: c.BatchID, Calldata: c.Calldata, ChainID: c.ChainID, Nonce: nonce, OrderID: c.OrderID,
		OwnerID: c.OwnerID, PayloadHash: c.PayloadHash, Platform: c.Platform, To: c.To, Value: c.Value,
	})
	return err
}
