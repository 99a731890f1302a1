package rest

import (
	"cmp"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/emet-node/emet/domain/identity"
)

// Limits of one request or client.
const (
	maxHeaderBytes   = 32 << 10
	maxHeaderLine    = 8 << 10
	maxHeaderCount   = 100
	headerTimeout    = 5 * time.Second
	bodyIdle         = 30 * time.Second
	idleTimeout      = 75 * time.Second
	maxBody          = 2 << 20
	maxJSONDepth     = 64
	maxJSONKeys      = 10_000
	maxJSONNumber    = 64
	maxRequests      = 1024 // of one app-key at the same time
	maxStreams       = 256  // event streams and WebSockets of one app-key
	maxWait          = time.Hour
	writeStall       = 30 * time.Second
	maxConns         = 2048
	maxConnsRemote   = 64
	maxConnsLoopback = 1024
	preflightAge     = time.Hour
)

// Config says how the node presents itself. The zero value serves.
type Config struct {
	// AllowOrigins are origins of web pages that may use any app-key, "*" = all,
	// if AllowAnyOrigin.
	AllowOrigins []string
	// AllowAnyOrigin makes "*" count, here and in the lists of app-keys. Any web
	// page that is open on this machine can then reach the node.
	AllowAnyOrigin bool
	// Hosts are names under which browsers may reach the node, besides
	// localhost and addresses.
	Hosts []string
	// PreflightAge is how long browsers may remember a CORS answer, 0 = one hour.
	PreflightAge time.Duration
	// Version is the version of the protocol that the node speaks, e.g.
	// "0.17.6"; clients refuse what is older than they know. Name is the
	// product's own name and version. Released is shown with them.
	Version, Name string
	Released      time.Time
	// Logger gets one line per request that failed; nil = none.
	Logger *slog.Logger
	Feeds  FeedLimits
	// BodyIdle is how long a request's body may stand still, 0 = 30 s. WriteStall
	// is how long a client may take nothing of its answer, 0 = 30 s.
	BodyIdle, WriteStall time.Duration
	// Moments is how many moments of the past one app-key may have opened in a
	// minute, 0 = as many as it likes.
	Moments int
}

// Key is an app-key, without its secret.
type Key struct {
	ID           string // the first digits of the hash of its name; in no way secret
	Name         string
	Identity     identity.NodeID
	Role         identity.Role
	AllowOrigins []string
}

// Keys knows the app-keys.
type Keys interface {
	// Find returns the key that has a secret.
	Find(secret string) (Key, bool)
	// Origins are the allowed origins of all keys together.
	Origins() []string
}

// server is what all handlers share.
type server struct {
	Config
	Deps
	guard   *guard
	tally   *tally
	tries   *turns // of requests with the same Idempotency-Key
	feeds   *feeds
	moments *momentTurns
	watches *watches
}

// New makes the handler of all routes. Serve it with [HTTPServer].
func New(cfg Config, deps Deps) http.Handler {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.PreflightAge == 0 {
		cfg.PreflightAge = preflightAge
	}
	cfg.BodyIdle, cfg.WriteStall = cmp.Or(cfg.BodyIdle, bodyIdle), cmp.Or(cfg.WriteStall, writeStall)
	cfg.Feeds = cfg.Feeds.orUsual()
	s := &server{Config: cfg, Deps: deps, guard: newGuard(), tally: newTally(deps.Log), tries: newTurns(), feeds: &feeds{}, moments: &momentTurns{perKey: cfg.Moments}, watches: newWatches(deps.Keys)}
	inner := s.travelled(s.router())
	if s.Moment != nil {
		inner = s.still(s.router())
	}
	return s.logged(s.headers(s.crossOrigin(s.authenticated(s.counted(s.revocable(inner))))))
}

// router finds the handler of a request.
func (s *server) router() *echo.Echo {
	e := echo.New()
	e.HideBanner, e.HidePort = true, true
	e.HTTPErrorHandler = s.answerError
	s.routes(e)
	return e
}

// HTTPServer is a server with the time and size limits that the routes need:
// none on the length of an answer, since polls and streams are long.
func HTTPServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelDebug),
	}
}

// loopback says whether a remote address is on this machine.
func loopback(remote string) bool {
	host, _, err := net.SplitHostPort(remote)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
