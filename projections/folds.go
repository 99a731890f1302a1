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

// bounded makes the tables of a group of the past within the limits.
func (d *DB) bounded(ctx context.Context, now *DB, n es.Position, within time.Duration, size int64) error {
	fold, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	select {
	case folds.running <- struct{}{}:
		defer func() { <-folds.running }()
	case <-fold.Done():
		if ctx.Err() != nil {
			return ctx.Err()
		}
		folds.refused.Add(1)
		return ErrFolds
	}
	err := d.become(fold, now, n, size)
	if err != nil && ctx.Err() == nil && (fold.Err() != nil || strings.Contains(err.Error(), "is full")) {
		folds.refused.Add(1)
		return fmt.Errorf("%w: %w", ErrFolds, err)
	}
	return err
}

// confine bounds what the tables may take in memory.
func (d *DB) confine(ctx context.Context, size int64) error {
	var page int64
	err := d.write.QueryRowContext(ctx, `PRAGMA page_size`).Scan(&page)
	if err == nil {
		_, err = d.write.ExecContext(ctx, fmt.Sprintf(`PRAGMA max_page_count = %d`, max(size/page, 1)))
	}
	return err
}
