package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/net/netutil"
)

const (
	maxBody  = 1 << 20
	maxConns = 64
	stopTime = 5 * time.Second
)

// Serve answers on a socket that [Listen] opened until ctx ends. It removes the
// socket when it is done.
func Serve(ctx context.Context, l net.Listener, d Daemon) error {
	s := &http.Server{
		Handler: Handler(d), ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }, // who follows the log is let go
	}
	done := make(chan error, 1)
	go func() { done <- s.Serve(netutil.LimitListener(l, maxConns)) }()
	select {
	case err := <-done:
		return fmt.Errorf("control socket: %w", err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	if err := s.Shutdown(stop); err != nil {
		return s.Close()
	}
	return nil
}

// Handler are the routes of the socket.
func Handler(d Daemon) http.Handler {
	m := http.NewServeMux()
	m.Handle("GET /v1/status", get(d.Status))
	m.Handle("POST /v1/stop", answer(func(r *http.Request) (any, error) { return nil, d.Stop(r.Context()) }))

	m.Handle("GET /v1/log", follow(d))

	m.Handle("GET /v1/identities", get(d.Identities))
	m.Handle("POST /v1/identities", with(d.CreateIdentity))
	m.Handle("GET /v1/identity", answer(func(r *http.Request) (any, error) { return d.Identity(r.Context(), ref(r)) }))
	m.Handle("PATCH /v1/identity", answer(func(r *http.Request) (any, error) {
		var c IdentityChange
		if err := body(r, &c); err != nil {
			return nil, err
		}
		return d.UpdateIdentity(r.Context(), ref(r), c)
	}))
	m.Handle("DELETE /v1/identity", answer(func(r *http.Request) (any, error) { return d.DropIdentity(r.Context(), ref(r)) }))
	m.Handle("POST /v1/identity/lock", answer(func(r *http.Request) (any, error) { return d.LockIdentity(r.Context(), ref(r)) }))
	m.Handle("POST /v1/identity/unlock", answer(func(r *http.Request) (any, error) {
		var u unlock
		if err := body(r, &u); err != nil {
			return nil, err
		}
		return d.UnlockIdentity(r.Context(), ref(r), u.Passphrase)
	}))
	m.Handle("POST /v1/identity/export", answer(func(r *http.Request) (any, error) {
		return d.ExportIdentity(r.Context(), ref(r), r.URL.Query().Get("plain") == "true")
	}))

	m.Handle("GET /v1/app-keys", get(d.AppKeys))
	m.Handle("POST /v1/app-keys", with(d.CreateAppKey))
	m.Handle("DELETE /v1/app-key", answer(func(r *http.Request) (any, error) {
		return nil, d.DropAppKey(r.Context(), r.URL.Query().Get("name"), ref(r))
	}))

	m.Handle("GET /v1/providers", get(d.Providers))
	m.Handle("POST /v1/provider/{switch}", answer(func(r *http.Request) (any, error) {
		return d.SwitchProvider(r.Context(), ref(r), Switch(r.PathValue("switch")))
	}))
	webhookRoutes(m, d)
	return http.MaxBytesHandler(m, maxBody)
}

type unlock struct {
	Passphrase string `json:"passphrase"`
}

// ref names an identity: it may hold any character, so it is no path.
func ref(r *http.Request) string { return r.URL.Query().Get("id") }

func body(r *http.Request, into any) error {
	dec := json.NewDecoder(r.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("%w: %w", ErrBad, err)
	}
	return nil
}

func get[T any](f func(context.Context) (T, error)) http.Handler {
	return answer(func(r *http.Request) (any, error) { return f(r.Context()) })
}

func with[Q, T any](f func(context.Context, Q) (T, error)) http.Handler {
	return answer(func(r *http.Request) (any, error) {
		var q Q
		if err := body(r, &q); err != nil {
			return nil, err
		}
		return f(r.Context(), q)
	})
}

// follow writes one fact a line as they come.
func follow(d Daemon) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		from, err := strconv.ParseUint(r.URL.Query().Get("from"), 10, 64)
		if err != nil {
			answer(func(*http.Request) (any, error) { return nil, fmt.Errorf("%w: from is no position", ErrBad) }).ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/x-ndjson")
		out := http.NewResponseController(w)
		out.Flush() //nolint:errcheck // Encode tells when nobody listens
		enc := json.NewEncoder(w)
		d.Follow(r.Context(), from, func(f Fact) error { //nolint:errcheck // it ends when nobody listens
			if err := enc.Encode(f); err != nil {
				return err
			}
			return out.Flush()
		})
	})
}

// problem is the answer of a request that failed.
type problem struct {
	Code  string `json:"code"`
	Error string `json:"error"`
}

// codes pair errors with what they are called on the wire.
var codes = []struct {
	err    error
	code   string
	status int
}{
	{ErrNotFound, "not-found", http.StatusNotFound},
	{ErrBad, "bad", http.StatusBadRequest},
	{ErrRefused, "refused", http.StatusForbidden},
}

func answer(f func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := f(r)
		status := http.StatusOK
		if err != nil {
			p := problem{Code: "failed", Error: err.Error()}
			status = http.StatusInternalServerError
			for _, c := range codes {
				if errors.Is(err, c.err) {
					p.Code, status = c.code, c.status
					break
				}
			}
			v = p
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		json.NewEncoder(w).Encode(v) //nolint:errcheck // nobody is left to tell
	})
}
