package rest

import (
	"bytes"
	"net/http"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
)

const pingInterval = 15 * time.Second

// wantsStream says whether a request asks for an event stream before anything else.
func wantsStream(r *http.Request) bool {
	first, _, _ := strings.Cut(r.Header.Get("Accept"), ",")
	media, _, _ := strings.Cut(first, ";")
	return strings.EqualFold(strings.TrimSpace(media), "text/event-stream")
}

// stream writes server-sent events. A client that stops reading is dropped
// after a while, so that it holds nothing up.
type stream struct {
	w  http.ResponseWriter
	rc *http.ResponseController
}

// startStream sends the headers, so that the client knows it is connected.
func startStream(c echo.Context) (*stream, error) {
	h := c.Response().Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-cache")
	h.Set("X-Accel-Buffering", "no")
	c.Response().WriteHeader(http.StatusOK)
	s := &stream{w: c.Response(), rc: http.NewResponseController(c.Response())}
	return s, s.rc.Flush()
}

func (s *stream) send(record []byte) error {
	_ = s.rc.SetWriteDeadline(time.Now().Add(writeStall))
	if _, err := s.w.Write(record); err != nil {
		return err
	}
	return s.rc.Flush()
}

// event sends one record; name and id may be empty. data must be one line, as
// compact JSON is.
func (s *stream) event(name string, data []byte, id string) error {
	var b bytes.Buffer
	if name != "" {
		b.WriteString("event: " + name + "\n")
	}
	b.WriteString("data: ")
	b.Write(data)
	b.WriteByte('\n')
	if id != "" {
		b.WriteString("id: " + id + "\n")
	}
	b.WriteByte('\n')
	return s.send(b.Bytes())
}

// ping sends a comment, which keeps proxies from cutting a silent connection.
func (s *stream) ping() error { return s.send([]byte(":ping\n\n")) }
