package projections

import (
	"context"
	"path/filepath"

	"github.com/emet-node/emet/domain/es"
)

// Market answers questions about subscriptions, proposals and agreements.
type Market struct {
	*DB
	proposals *proposalMemory // nil in the past
}

// OpenMarket opens the group in dir ([Memory] = none).
func OpenMarket(ctx context.Context, dir string, log *es.Log) (*Market, error) {
	return marketOf(ctx, Open, dir, log)
}

// ReadMarket reads the group as another process keeps it. See [OpenReadOnly].
func ReadMarket(ctx context.Context, dir string, log *es.Log) (*Market, error) {
	return marketOf(ctx, OpenReadOnly, dir, log)
}

func marketOf(ctx context.Context, open opener, dir string, log *es.Log) (*Market, error) {
	db, err := open(ctx, "market", in(dir, "market"), log, subscriptions{}, proposals{}, agreements{}, agreementEvents{})
	if err != nil {
		return nil, err
	}
	m := &Market{DB: db, proposals: &proposalMemory{}}
	if err := m.proposals.load(ctx, db); err != nil {
		db.Close() //nolint:errcheck // the first error counts
		return nil, err
	}
	db.after = append(db.after, m.proposals.hear)
	return m, nil
}

// in is the file of a group in a directory.
func in(dir, name string) string {
	if dir == Memory {
		return Memory
	}
	return filepath.Join(dir, name+".db")
}

// AsOf is the group as it was when the log had pos events. Close it after use.
func (m *Market) AsOf(ctx context.Context, pos es.Position) (*Market, error) {
	db, err := m.DB.AsOf(ctx, pos)
	return &Market{DB: db}, err
}
