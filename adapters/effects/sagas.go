package effects

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/emet-node/emet/domain/es"
)

// Checkpoints remembers how far a reader of the log got. It is only an
// optimisation: hearing a fact twice is harmless.
type Checkpoints interface {
	// Checkpoint returns the number of facts that name has dealt with.
	Checkpoint(ctx context.Context, name string) (es.Position, error)
	SetCheckpoint(ctx context.Context, name string, done es.Position) error
}

// Sagas runs processes over the log: each hears its facts in order and its
// commands are carried out before it hears the next one.
type Sagas struct {
	Log         *es.Log
	Router      Router
	Checkpoints Checkpoints
	Logger      *slog.Logger
	Processes   []es.Process
}

// checkpointEvery bounds how often a checkpoint is written.
const checkpointEvery = time.Second

// Run lets every process hear the log from the beginning (commands only from
// its checkpoint on) and then live, until ctx ends.
func (s *Sagas) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, p := range s.Processes {
		g.Go(func() error {
			if err := s.run(ctx, p); err != nil && ctx.Err() == nil {
				return fmt.Errorf("saga %s: %w", p.Name(), err)
			}
			return nil
		})
	}
	return g.Wait()
}

func (s *Sagas) run(ctx context.Context, p es.Process) error {
	name := "saga/" + p.Name()
	from, err := s.Checkpoints.Checkpoint(ctx, name)
	if err != nil {
		return err
	}
	sub := s.Log.Store.Subscribe(ctx, nil, es.AnyVersion(p.Hears()...))
	defer sub.Close() //nolint:errcheck // nothing is written
	written, saved, done := time.Now(), from, from
	defer func() {
		if done > saved {
			s.save(context.WithoutCancel(ctx), name, done)
		}
	}()
	for {
		m, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		if m.Event != nil {
			if err := s.hear(ctx, p, *m.Event, m.Event.Position >= from); err != nil {
				return err
			}
			done = max(done, m.Event.Position+1)
		}
		if done > saved && time.Since(written) > checkpointEvery {
			if written = time.Now(); s.save(ctx, name, done) {
				saved = done
			}
		}
	}
}

// save writes a checkpoint. A disk that is full is no reason to stop: what is
// heard again changes nothing.
func (s *Sagas) save(ctx context.Context, name string, done es.Position) bool {
	err := s.Checkpoints.SetCheckpoint(ctx, name, done)
	if err != nil {
		s.Logger.Warn("how far a saga heard was not saved; it hears the same again after a restart", "saga", name, "error", err)
	}
	return err == nil
}

func (s *Sagas) hear(ctx context.Context, p es.Process, e es.Event, act bool) error {
	r, err := s.Log.Decode(ctx, e)
	if err != nil {
		return err
	}
	commands := p.Hear(r)
	if !act {
		return nil
	}
	for _, c := range commands {
		if err := s.carryOut(ctx, p, c); err != nil {
			return err
		}
	}
	return nil
}

// carryOut repeats a command until it is done or refused. A refusal is news
// only: the world moved on between the fact and the command.
func (s *Sagas) carryOut(ctx context.Context, p es.Process, c es.Command) error {
	for wait := 10 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := s.Router.Do(ctx, c.Order, c.Meta)
		if err == nil || errors.Is(err, es.ErrClosed) || ctx.Err() != nil {
			return errors.Join(err, ctx.Err())
		}
		log := s.Logger.With("saga", p.Name(), "command", fmt.Sprintf("%T", c.Command), "stream", c.Category+"-"+c.ID, "error", err)
		if !transient(err) {
			log.Info("saga's command was refused")
			return nil
		}
		log.Warn("saga's command is tried again", "in", wait)
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
