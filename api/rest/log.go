package rest

import (
	"bufio"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"time"
)

// logged writes a line for requests that failed, with secrets taken out, and
// turns a panic into 500.
func (s *server) logged(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		rec := &recorder{ResponseWriter: w, rc: http.NewResponseController(w), stall: s.WriteStall}
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler { //nolint:errorlint // compared as net/http does
				s.Logger.Error("panic in a request handler", "method", r.Method, "uri", redact(r.URL), "panic", p, "stack", string(debug.Stack()))
				if rec.status == 0 {
					plain(rec, http.StatusInternalServerError, "Internal error")
				}
			}
			level := slog.LevelDebug
			if rec.status >= http.StatusInternalServerError && r.Context().Err() == nil { // else the client left
				level = slog.LevelWarn
			}
			s.Logger.Log(r.Context(), level, "request", "method", r.Method, "uri", redact(r.URL),
				"status", rec.status, "duration", time.Since(began))
		}()
		next.ServeHTTP(rec, r)
	})
}

// redact is a request URI without the app-key that may be in it.
func redact(u *url.URL) string {
	if u.RawQuery == "" {
		return u.EscapedPath()
	}
	q := u.Query()
	if q.Has("authToken") {
		q.Set("authToken", "***")
	}
	return u.EscapedPath() + "?" + q.Encode()
}

// recorder remembers the status of an answer, and drops a client that takes
// nothing of it.
type recorder struct {
	http.ResponseWriter
	rc     *http.ResponseController
	stall  time.Duration
	status int
}

// WriteHeader remembers the status.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// piece is how much of an answer a client must take within the time that it may
// stand still.
const piece = 64 << 10

// Write implies status 200.
func (r *recorder) Write(b []byte) (n int, err error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	for err == nil {
		_ = r.rc.SetWriteDeadline(time.Now().Add(r.stall))
		var k int
		k, err = r.ResponseWriter.Write(b[n : n+min(len(b)-n, piece)])
		if n += k; n >= len(b) {
			break
		}
	}
	return n, err
}

// Unwrap lets http.ResponseController through.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// Flush sends what was written.
func (r *recorder) Flush() { _ = http.NewResponseController(r.ResponseWriter).Flush() }

// Hijack hands the connection to a WebSocket.
func (r *recorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	r.status = http.StatusSwitchingProtocols
	return http.NewResponseController(r.ResponseWriter).Hijack()
}
