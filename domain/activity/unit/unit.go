// Package unit is the vocabulary between a provider's daemon and the process
// that carries out one activity, the supervisor.
//
// The supervisor outlives the daemon: what happens is an [Event] in a journal
// on disk, numbered from 0 without gaps. A daemon that comes back attaches
// with the last number it has recorded and hears the rest, so nothing is lost
// and nothing is heard twice as something new.
package unit

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"
)

// Spec is everything a supervisor is told when it is started.
type Spec struct {
	ActivityID  string `json:"activityId"`
	AgreementID string `json:"agreementId"`
	Runtime     string `json:"runtime"`  // name in the offer, e.g. "wasmtime"
	ImageRef    string `json:"imageRef"` // golem.srv.comp.task_package, verbatim
	// WorkDir is this activity's own directory: journal, socket and volumes. It
	// is made 0700 when absent. CacheDir holds verified images and compiled
	// code and is shared by all activities of a node.
	WorkDir  string `json:"workDir"`
	CacheDir string `json:"cacheDir"`
	// Token must be shown by whoever attaches. 32 random bytes as text are enough.
	Token string `json:"token"`
	// UsageVector names the counters in the order of the agreement's
	// golem.com.usage.vector; samples keep this order.
	UsageVector []string      `json:"usageVector"`
	SampleEvery time.Duration `json:"sampleEvery"` // 0 = one second
	Limits      Limits        `json:"limits"`
	// AllowLoopback lets transfers reach loopback and private addresses. It is
	// for development on one machine; a provider leaves it off.
	AllowLoopback bool `json:"allowLoopback,omitzero"`
	// OrphanAfter is how long the supervisor lives without a daemon, 0 = ten minutes.
	OrphanAfter time.Duration `json:"orphanAfter,omitzero"`
}

// OutputBytes is how much is kept of each stream of one command, unless the
// limits say something else. Of more than that the middle is missing.
const OutputBytes = 8 << 20

// Limits bound what an activity may take. Zero means the default in brackets.
type Limits struct {
	MemoryBytes  int64         `json:"memoryBytes,omitzero"`  // of a guest's linear memory [1 GiB]
	StorageBytes int64         `json:"storageBytes,omitzero"` // of all volumes [unlimited]
	Threads      int           `json:"threads,omitzero"`      // processors the runtime uses [1]
	WallClock    time.Duration `json:"wallClock,omitzero"`    // of one run [unlimited]
	Fuel         int64         `json:"fuel,omitzero"`         // of one run [unlimited]
	OutputBytes  int64         `json:"outputBytes,omitzero"`  // kept of each stream of one command [OutputBytes]
}

// Spawned says what was started. PID and Started together name the process,
// since a PID alone is used again.
type Spawned struct {
	PID     int       `json:"pid"`
	Started time.Time `json:"started"`
	// RuntimeHash is the SHA-256 of the program file that runs the guest, hex.
	RuntimeHash string `json:"runtimeHash"`
	// Enforced names the limits that really hold on this machine, for example
	// "memory.wasm-pages" or "pids.cgroup-v2". What is not in it is not enforced.
	Enforced []string `json:"enforced"`
}

// ErrExists says that an activity already has a supervisor.
var ErrExists = errors.New("the activity already has a supervisor")

// ErrToken says that the token shown is not the one given at spawn.
var ErrToken = errors.New("the exe-unit token does not match")

// ErrGone says that no supervisor answers for an activity any more.
var ErrGone = errors.New("the exe-unit is gone")

// ErrLost says that a connection ended while the supervisor may well live on.
// Attach again to hear the rest.
var ErrLost = errors.New("the connection to the exe-unit is lost")

// A GoneError is an ErrGone with what the journal on disk still tells. If the
// last event left is no [Exited], the supervisor was killed.
type GoneError struct {
	ActivityID string
	Left       iter.Seq[Event] // after [Attachment.After], in order; reads the file
}

func (e *GoneError) Error() string { return fmt.Sprintf("activity %s: %v", e.ActivityID, ErrGone) }

// Is makes errors.Is(err, ErrGone) true.
func (e *GoneError) Is(target error) bool { return target == ErrGone }

// Supervisor starts exe-units and finds them again. Its methods may be called
// concurrently.
type Supervisor interface {
	// Spawn starts the supervisor of an activity and returns when it listens.
	// An activity that has one already gets [ErrExists] and what was spawned
	// then, so that a start whose answer was lost can be said again, with the
	// same token. A work dir whose supervisor is dead gets a [*GoneError].
	Spawn(ctx context.Context, s Spec) (Spawned, error)
	// Attach connects to a running supervisor. One connection at a time is
	// served; a new one displaces the old. It fails with a [*GoneError] when
	// the process is not there, with [ErrToken] when the token is wrong.
	Attach(ctx context.Context, a Attachment) (Conn, error)
}

// Attachment says whom to attach to and from where to hear.
type Attachment struct {
	ActivityID string
	Dir        string // the Spec's WorkDir
	Token      string
	After      int64 // the last Seq that is recorded already, -1 = none
	Files      Files // nil refuses gftp transfers
}

// Conn is a connection to one supervisor.
type Conn interface {
	// Exec starts a batch. The batch id makes it idempotent: the same id with
	// the same script is the same batch, with another script an error. It
	// returns when the script is taken into the journal, not when it ran. A
	// script that cannot be read is refused as a whole.
	Exec(ctx context.Context, batchID, script string) error
	// Sample makes a Sampled event now and returns it when it is in the
	// journal. Events tells it too.
	Sample(ctx context.Context) (Event, error)
	// Terminate ends the activity: whatever runs is stopped and the process
	// goes. It returns when Exited is in the journal or the process is gone.
	Terminate(ctx context.Context, reason string) error
	// Events are the journal after Attachment.After, then what follows, with
	// unjournaled Progress (Seq -1) in between. The channel is closed when the
	// connection ends; Err then tells why ([ErrLost]), nil after Exited or Close.
	Events() <-chan Event
	Err() error
	// Ack says that everything up to seq is recorded and may be forgotten.
	Ack(seq int64)
	// Close leaves the supervisor alone; it goes on.
	Close() error
}

// Files moves the bytes of gftp transfers through the daemon's peer network.
// nodeID and fileID come from gftp://<nodeId>/<fileId>. Uploads arrive one at a
// time and in order; only an answered UploadFinished ends one.
type Files interface {
	Metadata(ctx context.Context, nodeID, fileID string) (size int64, err error)
	// Chunk returns up to size bytes from offset, fewer only at the end.
	Chunk(ctx context.Context, nodeID, fileID string, offset, size int64) ([]byte, error)
	Upload(ctx context.Context, nodeID, fileID string, offset int64, content []byte) error
	UploadFinished(ctx context.Context, nodeID, fileID, sha3Hex string) error
}
