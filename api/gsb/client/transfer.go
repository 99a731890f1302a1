package client

import (
	"context"
	"crypto/sha3"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"

	"github.com/emet-node/emet/api/gsb/flex"
)

// ErrInterrupted says that the connection to the node ended before the
// transfer did.
var ErrInterrupted = errors.New("connection to the node ended")

// Transfer is a file that is being served or received. Close it when it is not
// needed any more.
type Transfer struct {
	// URL names the file to the other side, "gftp://<node>/<name>".
	URL string

	client *Client
	path   string
	conn   *websocket.Conn
	done   chan struct{}
	err    error // valid after done
	once   sync.Once
}

// Done is closed when the transfer is over: a received file is complete, or
// the connection ended. Err says which.
func (t *Transfer) Done() <-chan struct{} { return t.done }

// Err is nil when a received file is complete. It blocks until Done.
func (t *Transfer) Err() error {
	<-t.done
	return t.err
}

// Close gives the address back and ends the connection.
func (t *Transfer) Close() error {
	var err error
	t.once.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err = t.client.do(ctx, http.MethodDelete, t.path, nil, nil)
		_ = t.conn.Close()
	})
	<-t.done
	return err
}

func (t *Transfer) run(h handler) {
	defer close(t.done)
	t.err = fmt.Errorf("%s: %w", t.URL, ErrInterrupted)
	for {
		_, frame, err := t.conn.ReadMessage()
		if err != nil {
			return
		}
		answer, finished, err := reply(h, frame)
		if err != nil {
			t.err = fmt.Errorf("%s: %w", t.URL, err)
			_ = t.conn.Close()
			return
		}
		if t.conn.WriteMessage(websocket.BinaryMessage, answer) != nil {
			return
		}
		if finished {
			t.err = nil
			return
		}
	}
}

// reply makes the frame that answers a request. What the handler refuses is an
// answer too.
func reply(h handler, frame []byte) (out []byte, finished bool, err error) {
	v, err := flex.Unmarshal(frame)
	if err != nil {
		return nil, false, err
	}
	m, _ := v.(map[string]any)
	component, _ := m["component"].(string)
	payload, _ := m["payload"].(map[string]any)
	answer := map[string]any{"id": m["id"]}
	result, finished, err := h.handle(component, payload)
	if err != nil {
		answer["error"] = map[string]any{"InternalError": err.Error()}
	} else {
		answer["payload"] = result
	}
	out, err = flex.Marshal(answer)
	return out, finished, err
}

type source struct {
	content io.ReaderAt
	size    int64
}

func (s *source) handle(component string, payload map[string]any) (any, bool, error) {
	switch component {
	case "GetMetadata":
		return map[string]any{"fileSize": uint64(s.size)}, false, nil
	case "GetChunk":
		offset, size := whole(payload["offset"]), whole(payload["size"])
		if offset < 0 || size < 0 || offset > s.size {
			return nil, false, fmt.Errorf("no %d bytes at %d", size, offset)
		}
		chunk := make([]byte, min(size, s.size-offset))
		if _, err := s.content.ReadAt(chunk, offset); err != nil && !errors.Is(err, io.EOF) {
			return nil, false, err
		}
		return map[string]any{"offset": uint64(offset), "content": chunk}, false, nil
	}
	return nil, false, fmt.Errorf("request %q is not answered here", component)
}

type sink struct {
	w    io.Writer
	next int64
	hash hash.Hash
}

func newSink(w io.Writer) *sink { return &sink{w: w, hash: sha3.New256()} }

func (s *sink) handle(component string, payload map[string]any) (any, bool, error) {
	switch component {
	case "UploadChunk":
		chunk, _ := payload["chunk"].(map[string]any)
		content, _ := chunk["content"].([]byte)
		if offset := whole(chunk["offset"]); offset != s.next {
			return nil, false, fmt.Errorf("piece at %d, want %d", offset, s.next)
		}
		if _, err := s.w.Write(content); err != nil {
			return nil, false, err
		}
		s.hash.Write(content)
		s.next += int64(len(content))
		return nil, false, nil
	case "UploadFinished":
		own := hex.EncodeToString(s.hash.Sum(nil))
		if want, _ := payload["hash"].(string); want != "" && !strings.EqualFold(want, own) {
			return nil, false, fmt.Errorf("digest is %s, want %s", own, want)
		}
		return nil, true, nil
	}
	return nil, false, fmt.Errorf("request %q is not answered here", component)
}

func whole(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case uint64:
		return int64(v)
	}
	return -1
}
