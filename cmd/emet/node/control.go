package node

import (
	"context"
	"errors"
	"fmt"

	"github.com/emet-node/emet/adapters/bus"
	"github.com/emet-node/emet/adapters/secrets"
	"github.com/emet-node/emet/api/control"
	"github.com/emet-node/emet/api/rest"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/account"
	"github.com/emet-node/emet/domain/identity/appkey"
)

// Operator is what the person at the machine may do with a node. It is a
// control.Deps on a ledger that is open for writing.
type Operator struct {
	l       *Ledger
	agg     *Aggregates
	people  *people
	courier *bus.Courier
}

var _ control.Deps = (*Operator)(nil)

// OpenOperator opens a data directory, on which no node runs, for the
// operator. It fails with es.ErrLocked when one does. Close ends it.
func OpenOperator(ctx context.Context, o Options) (*Operator, func() error, error) {
	l, err := OpenLedger(ctx, o)
	if err != nil {
		return nil, nil, err
	}
	stop := follow(ctx, l.Views())
	agg := newAggregates(l.Log)
	p := &people{l: l, agg: agg, ours: make(map[identity.NodeID]bool), fleeting: make(map[string]rest.Key)}
	return &Operator{l: l, agg: agg, people: p, courier: newCourier(l, o)}, func() error { stop(); return l.Close() }, nil
}

func newKey() string { return "operator/" + randomHex(16) }

// bad says that an error of the rules is the asker's matter.
func bad(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, identity.ErrForbidden):
		return fmt.Errorf("%w: %w", control.ErrRefused, err)
	case errors.Is(err, appkey.ErrUnknown), errors.Is(err, account.ErrUnknown), errors.Is(err, secrets.ErrNoKey):
		return fmt.Errorf("%w: %w", control.ErrNotFound, err)
	case errors.Is(err, es.ErrDegraded), errors.Is(err, es.ErrClosed), errors.Is(err, es.ErrCommitUnknown), errors.Is(err, es.ErrTrouble):
		return err
	}
	return fmt.Errorf("%w: %w", control.ErrBad, err)
}
