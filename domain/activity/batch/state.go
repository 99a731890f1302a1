package batch

import (
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
)

var _ es.Weighty = State{}

// State is what one side knows about a batch.
type State struct {
	ID          string
	ActivityID  string
	AgreementID string
	Provider    identity.NodeID
	Requestor   identity.NodeID
	Side        identity.Side
	Script      string
	Commands    int64 // how many the script has

	ExecOpen    bool // the provider was asked and has not answered
	Accepted    bool
	RefusedCode string // "" unless refused
	RefusedWhy  string
	Running     bool  // a command runs
	Index       int64 // of the command that runs, or of the next one
	Outcome     Outcome

	results chain[Result]
	events  chain[RuntimeEvent]
	stdout  captured // of the command that runs
	stderr  captured

	transferred bool // the running command reported its transfer
	pieces      int  // of output
	inline      int  // their bytes that are here and not beside the log
}

// A fact of a batch takes about so much memory, beside what was said.
const factWeight = 256

// Weight implements [es.Weighty]: what a provider's commands say is up to it. As
// long as they may say more the state is needed for each piece.
func (s State) Weight() int {
	if !s.IsClosed() {
		return 0
	}
	return len(s.Script) + s.inline + factWeight*(s.pieces+s.events.n)
}

// Owner is the local identity whose batch this is.
func (s State) Owner() identity.NodeID {
	if s.Side == identity.Requestor {
		return s.Requestor
	}
	return s.Provider
}

// Answered says whether a requested exec was answered.
func (s State) Answered() bool { return s.Accepted || s.RefusedCode != "" || s.Outcome != "" }

// Begun says whether the exe-unit has told something of the batch, so that it
// has the script.
func (s State) Begun() bool { return s.events.n > 0 || s.IsClosed() }

// IsClosed says whether the batch is over.
func (s State) IsClosed() bool { return s.Outcome != "" }

func evolve(s State, e Event) State {
	switch e := e.(type) {
	case ExecRequested:
		s.ID, s.ActivityID, s.AgreementID = e.BatchID, e.ActivityID, e.AgreementID
		s.Provider, s.Requestor, s.Side = e.Provider, e.Requestor, identity.Requestor
		s.Script, s.Commands, s.ExecOpen = e.Script, e.Commands, true
	case Accepted:
		return accepted(s, e)
	case Refused:
		s.ExecOpen, s.RefusedCode, s.RefusedWhy = false, e.Code, e.Message
	case CommandStarted:
		s.Running, s.Index = true, e.Index
		s.stdout, s.stderr, s.transferred = captured{}, captured{}, false
		return s.tell(RuntimeEvent{Index: e.Index, At: e.At, Kind: Started, Command: e.Command})
	case CommandOutput:
		return said(s, e)
	case TransferFinished:
		s.transferred = true // its end is told by CommandFinished
	case CommandFinished:
		return finished(s, e)
	case Closed:
		return closed(s, e)
	}
	return s
}

func accepted(s State, e Accepted) State {
	s.ID, s.ActivityID, s.AgreementID = e.BatchID, e.ActivityID, e.AgreementID
	s.Provider, s.Requestor, s.Side = e.Provider, e.Requestor, e.Side
	s.Commands, s.ExecOpen, s.Accepted = e.Commands, false, true
	if e.Script != "" {
		s.Script = e.Script
	}
	return s
}

// captured is what one stream of the running command said so far.
type captured struct {
	format Format
	pieces chain[Piece]
	length int64
}

func (c captured) output() Output { return Output{Format: c.format, Pieces: c.pieces.all()} }

func (s *State) captured(of Stream) *captured {
	if of == Stderr {
		return &s.stderr
	}
	return &s.stdout
}

func said(s State, e CommandOutput) State {
	piece := Piece{Bytes: e.Bytes, Blob: e.Blob}
	s.inline, s.pieces = s.inline+len(e.Bytes), s.pieces+1
	c := s.captured(e.Stream)
	c.format, c.pieces, c.length = e.Format, c.pieces.with(piece), e.Offset+piece.Len()
	if !e.Streamed {
		return s
	}
	return s.tell(RuntimeEvent{Index: e.Index, At: e.At, Kind: Kind(e.Stream), Output: Output{Format: e.Format, Pieces: []Piece{piece}}})
}

func finished(s State, e CommandFinished) State {
	s.results = s.results.with(Result{
		Index: e.Index, OK: e.Code == 0, Stdout: s.stdout.output(), Stderr: s.stderr.output(),
		Message: e.Message, BatchFinished: e.Code != 0 || e.Index == s.Commands-1, At: e.At,
	})
	s.stdout, s.stderr = captured{}, captured{}
	s.Running, s.Index = false, e.Index+1
	return s.tell(RuntimeEvent{Index: e.Index, At: e.At, Kind: Finished, Code: e.Code, Message: e.Message})
}

// closed ends the batch. If no result said so yet, one is added that does:
// clients ask again until they see it.
func closed(s State, e Closed) State {
	s.Outcome = e.Outcome
	if e.Outcome != Aborted || s.Over() {
		s.Running = false
		return s
	}
	message := e.Message
	if message == "" {
		message = "the activity ended before the batch did"
	}
	return finished(s, CommandFinished{Index: s.Index, At: e.At, Code: -1, Message: message})
}

// Over says whether a result told the end, or none is needed: nobody waits for
// [Closed] then.
func (s State) Over() bool {
	return s.Accepted && s.Commands == 0 || s.results.n > 0 && s.results.last.value.BatchFinished
}

// tell appends an event of the runtime with the next id.
func (s State) tell(e RuntimeEvent) State {
	e.ID = int64(s.events.n)
	s.events = s.events.with(e)
	return s
}
