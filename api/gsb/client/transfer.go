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
	"net/url"
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

	client     *Client
	name       string
	components []string
	done       chan struct{}
	err        error // valid after done

	mu     sync.Mutex
	path   string
	conn   *websocket.Conn
	closed bool
}

// Err is nil when a received file is complete. It blocks until Done.
func (t *Transfer) Err() error {
	<-t.done
	return t.err
}

// Close gives the address back and ends the connection.
func (t *Transfer) Close() error {
	t.mu.Lock()
	first := !t.closed
	t.closed = true
	conn, path := t.conn, t.path
	t.mu.Unlock()
	var err error
	if first {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err = t.client.do(ctx, http.MethodDelete, path, nil, nil)
		_ = conn.Close()
	}
	<-t.done
	return err
}

// connect binds the address, if it is not bound, and dials its socket.
func (t *Transfer) connect(ctx context.Context) error {
	on := "/public/gftp/" + t.name
	var bound struct {
		ServicesID string `json:"servicesId"`
	}
	body := map[string]any{"listen": map[string]any{"on": on, "components": t.components}}
	err := t.client.do(ctx, http.MethodPost, "/gsb-api/v1/services", body, &bound)
	var answer *statusError
	if errors.As(err, &answer) && t.path != "" {
		err = nil // it is bound still: only the connection was lost
	}
	if err != nil {
		return err
	}
	path := t.path
	if bound.ServicesID != "" {
		path = "/gsb-api/v1/services/" + url.PathEscape(bound.ServicesID)
	}
	conn, err := t.client.dial(ctx, path)
	if err != nil {
		return fmt.Errorf("serve %s: %w", t.name, err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return errors.Join(errClosed, conn.Close())
	}
	t.path, t.conn = path, conn
	return nil
}

var errClosed = errors.New("the transfer was closed")

// run answers requests until the transfer is over. One that lasts outlives the
// connection to the node.
func (t *Transfer) run(h handler, lasting bool) {
	defer close(t.done)
	for {
		finished, err := t.serve(h)
		switch {
		case finished:
			return
		case err != nil:
			t.err = fmt.Errorf("%s: %w", t.URL, err)
			return
		case !lasting || t.again() != nil:
			t.err = fmt.Errorf("%s: %w", t.URL, ErrInterrupted)
			return
		}
	}
}

// again connects once more after the connection was lost.
func (t *Transfer) again() error {
	ctx, cancel := context.WithTimeout(context.Background(), t.client.Patience)
	defer cancel()
	return t.client.patiently(ctx, func() error {
		t.mu.Lock()
		closed := t.closed
		t.mu.Unlock()
		if closed {
			return errClosed
		}
		return t.connect(ctx)
	})
}

// serve answers the requests of one connection until it ends. An error is an
// answer that cannot be given.
func (t *Transfer) serve(h handler) (finished bool, err error) {
	t.mu.Lock()
	conn := t.conn
	t.mu.Unlock()
	defer func() {
		if !finished { // else what was said last may still be on its way
			_ = conn.Close()
		}
	}()
	for {
		_, frame, err := conn.ReadMessage()
		if err != nil {
			return false, nil
		}
		answer, last, err := reply(h, frame)
		if err != nil {
			return false, err
		}
		if conn.WriteMessage(websocket.BinaryMessage, answer) != nil {
			return false, nil
		}
		if last {
			return true, nil
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
