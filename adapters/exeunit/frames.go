// Package exeunit holds what the parts of an exe-unit share: the frames that
// its processes exchange and the words of the runtime protocol.
//
// An activity is two processes beside the daemon. The supervisor
// (exeunit/supervisor) keeps the journal and the rules; its child, the runtime
// (exeunit/wasm), runs the guest's code and can be killed at any moment.
package exeunit

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"sync"
)

// MaxFrame bounds one frame: a script of 1 MiB in JSON quotes fits.
const MaxFrame = 8 << 20

// ReadFrame reads one frame, a length of four bytes (big-endian) and JSON,
// into v. It returns io.EOF at a clean end.
func ReadFrame(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > MaxFrame {
		return fmt.Errorf("a frame of %d bytes, at most %d are taken", n, MaxFrame)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return fmt.Errorf("a frame of %d bytes breaks off: %w", n, io.ErrUnexpectedEOF)
	}
	return json.Unmarshal(body, v)
}

// FrameWriter writes frames. It may be used concurrently.
type FrameWriter struct {
	mu sync.Mutex
	w  io.Writer
}

// NewFrameWriter writes frames to w.
func NewFrameWriter(w io.Writer) *FrameWriter { return &FrameWriter{w: w} }

// Write writes v as one frame.
func (f *FrameWriter) Write(v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(body) > MaxFrame {
		return fmt.Errorf("a frame of %d bytes, at most %d are sent", len(body), MaxFrame)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(body)), uint32(len(body)))
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err = f.w.Write(append(frame, body...))
	return err
}
