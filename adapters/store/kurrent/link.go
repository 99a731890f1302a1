package kurrent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// connection is a client that is made anew when it gave up: the official one
// closes itself for good after some failed attempts, may wait for a connection
// without end, and panics on messages that it does not know.
type connection struct {
	config esdb.Configuration
	log    *slog.Logger

	mu     sync.Mutex
	client *esdb.Client
	closed bool
}

// schemes that mean the same.
var schemes = []string{"kurrentdb", "kurrent", "kdb", "esdb"}

// IsURL says whether text is a connection string of such a server.
func IsURL(text string) bool { _, ok := translate(text); return ok }

// translate spells a connection string as the pinned client knows it.
func translate(text string) (string, bool) {
	for _, s := range schemes {
		for _, how := range []string{"://", "+discover://"} {
			if rest, ok := strings.CutPrefix(text, s+how); ok {
				return "esdb" + how + rest, true
			}
		}
	}
	return "", false
}

// Redact takes the password out of a connection string, and leaves text that is
// none as it is.
func Redact(text string) string {
	scheme, _, is := strings.Cut(text, "://")
	if !is {
		return text
	}
	u, err := url.Parse(text)
	if err != nil {
		return scheme + "://…"
	}
	return u.Redacted()
}

func dial(text string, log *slog.Logger) (*connection, error) {
	spelled, ok := translate(text)
	if !ok {
		return nil, fmt.Errorf("%q is no connection string; want kurrent://HOST:PORT?tls=… or esdb://…", Redact(text))
	}
	c, err := esdb.ParseConnectionString(spelled)
	if err != nil {
		return nil, fmt.Errorf("connection string %s: %w", Redact(text), err)
	}
	c.Logger = func(_ esdb.LogLevel, format string, args ...any) {
		log.Debug("client", "says", fmt.Sprintf(format, args...))
	}
	return &connection{config: *c, log: log}, nil
}

var errClosed = errors.New("the connection is closed")

func (c *connection) get() (*esdb.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, errClosed
	}
	if c.client == nil {
		config := c.config
		var err error
		if c.client, err = esdb.NewClient(&config); err != nil {
			return nil, err
		}
	}
	return c.client, nil
}

// discard lets the next call have a new client.
func (c *connection) discard(old *esdb.Client) {
	c.mu.Lock()
	if c.client == old {
		c.client = nil
	}
	c.mu.Unlock()
	_ = old.Close()
}

func (c *connection) close() {
	c.mu.Lock()
	old := c.client
	c.client, c.closed = nil, true
	c.mu.Unlock()
	if old != nil {
		_ = old.Close()
	}
}

// do calls f with a client. It returns when ctx ends, whatever the client does
// then, and turns a panic into an error.
func (c *connection) do(ctx context.Context, f func(context.Context, *esdb.Client) error) error {
	client, err := c.get()
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				done <- fmt.Errorf("the client panicked: %v", p)
			}
		}()
		done <- f(ctx, client)
	}()
	select {
	case err = <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	if err != nil && broken(err) {
		c.discard(client)
	}
	return err
}

// broken says whether an error may be the connection's.
func broken(err error) bool {
	var e *esdb.Error
	if errors.As(err, &e) {
		switch e.Code() {
		case esdb.ErrorCodeWrongExpectedVersion, esdb.ErrorCodeResourceNotFound, esdb.ErrorCodeAccessDenied, esdb.ErrorCodeStreamDeleted, esdb.ErrorCodeUnauthenticated:
			return false
		}
	}
	switch status.Code(err) {
	case codes.InvalidArgument, codes.ResourceExhausted, codes.Canceled:
		return false
	}
	return !errors.Is(err, context.Canceled)
}

// refusal says whether an error is the server's word that it did nothing.
func refusal(err error) bool {
	var e *esdb.Error
	if errors.As(err, &e) {
		switch e.Code() {
		case esdb.ErrorCodeAccessDenied, esdb.ErrorCodeUnauthenticated, esdb.ErrorCodeStreamDeleted, esdb.ErrorCodeUnsupportedFeature:
			return true
		}
	}
	return tooLarge(err)
}

func tooLarge(err error) bool {
	c := status.Code(err)
	return c == codes.InvalidArgument || c == codes.ResourceExhausted
}

func conflict(err error) bool {
	var e *esdb.Error
	return errors.As(err, &e) && e.Code() == esdb.ErrorCodeWrongExpectedVersion
}

func notFound(err error) bool {
	var e *esdb.Error
	return errors.As(err, &e) && e.Code() == esdb.ErrorCodeResourceNotFound
}

// pause waits before another attempt, longer each time.
func pause(ctx context.Context, attempt int) error {
	d := min(20*time.Millisecond<<min(attempt, 6), time.Second)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
