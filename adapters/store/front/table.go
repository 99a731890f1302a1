package front

import (
	"context"
	"iter"

	"github.com/emet-node/emet/adapters/store/leaf"
	"github.com/emet-node/emet/domain/es"
)

// Row is an event as a table keeps it, with what its leaf was made with.
type Row struct {
	es.Event
	Salts leaf.Salts
}

// Table is where the events of a log are. Rows that are handed out belong to
// the receiver.
type Table interface {
	// Write makes rows durable, all or none; the first one's position is the
	// number of rows there are. It fails with [es.ErrCommitUnknown] when it
	// cannot tell which, and with any other error when none is there.
	Write(ctx context.Context, rows []Row) error
	// Range yields the rows at [from, to), in either direction, that f matches.
	Range(ctx context.Context, from, to es.Position, d es.Direction, f es.Filter) iter.Seq2[Row, error]
	// At yields the rows at these positions, in their order.
	At(ctx context.Context, positions []es.Position) iter.Seq2[Row, error]
	Close() error
}

// Settler is a table that can find out later what became of a write.
type Settler interface {
	// Settle yields the rows from a position on that were written and not
	// acknowledged. A table that is no longer its own fails for good.
	Settle(ctx context.Context, from es.Position) iter.Seq2[Row, error]
}
