package batch

import (
	"fmt"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
)

// decideReport is about what the exe-unit says. A batch that is closed, or was
// refused, hears no more.
func decideReport(s State, c Command) ([]Event, error) {
	by, fact := reporter(c)
	if err := s.mayReport(by); err != nil {
		return nil, err
	}
	if s.IsClosed() || s.RefusedCode != "" {
		return nil, nil
	}
	if _, ok := c.(Close); !ok && !s.Accepted {
		return nil, fmt.Errorf("%w: the script was not accepted yet", ErrOrder)
	}
	return fact(s)
}

func reporter(c Command) (identity.Caller, func(State) ([]Event, error)) {
	switch c := c.(type) {
	case StartCommand:
		return c.By, func(s State) ([]Event, error) { return start(s, c) }
	case AddOutput:
		return c.By, func(s State) ([]Event, error) { return output(s, c) }
	case FinishTransfer:
		return c.By, func(s State) ([]Event, error) { return transferred(s, c) }
	case FinishCommand:
		return c.By, func(s State) ([]Event, error) { return finish(s, c) }
	case Close:
		return c.By, func(s State) ([]Event, error) { return closing(s, c) }
	default: // not a report
		return identity.Caller{}, func(State) ([]Event, error) { return nil, fmt.Errorf("%T: %w", c, es.ErrWrongCommand) }
	}
}

func start(s State, c StartCommand) ([]Event, error) {
	switch {
	case c.Index < s.Index || c.Index == s.Index && s.Running:
		return nil, nil
	case c.Index > s.Index || c.Index >= s.Commands:
		return nil, s.order("command %d starts, expected %d of %d", c.Index, s.Index, s.Commands)
	case s.Over():
		return nil, s.order("command %d starts after one that failed", c.Index)
	}
	return []Event{CommandStarted{ActivityID: s.ActivityID, At: c.At.UTC(), BatchID: s.ID, Command: c.Command, Index: c.Index, Replay: c.Replay}}, nil
}

func output(s State, c AddOutput) ([]Event, error) {
	old, err := s.running(c.Index)
	if old || err != nil {
		return nil, err
	}
	if c.Stream != Stdout && c.Stream != Stderr {
		return nil, fmt.Errorf("%w: %.20q is neither stdout nor stderr", ErrOrder, c.Stream)
	}
	switch length := s.captured(c.Stream).length; {
	case c.Offset < length || len(c.Bytes) == 0 && c.Blob == nil:
		return nil, nil
	case c.Offset > length:
		return nil, s.order("%s of command %d continues at %d, expected %d", c.Stream, c.Index, c.Offset, length)
	}
	format := Str
	if c.Format == Bin {
		format = Bin
	}
	return []Event{CommandOutput{
		ActivityID: s.ActivityID, At: c.At.UTC(), BatchID: s.ID, Blob: c.Blob, Bytes: c.Bytes, Format: format,
		Index: c.Index, Offset: c.Offset, Stream: c.Stream, Streamed: c.Streamed,
	}}, nil
}

func transferred(s State, c FinishTransfer) ([]Event, error) {
	old, err := s.running(c.Index)
	if old || err != nil || s.transferred {
		return nil, err
	}
	return []Event{TransferFinished{
		ActivityID: s.ActivityID, At: c.At.UTC(), BatchID: s.ID, Bytes: c.Bytes, From: c.From, Index: c.Index,
		Retries: c.Retries, SHA3: c.SHA3, To: c.To,
	}}, nil
}

func finish(s State, c FinishCommand) ([]Event, error) {
	old, err := s.running(c.Index)
	if old || err != nil {
		return nil, err
	}
	return []Event{CommandFinished{
		ActivityID: s.ActivityID, At: c.At.UTC(), BatchID: s.ID, Code: c.Code, Fuel: c.Fuel, Index: c.Index,
		Message: c.Message, Rusage: c.Rusage, Signal: c.Signal,
	}}, nil
}

func closing(s State, c Close) ([]Event, error) {
	failed := s.results.n > 0 && !s.results.last.value.OK
	switch c.Outcome {
	case Done:
		if !s.Accepted || s.Running || failed || s.Index != s.Commands {
			return nil, s.order("done after %d of %d commands", s.results.n, s.Commands)
		}
	case Failed:
		if !failed {
			return nil, s.order("failed, but no command did")
		}
	case Aborted:
		if s.Over() && !failed { // every command is done: there is nothing left to abort
			c.Outcome, c.Message = Done, ""
		}
	default:
		return nil, fmt.Errorf("%w: %.20q is no outcome of a batch", ErrOrder, c.Outcome)
	}
	return []Event{Closed{ActivityID: s.ActivityID, At: c.At.UTC(), BatchID: s.ID, Message: c.Message, Outcome: c.Outcome}}, nil
}

// running says whether a report is about the command that runs now, or was
// heard before.
func (s State) running(index int64) (old bool, err error) {
	if index < s.Index {
		return true, nil
	}
	if index > s.Index || !s.Running {
		return false, s.order("command %d did not start", index)
	}
	return false, nil
}

func (s State) order(format string, args ...any) error {
	return fmt.Errorf("%w: batch %s: "+format, append([]any{ErrOrder, s.ID}, args...)...)
}
