// Package batch is one script that an exe-unit carries out: what was asked,
// what each command said and how it ended. Both sides keep the same facts, so
// that results can be read on either, again and again, also when the activity
// is over.
package batch

import (
	"time"

	"github.com/emet-node/emet/domain/activity"
	"github.com/emet-node/emet/domain/identity"
)

// Category of the streams.
const Category = "batch"

// StreamID is the id of the stream that one side keeps about a batch.
func StreamID(side identity.Side, activityID, batchID string) string {
	return activity.StreamID(side, activityID, batchID)
}

// An Event is a fact about one batch. Times named at are the exe-unit's: when
// it happened there, not when it was recorded here.
//
//sumtype:decl
type Event interface{ batchEvent() }

type (
	// ExecRequested is the requestor's script on its way. [Accepted] or
	// [Refused] answers, the latter at the latest when the time to deliver it
	// is over.
	ExecRequested struct {
		ActivityID  string          `json:"activityId"`
		AgreementID string          `json:"agreementId"`
		BatchID     string          `json:"batchId"`
		Commands    int64           `json:"commands"`
		Provider    identity.NodeID `json:"provider"`
		Requestor   identity.NodeID `json:"requestor"`
		Script      string          `json:"script"` // JSON array, verbatim
		TimeoutMS   int64           `json:"timeoutMs"`
	}

	// Accepted says that the exe-unit took the script. The provider keeps the
	// script here, the requestor has it in [ExecRequested].
	Accepted struct {
		ActivityID  string          `json:"activityId"`
		AgreementID string          `json:"agreementId"`
		BatchID     string          `json:"batchId"`
		Commands    int64           `json:"commands"`
		Provider    identity.NodeID `json:"provider"`
		Requestor   identity.NodeID `json:"requestor"`
		Script      string          `json:"script,omitzero"`
		Side        identity.Side   `json:"side"`
	}

	// Refused says that the script will not run, and why. Code is the
	// provider's refusal, "unreachable", or "abandoned" when the activity
	// ended first.
	Refused struct {
		ActivityID string `json:"activityId"`
		BatchID    string `json:"batchId"`
		Code       string `json:"code"`
		Message    string `json:"message"`
	}

	// CommandStarted says that a command runs. Replay holds what a repetition
	// of it needs, where the runtime can be repeated.
	CommandStarted struct {
		ActivityID string    `json:"activityId"`
		At         time.Time `json:"at"`
		BatchID    string    `json:"batchId"`
		Command    string    `json:"command"` // JSON object, verbatim
		Index      int64     `json:"index"`
		Replay     *Replay   `json:"replay,omitzero"`
	}

	// CommandOutput is a piece of what a command said, as far as the script
	// asked to capture it. Pieces of one stream follow each other without
	// gaps. Streamed is set when the script asked to hear it while it runs.
	CommandOutput struct {
		ActivityID string    `json:"activityId"`
		At         time.Time `json:"at"`
		BatchID    string    `json:"batchId"`
		Blob       *Blob     `json:"blob,omitzero"` // instead of bytes, when there are many
		Bytes      []byte    `json:"bytes,omitzero"`
		Format     Format    `json:"format"`
		Index      int64     `json:"index"`
		Offset     int64     `json:"offset"` // bytes of this stream before
		Stream     Stream    `json:"stream"`
		Streamed   bool      `json:"streamed,omitzero"`
	}

	// TransferFinished says what a transfer moved. SHA3 is the SHA3-256 of the
	// content, hex.
	TransferFinished struct {
		ActivityID string    `json:"activityId"`
		At         time.Time `json:"at"`
		BatchID    string    `json:"batchId"`
		Bytes      int64     `json:"bytes"`
		From       string    `json:"from"`
		Index      int64     `json:"index"`
		Retries    int64     `json:"retries,omitzero"`
		SHA3       string    `json:"sha3,omitzero"`
		To         string    `json:"to"`
	}

	// CommandFinished is the end of one command: code 0 is success, -1 a
	// failure that has no exit code.
	CommandFinished struct {
		ActivityID string           `json:"activityId"`
		At         time.Time        `json:"at"`
		BatchID    string           `json:"batchId"`
		Code       int64            `json:"code"`
		Fuel       int64            `json:"fuel,omitzero"` // units of work, where the runtime counts them
		Index      int64            `json:"index"`
		Message    string           `json:"message,omitzero"`
		Rusage     *activity.Rusage `json:"rusage,omitzero"`
		Signal     string           `json:"signal,omitzero"`
	}

	// Closed is the end of the batch.
	Closed struct {
		ActivityID string    `json:"activityId"`
		At         time.Time `json:"at"`
		BatchID    string    `json:"batchId"`
		Message    string    `json:"message,omitzero"` // why it was aborted
		Outcome    Outcome   `json:"outcome"`
	}
)

// Blob names content that is kept beside the log.
type Blob struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // address: of the bytes as stored, hex
}

// Replay is what a WASM command depended on. All hashes are SHA-256 in hex.
type Replay struct {
	Args      []string          `json:"args,omitzero"`
	Clock     string            `json:"clock"` // "wall" or "fixed"
	Compiler  string            `json:"compiler,omitzero"`
	Env       map[string]string `json:"env,omitzero"`
	FuelTable string            `json:"fuelTable,omitzero"` // version of the cost table
	Memory    int64             `json:"memoryBytes,omitzero"`
	Module    string            `json:"module"`
	Random    string            `json:"random"` // "system", or the seed in hex
	Volumes   map[string]string `json:"volumes,omitzero"`
}

// Stream is one of the two outputs of a command.
type Stream string

// The streams.
const (
	Stdout Stream = "stdout"
	Stderr Stream = "stderr"
)

// Format says how captured bytes are shown: as text, or as a list of numbers.
type Format string

// The formats.
const (
	Str Format = "str"
	Bin Format = "bin"
)

// Outcome is how a batch ended.
type Outcome string

// The outcomes.
const (
	Done    Outcome = "done"    // every command succeeded
	Failed  Outcome = "failed"  // the last command that ran did not
	Aborted Outcome = "aborted" // the activity ended, or the runtime was terminated, before
)

// IsIntent implements es.Intent.
func (ExecRequested) IsIntent() bool { return true }

// Blobs implements es.BlobNamer.
func (o CommandOutput) Blobs() []string {
	if o.Blob == nil {
		return nil
	}
	return []string{o.Blob.SHA256}
}

func (ExecRequested) batchEvent()    {}
func (Accepted) batchEvent()         {}
func (Refused) batchEvent()          {}
func (CommandStarted) batchEvent()   {}
func (CommandOutput) batchEvent()    {}
func (TransferFinished) batchEvent() {}
func (CommandFinished) batchEvent()  {}
func (Closed) batchEvent()           {}
