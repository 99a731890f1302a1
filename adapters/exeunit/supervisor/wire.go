package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/emet-node/emet/domain/activity/script"
	"github.com/emet-node/emet/domain/activity/unit"
)

const (
	socketName  = "sock"
	lockName    = "lock"
	spawnedName = "spawned.json"
	logName     = "supervisor.log"
)

// message is a frame between daemon and supervisor, one field set beside ID.
// A request has an ID and gets one Reply with it.
type message struct {
	ID        int64           `json:"id,omitempty"`
	Hello     *hello          `json:"hello,omitempty"`
	Exec      *execute        `json:"exec,omitempty"`
	Sample    bool            `json:"sample,omitempty"`
	Terminate *string         `json:"terminate,omitempty"`
	Ack       *int64          `json:"ack,omitempty"`
	Reply     *reply          `json:"reply,omitempty"`
	Event     json.RawMessage `json:"event,omitempty"`
	File      *fileCall       `json:"file,omitempty"`
	FileReply *fileReply      `json:"fileReply,omitempty"`
}

type hello struct {
	ActivityID string `json:"activityId"`
	Token      string `json:"token"`
	After      int64  `json:"after"`
	Files      bool   `json:"files"`
}

type execute struct {
	Batch  string `json:"batch"`
	Script string `json:"script"`
}

type reply struct {
	Code  string          `json:"code,omitempty"`
	Error string          `json:"error,omitempty"`
	Event json.RawMessage `json:"event,omitempty"`
}

type fileCall struct {
	Op      string `json:"op"`
	Node    string `json:"node"`
	File    string `json:"file"`
	Offset  int64  `json:"offset,omitempty"`
	Size    int64  `json:"size,omitempty"`
	Content []byte `json:"content,omitempty"`
	Hash    string `json:"hash,omitempty"`
}

type fileReply struct {
	Error   string `json:"error,omitempty"`
	Size    int64  `json:"size,omitempty"`
	Content []byte `json:"content,omitempty"`
}

const (
	opMetadata = "metadata"
	opChunk    = "chunk"
	opUpload   = "upload"
	opFinished = "finished"
)

// ErrBatch says that a batch id is taken by another script.
var ErrBatch = errors.New("batch already exists")

// codes carry the errors that a caller branches on over the wire.
var codes = map[string]error{
	"token":  unit.ErrToken,
	"exists": unit.ErrExists,
	"gone":   unit.ErrGone,
	"script": script.ErrScript,
	"batch":  ErrBatch,
}

func refuse(err error) *reply {
	for code, is := range codes {
		if errors.Is(err, is) {
			return &reply{Code: code, Error: err.Error()}
		}
	}
	return &reply{Error: err.Error()}
}

func (r *reply) err() error {
	if r.Error == "" {
		return nil
	}
	if is, ok := codes[r.Code]; ok {
		return &remoteError{r.Error, is}
	}
	return errors.New(r.Error)
}

// remoteError has the text of the other side and is what its code says.
type remoteError struct {
	text string
	is   error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.is }

// lock takes the work dir for one supervisor. The system frees it when the
// process ends, however it ends.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", dir, unit.ErrExists)
	}
	return f, nil
}
