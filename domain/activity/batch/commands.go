package batch

import (
	"time"

	"github.com/emet-node/emet/domain/activity"
	"github.com/emet-node/emet/domain/identity"
)

// A Command asks for something to become true of one batch.
//
//sumtype:decl
type Command interface{ batchCommand() }

type (
	// RequestExec is a client's script. BatchID is made by the daemon. The
	// provider must take it within TimeoutMS: 0 is one quick try, more than
	// [LongestDelivery] is refused.
	RequestExec struct {
		ActivityID, AgreementID, BatchID string
		By                               identity.Caller
		Provider, Requestor              identity.NodeID
		Script                           string
		TimeoutMS                        int64
	}

	// ConfirmExec says that the exe-unit took the script.
	ConfirmExec struct{ By identity.Caller }

	// RefuseExec says that it did not.
	RefuseExec struct {
		By            identity.Caller
		Code, Message string
	}

	// Accept is the requestor's script at the provider.
	Accept struct {
		ActivityID, AgreementID, BatchID string
		By                               identity.Caller
		Provider, Requestor              identity.NodeID
		Script                           string
	}

	// StartCommand says that a command begins. It, AddOutput, FinishTransfer and
	// FinishCommand report what the exe-unit does: at the provider it says so
	// itself, at the requestor the provider does. Said twice they are silent.
	StartCommand struct {
		At      time.Time
		By      identity.Caller
		Command string
		Index   int64
		Replay  *Replay
	}

	// AddOutput reports what the running command wrote: Bytes, or Blob where it
	// is long, from Offset of its Stream on.
	AddOutput struct {
		At       time.Time
		Blob     *Blob
		By       identity.Caller
		Bytes    []byte
		Format   Format
		Index    int64
		Offset   int64
		Stream   Stream
		Streamed bool
	}

	// FinishTransfer reports that the running command moved a file: Bytes long,
	// with its digest in hex and how often it had to begin again.
	FinishTransfer struct {
		At       time.Time
		By       identity.Caller
		Bytes    int64
		From, To string
		Index    int64
		Retries  int64
		SHA3     string
	}

	// FinishCommand reports how the running command ended; Code 0 = well, Signal
	// names what killed it.
	FinishCommand struct {
		At      time.Time
		By      identity.Caller
		Code    int64
		Fuel    int64
		Index   int64
		Message string
		Rusage  *activity.Rusage
		Signal  string
	}

	// Close ends the batch. Done needs every command to have succeeded, Failed
	// that the last one did not; Aborted may come at any time.
	Close struct {
		At      time.Time
		By      identity.Caller
		Message string
		Outcome Outcome
	}
)

func (RequestExec) batchCommand()    {}
func (ConfirmExec) batchCommand()    {}
func (RefuseExec) batchCommand()     {}
func (Accept) batchCommand()         {}
func (StartCommand) batchCommand()   {}
func (AddOutput) batchCommand()      {}
func (FinishTransfer) batchCommand() {}
func (FinishCommand) batchCommand()  {}
func (Close) batchCommand()          {}
