package account

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/delegation"
)

// maxAlias bounds an alias, in bytes.
const maxAlias = 128

// Refusals.
var (
	ErrUnknown  = errors.New("there is no such identity on this node")
	ErrDropped  = errors.New("the identity was dropped")
	ErrDefault  = errors.New("Default identity cannot be dropped") //nolint:staticcheck // clients of the CLI know the sentence
	ErrBadAlias = errors.New("bad alias")
)

// Rules say what may happen to an identity.
var Rules = es.Decider[Command, Event, State]{Decide: decide, Evolve: evolve}

func decide(s State, c Command) ([]Event, error) {
	if err := mayOwn(c.by()); err != nil {
		return nil, err
	}
	_, first := c.(Create)
	if !first && s.ID == "" {
		return nil, ErrUnknown
	}
	if _, again := c.(Drop); s.Dropped && !first && !again {
		return nil, fmt.Errorf("%s: %w", s.ID, ErrDropped)
	}
	return change(s, c)
}

// mayOwn lets the operator and the node itself handle identities.
func mayOwn(by identity.Caller) error {
	switch by.Actor {
	case es.ActorOperator, es.ActorEffect, es.ActorSaga, es.ActorImport:
		return nil
	}
	return fmt.Errorf("%w: identities are handled by the operator of the node", identity.ErrForbidden)
}

func create(s State, c Create) ([]Event, error) {
	if s.Live() {
		return nil, nil
	}
	if _, err := identity.ParseNodeID(string(c.Identity)); err != nil {
		return nil, err
	}
	if err := CheckAlias(c.Alias); err != nil {
		return nil, err
	}
	facts := []Event{Created{Alias: c.Alias, Identity: c.Identity, Origin: c.Origin, PublicKey: c.PublicKey}}
	if c.Locked {
		facts = append(facts, Locked{Identity: c.Identity})
	}
	return facts, nil
}

func change(s State, c Command) ([]Event, error) {
	switch c := c.(type) {
	case Create:
		return create(s, c)
	case SetAlias:
		if err := CheckAlias(c.Alias); err != nil {
			return nil, err
		}
		return only(c.Alias != s.Alias, Aliased{Alias: c.Alias, Identity: s.ID})
	case MakeDefault:
		return only(c.Present != s.ID, MadeDefault{Identity: s.ID})
	case Lock:
		return only(!s.Locked, Locked{Identity: s.ID})
	case Unlock:
		return only(s.Locked, Unlocked{Identity: s.ID})
	case Drop:
		if c.Default == s.ID {
			return nil, ErrDefault
		}
		return only(!s.Dropped, Dropped{Identity: s.ID})
	case DelegateKey:
		return delegate(s, c)
	case RevokeKey:
		key, ok := s.Keys[c.PublicKey]
		return only(ok, KeyRevoked{Identity: s.ID, PublicKey: c.PublicKey, Reason: c.Reason, Role: key.Role})
	}
	return nil, fmt.Errorf("%T: %w", c, es.ErrWrongCommand)
}

func only(news bool, e Event) ([]Event, error) {
	if !news {
		return nil, nil
	}
	return []Event{e}, nil
}

func delegate(s State, c DelegateKey) ([]Event, error) {
	d, err := delegation.Parse([]byte(c.Document))
	if err != nil {
		return nil, err
	}
	if d.Identity != s.ID {
		return nil, fmt.Errorf("delegation of %s is not for %s: %w", d.Identity, s.ID, identity.ErrForbidden)
	}
	if err := d.ValidAt(c.At); err != nil {
		return nil, err
	}
	if len(c.Signature) != 65 {
		return nil, fmt.Errorf("delegation of %s: signature has %d bytes, want 65", s.ID, len(c.Signature))
	}
	if k, ok := s.Keys[d.PublicKey]; ok && k.Document == c.Document && bytes.Equal(k.Signature, c.Signature) {
		return nil, nil
	}
	return []Event{KeyDelegated{
		Document: c.Document, Identity: s.ID, NotAfter: time.Unix(d.NotAfter, 0).UTC(), PublicKey: d.PublicKey,
		Role: string(d.Role), Signature: c.Signature, Subject: d.Subject,
	}}, nil
}

// CheckAlias says what is wrong with an alias. Something that reads as a node
// id is no alias, since commands take either.
func CheckAlias(alias string) error {
	switch {
	case len(alias) > maxAlias:
		return fmt.Errorf("%w: %d bytes, at most %d", ErrBadAlias, len(alias), maxAlias)
	case !utf8.ValidString(alias) || strings.ContainsFunc(alias, unicode.IsControl):
		return fmt.Errorf("%w %q: it has characters that cannot be printed", ErrBadAlias, alias)
	case alias != strings.TrimSpace(alias):
		return fmt.Errorf("%w %q: it begins or ends with a space", ErrBadAlias, alias)
	}
	if _, err := identity.ParseNodeID(alias); err == nil {
		return fmt.Errorf("%w %q: it reads as a node id", ErrBadAlias, alias)
	}
	return nil
}
