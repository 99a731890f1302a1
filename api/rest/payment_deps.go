package rest

import (
	"context"
	"time"

	"github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/market/agreement"
	pay "github.com/emet-node/emet/domain/payment"
	"github.com/emet-node/emet/domain/payment/allocation"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/cycle"
	"github.com/emet-node/emet/domain/payment/onchain"
	"github.com/emet-node/emet/projections"
)

// PaymentDeps is what the payment handlers ask.
type PaymentDeps struct {
	Activities  Aggregate[activity.Command, activity.State]
	Agreements  Aggregate[agreement.Command, agreement.State]
	Allocations Aggregate[allocation.Command, allocation.State]
	Bills       Aggregate[bill.Command, bill.State]
	Cycles      Aggregate[cycle.Command, cycle.State]
	// Ops carries out what changes several streams at once; *ops.Ops does.
	Ops   Ops
	Views PaymentViews
	Funds Funds
	// Networks are those on which this node can pay, in the order in which they
	// are shown.
	Networks []onchain.Profile
	// DefaultNetwork is meant by those who name none, e.g. "hoodi".
	DefaultNetwork string
	// Cycle says how often a new payer settles, and how much longer its payees
	// may have to wait; nil means cycle.Defaults.
	Cycle func(pay.Platform) (interval, extra time.Duration)
	// SkipValidation lets developers allocate money that is not there.
	SkipValidation bool
}

// Ops carries out commands of package ops. The id is for reading only.
type Ops interface {
	Handle(ctx context.Context, id string, cmd any, m es.Meta) error
}

// Funds asks chains.
type Funds interface {
	// Observe asks the chain of a platform what an address holds, and records it
	// in its wallet.
	Observe(ctx context.Context, owner identity.NodeID, platform pay.Platform, address string) error
}

// PaymentViews answer what is not in one stream; *projections.Payment does.
type PaymentViews interface {
	Accounts(ctx context.Context, owner identity.NodeID) ([]projections.AccountRow, error)
	Allocations(ctx context.Context, f projections.AllocationFilter) ([]projections.AllocationRow, error)
	BillEvents(ctx context.Context, f projections.BillEventFilter) ([]projections.BillEventRow, error)
	Cycles(ctx context.Context, owner identity.NodeID, platform pay.Platform) ([]projections.CycleRow, error)
	Documents(ctx context.Context, f projections.DocumentFilter) ([]projections.DocumentRow, error)
	Expenditures(ctx context.Context, owner identity.NodeID, allocationID string) ([]projections.ExpenditureRow, error)
	Health(ctx context.Context, owner identity.NodeID) (map[pay.Platform]string, error)
	OrderItems(ctx context.Context, owner identity.NodeID, orderID string) ([]projections.OrderItemRow, error)
	Orders(ctx context.Context, owner identity.NodeID, id string) ([]projections.OrderRow, error)
	PayActivities(ctx context.Context, f projections.TotalsFilter) ([]projections.TotalsRow, error)
	PayAgreements(ctx context.Context, f projections.TotalsFilter) ([]projections.TotalsRow, error)
	Payments(ctx context.Context, f projections.PaymentFilter) ([]projections.PaymentRow, error)
}
