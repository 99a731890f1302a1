package unit

import (
	"encoding/json"
	"fmt"
	"time"
)

// Event is one line of an exe-unit's journal.
type Event struct {
	Seq  int64     // from 0 without gaps; -1 for what is not journaled
	At   time.Time // UTC, the supervisor's clock
	Body Body
}

// Body is what an event says. It is one of the types of this package.
type Body interface{ kind() string }

type (
	// StateChanged tells the pair of states. Pending "" is null.
	StateChanged struct {
		Error   string `json:"error,omitzero"`
		Pending string `json:"pending,omitzero"`
		Reason  string `json:"reason,omitzero"`
		State   string `json:"state"`
	}
	// BatchAccepted says that a script was taken. Commands is how many it has.
	BatchAccepted struct {
		Batch    string `json:"batch"`
		Commands int    `json:"commands"`
		Script   string `json:"script"`
	}
	// CommandStarted opens a command. Command is its JSON object from the
	// script, verbatim; Replay is set for a run that really began.
	CommandStarted struct {
		Batch   string  `json:"batch"`
		Command string  `json:"command"`
		Index   int     `json:"index"`
		Replay  *Replay `json:"replay,omitzero"`
	}
	// CommandOutput is a piece of what a command wrote and its capture keeps,
	// at most [MaxOutputChunk] bytes. Pieces of one stream follow each other
	// without gaps: Offset counts the bytes kept before. Cut says how many
	// bytes the guest wrote right before this piece that were not kept.
	// Streamed pieces come while the command runs, the others right before
	// CommandFinished.
	CommandOutput struct {
		Batch    string `json:"batch"`
		Binary   bool   `json:"binary,omitzero"` // asked for as byte values
		Bytes    []byte `json:"bytes"`
		Cut      int64  `json:"cut,omitzero"`
		Index    int    `json:"index"`
		Offset   int64  `json:"offset"`
		Stream   string `json:"stream"` // Stdout or Stderr
		Streamed bool   `json:"streamed,omitzero"`
	}
	// TransferFinished tells what a transfer moved. Credentials in the URLs
	// are left out.
	TransferFinished struct {
		Batch string `json:"batch"`
		Bytes int64  `json:"bytes"`
		From  string `json:"from"`
		Index int    `json:"index"`
		SHA3  string `json:"sha3"` // SHA3-256 of the bytes moved, hex
		To    string `json:"to"`
	}
	// CommandFinished closes a command. Code 0 is success, -1 a failure that
	// is not the guest's exit code; Message is "" on success.
	CommandFinished struct {
		Batch   string `json:"batch"`
		Code    int    `json:"code"`
		Fuel    int64  `json:"fuel,omitzero"`
		Index   int    `json:"index"`
		Message string `json:"message,omitzero"`
		Rusage  Rusage `json:"rusage"`
		Signal  string `json:"signal,omitzero"`
	}
	// BatchClosed ends a batch: Done, Failed at a command, or Aborted.
	BatchClosed struct {
		Batch   string `json:"batch"`
		Outcome string `json:"outcome"`
	}
	// Sampled is the usage at one moment. Vector is a JSON array of shortest
	// decimals in the order of Spec.UsageVector. Download and run seconds are
	// how the duration splits; the rest is waiting.
	Sampled struct {
		DownloadSec string `json:"downloadSec"`
		RunSec      string `json:"runSec"`
		Vector      string `json:"vector"`
	}
	// Progress of a deploy or transfer that asked for it. Not journaled.
	Progress struct {
		Batch   string `json:"batch"`
		Done    int64  `json:"done"`
		Index   int    `json:"index"`
		Message string `json:"message,omitzero"`
		Total   int64  `json:"total"` // -1 = unknown
	}
	// LimitExceeded says which limit was broken; Exited or a failed command follows.
	LimitExceeded struct {
		Limit string `json:"limit"` // e.g. "wall-clock", "fuel", "storage"
		Value string `json:"value"` // decimal text of what was allowed
	}
	// VolumeMapped says that a container path is a directory of the work dir.
	VolumeMapped struct {
		Dir  string `json:"dir"` // relative to the work dir
		Path string `json:"path"`
	}
	// Exited is the last event of a journal.
	Exited struct {
		Code   int    `json:"code"`
		Reason string `json:"reason"`
		Rusage Rusage `json:"rusage"`
	}
)

// Names of streams and outcomes.
const (
	Stdout  = "stdout"
	Stderr  = "stderr"
	Done    = "done"
	Failed  = "failed"
	Aborted = "aborted"
)

// MaxOutputChunk bounds the bytes of one [CommandOutput].
const MaxOutputChunk = 32 << 10

// Rusage is what a process or a command took of the machine.
type Rusage struct {
	MaxRSSBytes int64 `json:"maxRssBytes,omitzero"`
	SystemUS    int64 `json:"systemUs"`
	UserUS      int64 `json:"userUs"`
	WallUS      int64 `json:"wallUs"`
}

// Replay is what a run of a WASM guest depended on, so that it can be run
// again and compared.
type Replay struct {
	Args        []string `json:"args"`
	Clock       string   `json:"clock"` // "wall"
	Engine      string   `json:"engine"`
	Env         []string `json:"env,omitzero"` // NAME=value, sorted
	FuelVersion string   `json:"fuelVersion,omitzero"`
	MemoryPages int64    `json:"memoryPages"`
	ModuleSHA3  string   `json:"moduleSha3"` // SHA3-256 of the module as delivered, hex
	Random      string   `json:"random"`     // "system"
	Volumes     []Volume `json:"volumes,omitzero"`
}

// Volume is the content of one volume at the start of a run. SHA256 is over
// the sorted list of paths, sizes and file digests; it is "" when the volume
// was too large to be read in passing.
type Volume struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256,omitzero"`
}

func (StateChanged) kind() string     { return "state_changed" }
func (BatchAccepted) kind() string    { return "batch_accepted" }
func (CommandStarted) kind() string   { return "command_started" }
func (CommandOutput) kind() string    { return "command_output" }
func (TransferFinished) kind() string { return "transfer_finished" }
func (CommandFinished) kind() string  { return "command_finished" }
func (BatchClosed) kind() string      { return "batch_closed" }
func (Sampled) kind() string          { return "sampled" }
func (Progress) kind() string         { return "progress" }
func (LimitExceeded) kind() string    { return "limit_exceeded" }
func (VolumeMapped) kind() string     { return "volume_mapped" }
func (Exited) kind() string           { return "exited" }

type line struct {
	At   time.Time       `json:"at"`
	Body json.RawMessage `json:"body"`
	Kind string          `json:"kind"`
	Seq  int64           `json:"seq"`
}

// MarshalJSON writes the form of the journal and of the socket.
func (e Event) MarshalJSON() ([]byte, error) {
	if e.Body == nil {
		return nil, fmt.Errorf("unit: event %d has no body", e.Seq)
	}
	body, err := json.Marshal(e.Body)
	if err != nil {
		return nil, err
	}
	return json.Marshal(line{At: e.At, Body: body, Kind: e.Body.kind(), Seq: e.Seq})
}

// UnmarshalJSON reads what MarshalJSON wrote. An unknown kind is an error.
func (e *Event) UnmarshalJSON(data []byte) error {
	var l line
	if err := json.Unmarshal(data, &l); err != nil {
		return err
	}
	read, ok := readers[l.Kind]
	if !ok {
		return fmt.Errorf("unit: event %d is of unknown kind %q", l.Seq, l.Kind)
	}
	body, err := read(l.Body)
	if err != nil {
		return fmt.Errorf("unit: event %d: %w", l.Seq, err)
	}
	*e = Event{Seq: l.Seq, At: l.At, Body: body}
	return nil
}

var readers = map[string]func(json.RawMessage) (Body, error){
	"state_changed":     reader[StateChanged],
	"batch_accepted":    reader[BatchAccepted],
	"command_started":   reader[CommandStarted],
	"command_output":    reader[CommandOutput],
	"transfer_finished": reader[TransferFinished],
	"command_finished":  reader[CommandFinished],
	"batch_closed":      reader[BatchClosed],
	"sampled":           reader[Sampled],
	"progress":          reader[Progress],
	"limit_exceeded":    reader[LimitExceeded],
	"volume_mapped":     reader[VolumeMapped],
	"exited":            reader[Exited],
}

func reader[B Body](data json.RawMessage) (Body, error) {
	var b B
	err := json.Unmarshal(data, &b)
	return b, err
}
