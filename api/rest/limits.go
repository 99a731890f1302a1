package rest

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// headers refuses requests with too many or too long header lines, and bounds
// the body: its size, and how long a read may stand still.
func (s *server) headers(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := 0
		for name, values := range r.Header {
			for _, v := range values {
				if n++; n > maxHeaderCount || len(name)+len(v) > maxHeaderLine {
					plain(w, http.StatusRequestHeaderFieldsTooLarge, "Too many or too long header lines")
					return
				}
			}
		}
		if r.Body != nil && r.Body != http.NoBody {
			// Whoever refuses the request does not read its body, but the server
			// reads on to the next one.
			b := &patientBody{ReadCloser: http.MaxBytesReader(w, r.Body, maxBody), rc: http.NewResponseController(w), idle: s.BodyIdle}
			b.wait()
			r.Body = b
		}
		next.ServeHTTP(w, r)
	})
}

// patientBody gives each read of a body its own deadline, so that a slow body
// may take long but must keep coming.
type patientBody struct {
	io.ReadCloser
	rc   *http.ResponseController
	idle time.Duration
}

func (b *patientBody) wait() { _ = b.rc.SetReadDeadline(time.Now().Add(b.idle)) }

// Read gives up on a body that stands still. What is left of one that broke off
// is not waited for without end either.
func (b *patientBody) Read(p []byte) (int, error) {
	b.wait()
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
	return n, err
}

// tooLarge says whether reading a body failed because of its size.
func tooLarge(err error) bool {
	var e *http.MaxBytesError
	return errors.As(err, &e)
}

// checkJSON walks over JSON without building it and refuses what is nested too
// deeply, has too many keys or too long numbers. Syntax is left to the parser.
func checkJSON(b []byte) error {
	depth, keys, digits := 0, 0, 0
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			i = endOfString(b, i)
			digits = 0
		case c == '{' || c == '[':
			digits = 0
			if depth++; depth > maxJSONDepth {
				return errors.New("JSON is nested too deeply")
			}
		case c == '}' || c == ']':
			depth--
			digits = 0
		case c == ':':
			digits = 0
			if keys++; keys > maxJSONKeys {
				return errors.New("JSON has too many keys")
			}
		case c >= '0' && c <= '9' || c == '.' || c == '-' || c == '+' || c == 'e' || c == 'E':
			if digits++; digits > maxJSONNumber {
				return errors.New("JSON has a number with too many digits")
			}
		default:
			digits = 0
		}
	}
	return nil
}

// endOfString is the place of the quote that ends the string beginning at i.
func endOfString(b []byte, i int) int {
	for i++; i < len(b) && b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i
}
