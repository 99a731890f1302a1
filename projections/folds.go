package projections

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/emet-node/emet/domain/es"
)

// Limits of looking back.
const (
	maxFolds    = 2                // at the same time; others wait
	maxFoldTime = 60 * time.Second // with the wait
	maxFoldSize = 256 << 20        // bytes in memory
)

// ErrFolds says that a look at the past was given up: too many at the same
// time, or too large.
var ErrFolds = errors.New("looking back takes too long or too much memory: ask again later, or about a later moment")

var folds = struct {
	running chan struct{}
	refused atomic.Int64
}{running: make(chan struct{}, maxFolds)}

// Folds is how many looks at the past are being made, how many may at the same
// time, and how many were given up, of this process.
func Folds() (used, most, refused int64) {
	return int64(len(folds.running)), maxFolds, folds.refused.Load()
}

// AsOf folds the log up to position pos (exclusive) into memory. The result
// answers the same questions and never changes; close it after use. It fails
// with [ErrFolds] when it takes too long or too much.
func (d *DB) AsOf(ctx context.Context, pos es.Position) (*DB, error) {
	return d.asOf(ctx, pos, maxFoldTime, maxFoldSize)
}

func (d *DB) asOf(ctx context.Context, pos es.Position, within time.Duration, size int64) (*DB, error) {
	fold, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	select {
	case folds.running <- struct{}{}:
		defer func() { <-folds.running }()
	case <-fold.Done():
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		folds.refused.Add(1)
		return nil, ErrFolds
	}
	past, err := d.fold(fold, pos, size)
	if err != nil && ctx.Err() == nil && (fold.Err() != nil || strings.Contains(err.Error(), "is full")) {
		folds.refused.Add(1)
		return nil, fmt.Errorf("%w: %w", ErrFolds, err)
	}
	return past, err
}

func (d *DB) fold(ctx context.Context, pos es.Position, size int64) (*DB, error) {
	past := &DB{name: d.name + "@" + fmt.Sprint(pos), path: Memory, views: d.views, frozen: true}
	past.wire()
	past.log = &es.Log{Store: upTo{d.log.Store, pos}, Codec: d.log.Codec, Sealer: d.log.Sealer}
	if err := past.open(Memory); err != nil {
		return nil, err
	}
	var page int64
	err := past.write.QueryRowContext(ctx, `PRAGMA page_size`).Scan(&page)
	if err == nil {
		_, err = past.write.ExecContext(ctx, fmt.Sprintf(`PRAGMA max_page_count = %d`, max(size/page, 1)))
	}
	if err != nil {
		past.close() //nolint:errcheck // the first error counts
		return nil, err
	}
	if err := past.catchUp(ctx); err != nil {
		past.close() //nolint:errcheck // the first error counts
		return nil, err
	}
	return past, nil
}
