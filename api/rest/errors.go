package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/emet-node/emet/domain/ledger"
)

// Problem is an error that knows the status it is answered with. How its text
// is dressed depends on the family of the route.
type Problem struct {
	Status int
	Text   string
	// Null answers {"message":null}, as some routes do for unknown ids.
	Null bool
	// Plain answers text/plain: what the framework of the reference node said,
	// not its business logic.
	Plain bool
	// Body, if not nil, is answered as application/problem+json.
	Body any
}

func (p *Problem) Error() string { return fmt.Sprintf("%d %s", p.Status, p.Text) }

func problem(status int, format string, args ...any) error {
	return &Problem{Status: status, Text: fmt.Sprintf(format, args...)}
}

// badQuery is what a query or header that cannot be read is answered with.
func badQuery(format string, args ...any) error {
	return &Problem{Status: http.StatusBadRequest, Text: fmt.Sprintf(format, args...), Plain: true}
}

// family is a group of routes that dress errors alike.
type family struct {
	// status finds the status of a domain error, 0 = not one of the family's.
	status func(error) int
	// text makes the message for a status.
	text func(status int, err error) string
	// jsonBodies says that a body which cannot be read is answered in JSON.
	jsonBodies bool
}

type message struct {
	Message *string `json:"message"`
}

const familyKey = "family"

// in makes a handler answer its errors as its family does.
func (s *server) in(f *family, h echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		c.Set(familyKey, f)
		return h(c)
	}
}

// answerError is where every error of a handler ends.
func (s *server) answerError(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	if c.Request().Context().Err() != nil {
		// The client is gone, or the node stops.
		_ = c.NoContent(http.StatusServiceUnavailable)
		return
	}
	if errors.Is(err, echo.ErrNotFound) || errors.Is(err, echo.ErrMethodNotAllowed) {
		c.Response().Header().Del(echo.HeaderAllow)
		_ = c.NoContent(http.StatusNotFound)
		return
	}
	f, _ := c.Get(familyKey).(*family)
	if f == nil {
		f = &otherFamily
	}
	p := f.dress(err)
	if p.Status >= http.StatusInternalServerError {
		s.Logger.Warn("request failed", "method", c.Request().Method, "uri", redact(c.Request().URL), "error", err)
	}
	_ = p.write(c)
}

// dress finds the status and text of an error.
func (f *family) dress(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		if p.Text == "" || p.Plain || p.Null || p.Body != nil {
			return p
		}
		return &Problem{Status: p.Status, Text: f.text(p.Status, errors.New(p.Text))}
	}
	if errors.Is(err, ledger.ErrHeld) {
		return &Problem{Status: http.StatusServiceUnavailable, Text: f.text(http.StatusServiceUnavailable, err)}
	}
	if past := answerPast(err); past != nil {
		return past
	}
	status := f.status(err)
	if status == 0 && errors.Is(err, context.DeadlineExceeded) {
		status = http.StatusRequestTimeout
	}
	if status == 0 {
		status = http.StatusInternalServerError
	}
	return &Problem{Status: status, Text: f.text(status, err)}
}

func (p *Problem) write(c echo.Context) error {
	switch {
	case p.Body != nil:
		return answerAs(c, p.Status, "application/problem+json", p.Body)
	case p.Plain:
		return c.String(p.Status, p.Text)
	case p.Null:
		return answer(c, p.Status, message{})
	}
	return answer(c, p.Status, message{Message: &p.Text})
}

func asItIs(_ int, err error) string { return err.Error() }

func unknownError(error) int { return 0 }

var otherFamily = family{status: unknownError, text: asItIs}
