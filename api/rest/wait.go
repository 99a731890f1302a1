package rest

import (
	"context"
	"errors"
	"time"

	"github.com/emet-node/emet/domain/es"
)

// News is what long polls need of the log.
type News interface {
	// Head is the position that the next fact gets.
	Head(ctx context.Context) (es.Position, error)
	// Wait blocks until a matching fact later than after is in the log, or ctx
	// ends.
	Wait(ctx context.Context, after es.Position, f es.Filter) error
}

// late says whether waiting ended because nothing came in time. In the past
// nothing comes; who polls it in a loop is held back as ever, unless it asked
// about one moment only.
func late(ctx, deadline context.Context, err error) bool {
	if errors.Is(err, es.ErrPast) {
		if ctx.Value(hasty{}) == nil {
			<-deadline.Done()
		}
		return ctx.Err() == nil
	}
	return errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil
}

// poll looks for something until look finds it, waiting for facts in between,
// at most for the given time. At the end of the time it returns what look
// returned last, and no error. It ends with ctx's error when the client leaves.
func poll[T any](ctx context.Context, news News, f es.Filter, wait time.Duration, look func(context.Context) (v T, found bool, err error)) (T, error) {
	deadline, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	for {
		head, err := news.Head(ctx)
		if err != nil {
			var zero T
			return zero, err
		}
		v, found, err := look(ctx)
		if err != nil || found || wait <= 0 {
			return v, err
		}
		if err := news.Wait(deadline, head, f); err != nil {
			if late(ctx, deadline, err) {
				return v, nil
			}
			return v, err
		}
	}
}
