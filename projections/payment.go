package projections

import (
	"context"

	"github.com/emet-node/emet/domain/es"
)

// Payment answers questions about bills, budgets, payments and wallets.
type Payment struct{ *DB }

// OpenPayment opens the group in dir ([Memory] = none).
func OpenPayment(ctx context.Context, dir string, log *es.Log) (*Payment, error) {
	return paymentOf(ctx, Open, dir, log)
}

// ReadPayment reads the group as another process keeps it. See [OpenReadOnly].
func ReadPayment(ctx context.Context, dir string, log *es.Log) (*Payment, error) {
	return paymentOf(ctx, OpenReadOnly, dir, log)
}

func paymentOf(ctx context.Context, open opener, dir string, log *es.Log) (*Payment, error) {
	db, err := open(ctx, "payment", in(dir, "payment"), log,
		bills{}, billEvents{}, totals{}, allocations{}, orders{}, payments{}, accounts{}, books{})
	if err != nil {
		return nil, err
	}
	return &Payment{DB: db}, nil
}

// AsOf is the group as it was when the log had pos events. Close it after use.
func (p *Payment) AsOf(ctx context.Context, pos es.Position) (*Payment, error) {
	db, err := p.DB.AsOf(ctx, pos)
	return &Payment{DB: db}, err
}
