package appkey

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
)

// Limits of a key.
const (
	MaxName    = 128 // bytes
	MaxPrefix  = 6   // characters of the secret that are no secret
	maxOrigins = 64
)

// Refusals.
var (
	ErrUnknown = errors.New("there is no such app-key")
	ErrBadName = errors.New("bad app-key name")
	ErrBadKey  = errors.New("bad app-key")
	// ErrTaken has the words that test harnesses of other nodes look for.
	ErrTaken = errors.New("UNIQUE constraint failed: app_key.name")
)

// Rules say what may happen to an app-key.
var Rules = es.Decider[Command, Event, State]{Decide: decide, Evolve: evolve}

func decide(s State, c Command) ([]Event, error) {
	switch c.by().Actor {
	case es.ActorOperator, es.ActorEffect, es.ActorSaga, es.ActorImport:
	default:
		return nil, fmt.Errorf("%w: app-keys are handled by the operator of the node", identity.ErrForbidden)
	}
	switch c := c.(type) {
	case Create:
		return create(s, c)
	case Drop:
		return drop(s, c)
	}
	return nil, fmt.Errorf("%T: %w", c, es.ErrWrongCommand)
}

func create(s State, c Create) ([]Event, error) {
	if c.Role == "" {
		c.Role = identity.RoleManager
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	switch {
	case s.Name == "":
	case s.Name != c.Name:
		return nil, fmt.Errorf("app-key %q: its name has the same digest as %q, choose another", c.Name, s.Name)
	case s.Identity != c.Identity:
		return nil, fmt.Errorf("app-key %q already exists with another identity: %w", c.Name, ErrTaken)
	default:
		return nil, nil // the old key is the answer
	}
	return []Event{Created{
		Hash: c.Hash, Identity: c.Identity, Limit: Limit{Expires: c.Limit.Expires.UTC()}, Name: c.Name,
		Origins: c.Origins, Prefix: c.Prefix, Role: c.Role,
	}}, nil
}

func drop(s State, c Drop) ([]Event, error) {
	if s.Name == "" || s.Name != c.Name || c.Identity != "" && c.Identity != s.Identity {
		return nil, fmt.Errorf("app-key %q: %w", c.Name, ErrUnknown)
	}
	return []Event{Dropped{Hash: s.Hash, Identity: s.Identity, Name: s.Name}}, nil
}

func (c Create) check() error {
	if err := CheckName(c.Name); err != nil {
		return err
	}
	if id, err := identity.ParseNodeID(string(c.Identity)); err != nil || id != c.Identity {
		return fmt.Errorf("app-key %q: identity %q is no node id in lower case", c.Name, c.Identity)
	}
	if b, err := hex.DecodeString(c.Hash); err != nil || len(b) != 32 || strings.ToLower(c.Hash) != c.Hash {
		return fmt.Errorf("%w %q: the hash is not a SHA-256 in lower-case hexadecimal", ErrBadKey, c.Name)
	}
	if utf8.RuneCountInString(c.Prefix) > MaxPrefix {
		return fmt.Errorf("%w %q: a prefix has at most %d characters", ErrBadKey, c.Name, MaxPrefix)
	}
	if e := c.Limit.Expires; !e.IsZero() && !e.After(c.At) {
		return fmt.Errorf("%w %q: it would have expired at %s", ErrBadKey, c.Name, e.UTC())
	}
	switch c.Role {
	case identity.RoleManager, identity.RoleRequestor, identity.RoleProvider, identity.RoleAuditor, identity.RoleMetrics, identity.RoleOperator:
	default:
		return fmt.Errorf("%w %q: role %q, want manager, requestor, provider, auditor, metrics or operator", ErrBadKey, c.Name, c.Role)
	}
	return checkOrigins(c.Origins)
}

// CheckName says what is wrong with the name of a key.
func CheckName(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: it is empty", ErrBadName)
	case len(name) > MaxName:
		return fmt.Errorf("%w: %d bytes, at most %d", ErrBadName, len(name), MaxName)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return fmt.Errorf("%w %q: it has characters that cannot be printed", ErrBadName, name)
	case name != strings.TrimSpace(name):
		return fmt.Errorf("%w %q: it begins or ends with a space", ErrBadName, name)
	}
	return nil
}

func checkOrigins(origins []string) error {
	if len(origins) > maxOrigins {
		return fmt.Errorf("%w: %d origins, at most %d", ErrBadKey, len(origins), maxOrigins)
	}
	for _, o := range origins {
		u, err := url.Parse(o)
		if o != "*" && (err != nil || u.Scheme == "" || u.Host == "" || u.Scheme+"://"+u.Host != o) {
			return fmt.Errorf("%w: origin %q, want * or scheme://host[:port] without a path", ErrBadKey, o)
		}
	}
	return nil
}
