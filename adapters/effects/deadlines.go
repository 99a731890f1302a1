package effects

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/saga/expiry"
)

// Deadlines gives the commands that time asks for. It is the only reader of a
// clock among the things that decide.
type Deadlines struct {
	Log    *es.Log
	Router Router
	Policy expiry.Policy
	Logger *slog.Logger
}

// Run folds the whole log, fires what is overdue in order, and then waits for
// the next deadline or the next fact, until ctx ends.
func (d *Deadlines) Run(ctx context.Context) error {
	book := &expiry.Book{Policy: d.Policy}
	book.Policy.Started = time.Now().UTC()
	facts := make(chan es.Message)
	failed := make(chan error, 1)
	following, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { failed <- d.follow(following, facts) }()
	caughtUp := false
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if caughtUp {
			timer.Reset(d.fire(ctx, book))
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-failed:
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("deadlines: %w", err)
		case <-timer.C:
		case m := <-facts:
			caughtUp = caughtUp || m.CaughtUp
			if m.Event == nil {
				continue
			}
			r, err := d.Log.Decode(ctx, *m.Event)
			if err != nil {
				return fmt.Errorf("deadlines: %w", err)
			}
			book.Hear(r)
		}
	}
}

func (d *Deadlines) follow(ctx context.Context, facts chan<- es.Message) error {
	sub := d.Log.Store.Subscribe(ctx, nil, es.AnyVersion(expiry.Hears...))
	defer sub.Close() //nolint:errcheck // nothing is written
	for {
		m, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		select {
		case facts <- m:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// fire gives every command that is due and says how long nothing will be.
func (d *Deadlines) fire(ctx context.Context, book *expiry.Book) time.Duration {
	for {
		next, ok := book.Next()
		if !ok {
			return time.Hour
		}
		now := time.Now().UTC()
		if wait := next.At.Sub(now); wait > 0 {
			return min(wait, time.Minute) // in steps: the wall clock may be set
		}
		o := next.Order(now)
		m := es.Meta{
			Key: fmt.Sprintf("deadline/%s/%d", next.Name, next.At.UnixMicro()), Actor: es.ActorSaga, Grade: es.GradeSelf,
			Correlation: next.Story, Identity: next.Identity,
			CausationID: next.Cause, Cause: &next.CauseAt,
		}
		err := d.Router.Do(ctx, o, m)
		if err != nil && transient(err) {
			return time.Second
		}
		book.Passed(next)
		if err != nil {
			d.Logger.Info("the command of a deadline was refused", "deadline", next.Name, "error", err)
		}
	}
}
