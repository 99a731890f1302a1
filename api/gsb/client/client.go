package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

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
}

// Publish serves a file until the transfer is closed. Several requests may read
// content at the same time.
func (c *Client) Publish(ctx context.Context, content io.ReaderAt, size int64) (*Transfer, error) {
	return c.open(ctx, &source{content: content, size: size}, "GetMetadata", "GetChunk")
}

// Receive waits for a file that is written to w piece by piece, in order. Done
// of the transfer is closed when all of it came and its digest was right.
func (c *Client) Receive(ctx context.Context, w io.Writer) (*Transfer, error) {
	return c.open(ctx, newSink(w), "UploadChunk", "UploadFinished")
}

// handler answers the requests of one transfer. It is used by one goroutine.
type handler interface {
	handle(component string, payload map[string]any) (answer any, finished bool, err error)
}

func (c *Client) open(ctx context.Context, h handler, components ...string) (*Transfer, error) {
	var me struct {
		Identity string `json:"identity"`
	}
	if err := c.do(ctx, http.MethodGet, "/me", nil, &me); err != nil {
		return nil, err
	}
	name := uuid.NewString()
	var bound struct {
		ServicesID string `json:"servicesId"`
	}
	body := map[string]any{"listen": map[string]any{"on": "/public/gftp/" + name, "components": components}}
	if err := c.do(ctx, http.MethodPost, "/gsb-api/v1/services", body, &bound); err != nil {
		return nil, err
	}
	path := "/gsb-api/v1/services/" + url.PathEscape(bound.ServicesID)
	conn, err := c.dial(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("serve %s: %w", name, err)
	}
	t := &Transfer{URL: "gftp://" + me.Identity + "/" + name, client: c, path: path, conn: conn, done: make(chan struct{})}
	go t.run(h)
	return t, nil
}

func (c *Client) dial(ctx context.Context, path string) (*websocket.Conn, error) {
	d := websocket.Dialer{Subprotocols: []string{gsb.Subprotocol}}
	header := http.Header{"Authorization": {"Bearer " + c.AppKey}}
	conn, resp, err := d.DialContext(ctx, "ws"+strings.TrimPrefix(strings.TrimSuffix(c.URL, "/"), "http")+path, header)
	if err != nil {
		if resp != nil {
			err = fmt.Errorf("%w (%s)", err, resp.Status)
		}
		return nil, err
	}
	conn.SetReadLimit(gsb.MaxFrameBytes)
	return conn, nil
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
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end or not needed
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if resp.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("%s %s: %s: %.300s", method, path, resp.Status, text)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(text, out); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}
