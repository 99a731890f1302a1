package gsb

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"

	"github.com/emet-node/emet/api/gsb/flex"
	"github.com/emet-node/emet/domain/identity"
)

// Limits of one service.
const (
	MaxQueuedCalls = 256
	MaxQueuedBytes = 1 << 20
	MaxFrameBytes  = 16 << 20
	MaxServices    = 4096 // of one identity
)

// Errors of the bridge.
var (
	// ErrAddress says that a client may not claim such an address.
	ErrAddress = errors.New("address may not be bound")
	// ErrTaken says that the address is already bound.
	ErrTaken = errors.New("address is already bound")
	// ErrNoService says that nobody (or somebody else) bound the address.
	ErrNoService = errors.New("no such service")
	// ErrBusy says that too many requests wait for the client's socket.
	ErrBusy = errors.New("service has too many waiting requests")
	// ErrGone says that the client went away before it answered.
	ErrGone = errors.New("service closed the connection")
)

// Refused is an error that the client answered with.
type Refused struct{ Value any }

func (r *Refused) Error() string { return fmt.Sprintf("service answered with an error: %v", r.Value) }

// Owner is who bound a service: an identity, and the app-key it was done with.
type Owner struct {
	Identity identity.NodeID
	Key      string // id of the app-key
}

// Bridge holds the services that clients have bound. It is safe for use by many
// goroutines. Nothing in it survives a restart.
type Bridge struct {
	log *slog.Logger

	mu       sync.Mutex
	services map[address]*service
}

type address struct {
	identity identity.NodeID
	on       string
}

// New makes a bridge without services.
func New(log *slog.Logger) *Bridge {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Bridge{log: log, services: make(map[address]*service)}
}

// ID is the name under which REST knows a bound address.
func ID(on string) string { return base64.RawURLEncoding.EncodeToString([]byte(on)) }

// Bind claims an address for an owner and returns its [ID]. The components are
// the requests that the client answers. It fails with [ErrAddress] or [ErrTaken].
func (b *Bridge) Bind(o Owner, on string, components []string) (string, error) {
	if err := checkAddress(o, on); err != nil {
		return "", err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	at := address{o.Identity, on}
	if _, ok := b.services[at]; ok {
		return "", fmt.Errorf("%w: %s", ErrTaken, on)
	}
	if b.count(o.Identity) >= MaxServices {
		return "", fmt.Errorf("%w: this identity has %d services already", ErrTaken, MaxServices)
	}
	b.services[at] = newService(o, on, components)
	return ID(on), nil
}

// checkAddress lets clients claim files and their own corner, never the node's
// own services.
func checkAddress(o Owner, on string) error {
	rest, ok := strings.CutPrefix(on, "/public/gftp/")
	if !ok {
		rest, ok = strings.CutPrefix(on, "/public/app/"+string(o.Identity)+"/")
	}
	switch {
	case !ok:
		return fmt.Errorf("%w: %.80q is not below /public/gftp/ or /public/app/%s/", ErrAddress, on, o.Identity)
	case rest == "" || len(rest) > 256 || strings.ContainsAny(rest, "\x00\n\r") || slices.Contains(strings.Split(rest, "/"), ".."):
		return fmt.Errorf("%w: %.80q has no usable name", ErrAddress, on)
	}
	return nil
}

func (b *Bridge) count(node identity.NodeID) (n int) {
	for at := range b.services {
		if at.identity == node {
			n++
		}
	}
	return n
}

// Unbind gives an address back and closes its socket.
func (b *Bridge) Unbind(o Owner, id string) error {
	s, err := b.owned(o, id)
	if err != nil {
		return err
	}
	b.mu.Lock()
	delete(b.services, address{o.Identity, s.on})
	b.mu.Unlock()
	s.close(closeNormal, "service was unbound")
	return nil
}

// UnbindKey gives back everything that an app-key bound, for when it is dropped.
func (b *Bridge) UnbindKey(key string) {
	b.mu.Lock()
	var gone []*service
	for at, s := range b.services {
		if s.owner.Key == key {
			gone = append(gone, s)
			delete(b.services, at)
		}
	}
	b.mu.Unlock()
	for _, s := range gone {
		s.close(closePolicy, "app-key was dropped")
	}
}

// Close ends all services, for when the node stops.
func (b *Bridge) Close() error {
	b.mu.Lock()
	gone := slices.Collect(maps.Values(b.services))
	clear(b.services)
	b.mu.Unlock()
	for _, s := range gone {
		s.close(closeGoingAway, "node stops")
	}
	return nil
}

// Has says whether the owner bound the service with that id.
func (b *Bridge) Has(o Owner, id string) error {
	_, err := b.owned(o, id)
	return err
}

func (b *Bridge) owned(o Owner, id string) (*service, error) {
	on, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil {
		return nil, fmt.Errorf("%w: %.80q", ErrNoService, id)
	}
	s, err := b.find(o.Identity, string(on))
	if err == nil && s.owner != o {
		err = fmt.Errorf("%w: %.80q", ErrNoService, id)
	}
	return s, err
}

func (b *Bridge) find(node identity.NodeID, on string) (*service, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.services[address{node, on}]
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrNoService, on)
	}
	return s, nil
}

// Call asks the client that bound an address of a local identity. It returns
// the payload of the answer (see package flex), *[Refused] if the client
// answered with an error, [ErrNoService], [ErrBusy], [ErrGone], or ctx's error.
func (b *Bridge) Call(ctx context.Context, to identity.NodeID, on, component string, payload any) (any, error) {
	s, err := b.find(to, on)
	if err != nil {
		return nil, err
	}
	return s.call(ctx, component, payload)
}

func (s *service) call(ctx context.Context, component string, payload any) (any, error) {
	if !slices.Contains(s.components, component) {
		return nil, fmt.Errorf("%w: %s does not answer %s", ErrNoService, s.on, component)
	}
	id := uuid.NewString()
	frame, err := flex.Marshal(map[string]any{"id": id, "component": component, "payload": payload})
	if err != nil {
		return nil, fmt.Errorf("call %s of %s: %w", component, s.on, err)
	}
	c := &call{id: id, frame: frame, answer: make(chan answer, 1)}
	if err := s.enqueue(c); err != nil {
		return nil, fmt.Errorf("call %s of %s: %w", component, s.on, err)
	}
	defer s.forget(c)
	select {
	case a := <-c.answer:
		return a.payload, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("call %s of %s: %w", component, s.on, ctx.Err())
	}
}
