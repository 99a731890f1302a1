package rest

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
)

// keyless are the beginnings of request URIs that need no app-key.
var keyless = []string{"/metrics-api", "/version/get", "/dashboard"}

func needsKey(r *http.Request) bool {
	for _, p := range keyless {
		if strings.HasPrefix(r.RequestURI, p) {
			return false
		}
	}
	return true
}

type contextKey struct{}

// keyOf is the app-key of a request that passed authentication.
func keyOf(ctx context.Context) Key {
	k, _ := ctx.Value(contextKey{}).(Key)
	return k
}

// callerOf is who gives the commands of a request.
func callerOf(ctx context.Context) identity.Caller {
	k := keyOf(ctx)
	return identity.Caller{Actor: es.ActorREST, Node: k.Identity, Role: k.Role, Grade: es.GradeSelf}
}

// secretOf takes the app-key's secret from the Authorization header, or from
// the query of a WebSocket upgrade, since browsers cannot send headers there. A
// secret in any other URL would end up in logs and histories.
func secretOf(r *http.Request) string {
	if scheme, secret, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(secret)
	}
	if isUpgrade(r) {
		return r.URL.Query().Get("authToken")
	}
	return ""
}

func isUpgrade(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// authenticated lets requests with a key pass, and those to routes that need
// none. Everything else is 401 before it is even looked up, so that strangers
// learn nothing about routes.
func (s *server) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !needsKey(r) {
			next.ServeHTTP(w, r)
			return
		}
		secret := secretOf(r)
		if secret == "" {
			s.refuse(w, r, "Missing application key")
			return
		}
		key, ok := s.Keys.Find(secret)
		if !ok {
			s.refuse(w, r, "Invalid application key")
			return
		}
		if why := mayUse(key, r); why != "" {
			plain(w, http.StatusForbidden, why)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), contextKey{}, key)))
	})
}

// mayUse is what roles allow at the door. Which side of a deal a key may act
// for is decided with the command.
func mayUse(k Key, r *http.Request) string {
	switch k.Role {
	case identity.RoleAuditor:
		if r.Method != http.MethodGet || isUpgrade(r) {
			return "This application key may only read"
		}
		if strings.HasSuffix(r.URL.Path, "/events") && strings.HasPrefix(r.URL.Path, marketBase) {
			return "Reading these events would take them from their owner"
		}
	case identity.RoleMetrics:
		return "This application key may only read metrics"
	case identity.RoleOperator:
		return "This application key only opens the gRPC door"
	}
	return ""
}

func (s *server) refuse(w http.ResponseWriter, r *http.Request, why string) {
	if why != "Missing application key" {
		if d := s.guard.failed(r.RemoteAddr); d > 0 {
			select {
			case <-time.After(d):
			case <-r.Context().Done():
			}
		}
	}
	plain(w, http.StatusUnauthorized, why)
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text))
}

const (
	freeFailures  = 10 // of one address in a minute
	failureDelay  = time.Second
	maxFailureIPs = 4096
)

// guard counts failed keys per address, and what each key has running.
type guard struct {
	mu       sync.Mutex
	refused  struct{ requests, streams, guesses int64 }
	failures map[string]*failures
	running  map[string]*running
}

type failures struct {
	since time.Time
	n     int
}

type running struct{ requests, streams int }

func newGuard() *guard {
	return &guard{failures: make(map[string]*failures), running: make(map[string]*running)}
}

// failed notes a wrong key and says how long its sender must wait. Valid keys
// never wait, so guessing cannot lock anybody out.
func (g *guard) failed(remote string) time.Duration {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		host = remote
	}
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	f, ok := g.failures[host]
	if !ok || now.Sub(f.since) > time.Minute {
		if len(g.failures) >= maxFailureIPs {
			clear(g.failures)
		}
		f = &failures{since: now}
		g.failures[host] = f
	}
	if f.n++; f.n > freeFailures {
		g.refused.guesses++
		return failureDelay
	}
	return 0
}

// enter counts a request of a key; false means that it has too many.
func (g *guard) enter(key string, stream bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	r, ok := g.running[key]
	if !ok {
		r = &running{}
		g.running[key] = r
	}
	switch {
	case r.requests >= maxRequests:
		g.refused.requests++
		return false
	case stream && r.streams >= maxStreams:
		g.refused.streams++
		return false
	}
	r.requests++
	if stream {
		r.streams++
	}
	return true
}

func (g *guard) leave(key string, stream bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r := g.running[key]
	r.requests--
	if stream {
		r.streams--
	}
	if r.requests == 0 {
		delete(g.running, key)
	}
}

// limits are what the busiest app-key has running, and how many addresses guess.
func (g *guard) limits() []Limit {
	g.mu.Lock()
	defer g.mu.Unlock()
	var most running
	for _, r := range g.running {
		most.requests, most.streams = max(most.requests, r.requests), max(most.streams, r.streams)
	}
	return []Limit{
		{"rest_wrong_keys", int64(len(g.failures)), maxFailureIPs, g.refused.guesses},
		{"rest_requests_of_a_key", int64(most.requests), maxRequests, g.refused.requests},
		{"rest_streams_of_a_key", int64(most.streams), maxStreams, g.refused.streams},
	}
}

// counted bounds what one key may have running at the same time.
func (s *server) counted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key := keyOf(r.Context()).ID
		stream := isUpgrade(r) || wantsStream(r) || isFeed(r)
		if !s.guard.enter(key, stream) {
			w.Header().Set("Retry-After", "1")
			plain(w, http.StatusTooManyRequests, "Too many requests of this application key at the same time")
			return
		}
		defer s.guard.leave(key, stream)
		next.ServeHTTP(w, r)
	})
}
