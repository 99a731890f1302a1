package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/gorilla/websocket"

	"github.com/emet-node/emet/api/gsb"
)

// Client talks to the node at URL (for instance http://127.0.0.1:7465) with an
// app-key. HTTP may be nil.
type Client struct {
	URL    string
	AppKey string
	HTTP   *http.Client
	// Patience is how long a node that does not answer is asked again, as when
	// it is being started again. A file that is published is then published
	// again, under the same name.
	Patience time.Duration
}

// Publish serves a file until the transfer is closed. Several requests may read
// content at the same time.
func (c *Client) Publish(ctx context.Context, content io.ReaderAt, size int64) (*Transfer, error) {
	return c.open(ctx, &source{content: content, size: size}, c.Patience > 0, "GetMetadata", "GetChunk")
}

// Receive waits for a file that is written to w piece by piece, in order. Done
// of the transfer is closed when all of it came and its digest was right, or
// when the connection to the node ended: a file is received as a whole.
func (c *Client) Receive(ctx context.Context, w io.Writer) (*Transfer, error) {
	return c.open(ctx, newSink(w), false, "UploadChunk", "UploadFinished")
}

// handler answers the requests of one transfer. It is used by one goroutine.
type handler interface {
	handle(component string, payload map[string]any) (answer any, finished bool, err error)
}

func (c *Client) open(ctx context.Context, h handler, lasting bool, components ...string) (*Transfer, error) {
	var me struct {
		Identity string `json:"identity"`
	}
	err := c.patiently(ctx, func() error { return c.do(ctx, http.MethodGet, "/me", nil, &me) })
	if err != nil {
		return nil, err
	}
	t := &Transfer{client: c, components: components, done: make(chan struct{})}
	err = c.patiently(ctx, func() error {
		t.name = uuid.NewString()
		return t.connect(ctx)
	})
	if err != nil {
		return nil, err
	}
	t.URL = "gftp://" + me.Identity + "/" + t.name
	go t.run(h, lasting)
	return t, nil
}

// errUnreachable says that no node answered.
var errUnreachable = errors.New("no node answers")

// patiently asks again while no node answers, as long as patience lasts.
func (c *Client) patiently(ctx context.Context, ask func() error) error {
	for begun := time.Now(); ; {
		err := ask()
		if err == nil || !errors.Is(err, errUnreachable) || time.Since(begun) >= c.Patience {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (c *Client) dial(ctx context.Context, path string) (*websocket.Conn, error) {
	d := websocket.Dialer{Subprotocols: []string{gsb.Subprotocol}}
	header := http.Header{"Authorization": {"Bearer " + c.AppKey}}
	conn, resp, err := d.DialContext(ctx, "ws"+strings.TrimPrefix(strings.TrimSuffix(c.URL, "/"), "http")+path, header)
	if err != nil {
		if resp != nil {
			return nil, fmt.Errorf("%w (%s)", err, resp.Status)
		}
		return nil, fmt.Errorf("%w: %w", errUnreachable, err)
	}
	conn.SetReadLimit(gsb.MaxFrameBytes)
	return conn, nil
}

// statusError is an answer that is no success.
type statusError struct {
	method, path string
	status       int
	text         string
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s %s: %d %s: %s", e.method, e.path, e.status, http.StatusText(e.status), e.text)
}

// do sends a request and decodes the JSON of its answer into out, if out is not nil.
func (c *Client) do(ctx context.Context, method, path string, body, out any) error {
	var reader io.Reader
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return err
		}
		reader = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.URL, "/")+path, reader)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+c.AppKey)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("%s %s: %w: %w", method, path, errUnreachable, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end or not needed
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("%s %s: %w: %w", method, path, errUnreachable, err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return &statusError{method, path, resp.StatusCode, fmt.Sprintf("%.300s", text)}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}
