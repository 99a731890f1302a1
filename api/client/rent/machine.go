package rent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/emet-node/emet/api/client"
)

// Machine is an activity under an agreement, ready to run the image's program.
// It is used by one goroutine.
type Machine struct {
	pool *Pool
	deal *Deal
	over bool
}

// Provider is the name of who runs the machine.
func (m *Machine) Provider() string { return m.deal.Name }

// Agreement is the id of the agreement it runs under.
func (m *Machine) Agreement() string { return m.deal.Agreement }

// Volumes are the container paths that every machine has.
const (
	In  = "/golem/in"
	Out = "/golem/out"
)

func (m *Machine) start(ctx context.Context) error {
	id, err := m.pool.c.CreateActivity(ctx, m.deal.Agreement, 30*time.Second)
	if err != nil {
		return err
	}
	m.pool.mu.Lock()
	m.deal.Activity = id
	m.pool.mu.Unlock()
	m.pool.watch(News{What: "activity", Provider: m.deal.Name, Agreement: m.deal.Agreement, Activity: id})
	_, err = m.Do(ctx,
		map[string]any{"deploy": map[string]any{"volumes": []string{In, Out}}},
		map[string]any{"start": map[string]any{}},
	)
	return err
}

// CommandError says that a command failed on the machine itself, which works.
type CommandError struct {
	client.Result
	Code int // exit code of a program, -1 when it has none
}

func (e *CommandError) Error() string {
	if e.Message != nil {
		return *e.Message
	}
	return "the command failed"
}

// ErrLost says that the provider is gone or does not do what it should.
var ErrLost = errors.New("the machine was lost")

// Do carries out commands and returns their results. A *CommandError tells
// which one failed; ErrLost that the machine is of no use any more.
func (m *Machine) Do(ctx context.Context, script ...any) ([]client.Result, error) {
	batch, err := m.pool.c.Exec(ctx, m.deal.Activity, script)
	if err != nil {
		return nil, m.lost(ctx, err)
	}
	for failures := 0; ; {
		results, err := m.pool.c.Results(ctx, m.deal.Activity, batch, 5*time.Second)
		if err != nil {
			if failures++; ctx.Err() != nil || failures > 5 {
				return nil, m.lost(ctx, err)
			}
			pause(ctx, 300*time.Millisecond)
			continue
		}
		if len(results) == 0 || !results[len(results)-1].Finished {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			continue
		}
		return results, m.verdict(ctx, results, len(script))
	}
}

func (m *Machine) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ErrLost, err)
}

// verdict tells a command that failed from a machine that is gone.
func (m *Machine) verdict(ctx context.Context, results []client.Result, commands int) error {
	last := results[len(results)-1]
	if last.Result == "Ok" && len(results) == commands {
		return nil
	}
	e := &CommandError{Result: last, Code: -1}
	if n, err := fmt.Sscanf(e.Error(), "ExeScript command exited with code %d", &e.Code); n == 1 && err == nil {
		return e
	}
	state, err := m.pool.c.ActivityState(ctx, m.deal.Activity)
	if err != nil || state == "Terminated" || state == "Unresponsive" {
		return m.lost(ctx, e)
	}
	return e
}

// Run makes the command that runs the image's program with both outputs kept,
// byte by byte.
func Run(program string, args []string, env map[string]string) map[string]any {
	capture := map[string]any{"atEnd": map[string]any{"format": "bin"}}
	run := map[string]any{"entry_point": program, "args": args, "capture": map[string]any{"stdout": capture, "stderr": capture}}
	if len(env) > 0 {
		run["env"] = env
	}
	return map[string]any{"run": run}
}

// Transfer makes the command that moves a file.
func Transfer(from, to string) map[string]any {
	return map[string]any{"transfer": map[string]any{"from": from, "to": to}}
}

// Close ends the activity and the agreement in good order. The invoice follows.
func (m *Machine) Close(ctx context.Context) error {
	if m.over {
		return nil
	}
	m.over = true
	defer m.ended(false)
	usage := m.pool.usage(ctx, m.deal.Activity)
	err := m.pool.c.DestroyActivity(ctx, m.deal.Activity, 15*time.Second)
	if last := m.pool.usage(ctx, m.deal.Activity); len(last) > 0 {
		usage = last
	}
	m.pool.mu.Lock()
	m.deal.Usage = usage
	m.pool.mu.Unlock()
	return errors.Join(err, m.pool.c.Terminate(ctx, m.deal.Agreement, "Finished"))
}

func (m *Machine) ended(lost bool) {
	m.pool.mu.Lock()
	defer m.pool.mu.Unlock()
	m.deal.over = true
	if lost {
		m.deal.Lost = true
		m.pool.resent(m.deal.Provider)
	}
}

// Abandon ends the agreement with a provider that failed. One that fails again
// and again is left alone for longer and longer.
func (m *Machine) Abandon(why string) {
	m.over = true
	m.ended(true)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if m.deal.Activity != "" {
		_ = m.pool.c.DestroyActivity(ctx, m.deal.Activity, time.Second)
	}
	_ = m.pool.c.Terminate(ctx, m.deal.Agreement, why)
	m.pool.watch(News{What: "failed", Provider: m.deal.Name, Agreement: m.deal.Agreement, Detail: why})
}
