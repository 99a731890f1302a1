// Package contact is what this node knows of another node that it deals with:
// which keys speak for it, up to where each has stood by the other's log, and
// where the other contradicts itself.
package contact

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/peer"
)

// Category of the streams; the id is the other node's.
const Category = "peer"

// An Event is a fact about another node.
//
//sumtype:decl
type Event interface{ contactEvent() }

type (
	// Met says which keys speak for the node, in its own words. It is written
	// when there is a deal and something new to say, not at each greeting.
	Met struct {
		Delegations []peer.Delegation `json:"delegations"`
		Features    []string          `json:"features,omitzero"`
		Node        identity.NodeID   `json:"node"`
		Version     string            `json:"version,omitzero"`
	}

	// CheckpointCosigned says that one of the two stands by having seen a log
	// of the other. By says who: the node itself, or an identity of ours.
	CheckpointCosigned struct {
		At time.Time `json:"at"` // the cosigner's clock, whole seconds
		// Attestation vouches for the key that cosigned (By is the node), or for
		// the key of the log that we cosigned.
		Attestation peer.Delegation `json:"attestation"`
		By          identity.NodeID `json:"by"`
		Node        identity.NodeID `json:"node"`
		Note        string          `json:"note"` // the checkpoint with its signature and the cosignature
		Origin      string          `json:"origin"`
		Root        string          `json:"root"`            // hex
		SentAt      time.Time       `json:"sentAt,omitzero"` // of the request that we answered, the node's clock
		Size        uint64          `json:"size"`
	}

	// ConflictFound keeps two statements of the node that cannot both be true
	// of a log that only grows.
	ConflictFound struct {
		First  string          `json:"first"` // note, as it stood by it before
		Kind   Conflict        `json:"kind"`
		Node   identity.NodeID `json:"node"`
		Origin string          `json:"origin"`
		Raw    []byte          `json:"raw,omitzero"` // the message with the second one, as it was signed
		Second string          `json:"second"`       // note
	}
)

func (Met) contactEvent()                {}
func (CheckpointCosigned) contactEvent() {}
func (ConflictFound) contactEvent()      {}

// Conflict says how two statements about a log contradict each other.
type Conflict string

// The conflicts.
const (
	// Forked: two logs of one size, or a longer one that does not continue the shorter.
	Forked Conflict = "forked"
	// RolledBack: a shorter log than the one it stood by earlier.
	RolledBack Conflict = "rolled-back"
	// Replaced: another log under the same name of the owner.
	Replaced Conflict = "replaced"
)

// Command is a wish about what is known of a node.
type Command interface{ contactCommand() }

type (
	// Meet keeps the delegations of a node unless they are known.
	Meet struct {
		Delegations []peer.Delegation
		Features    []string
		Node        identity.NodeID
		Version     string
	}
	// Cosign keeps a cosignature. It is refused with [ErrStale] when the log
	// was cosigned as long or longer already.
	Cosign struct{ Fact CheckpointCosigned }
	// Report keeps a conflict, once for each pair of statements.
	Report struct{ Fact ConflictFound }
)

func (Meet) contactCommand()   {}
func (Cosign) contactCommand() {}
func (Report) contactCommand() {}

// ErrStale says that a checkpoint is no newer than one that was cosigned.
var ErrStale = errors.New("a newer checkpoint of this log was cosigned")

// State is what is known of a node. The zero State is nothing.
type State struct {
	Node      identity.NodeID
	Met       []peer.Delegation // the newest for each identity and key
	Cosigned  map[string]CheckpointCosigned
	Conflicts []ConflictFound
}

// Last is the newest cosigned checkpoint of a log.
func (s State) Last(origin string) (CheckpointCosigned, bool) {
	c, ok := s.Cosigned[origin]
	return c, ok
}

// Rules say what may become known.
var Rules = es.Decider[Command, Event, State]{Decide: decide, Evolve: evolve}

func decide(s State, c Command) ([]Event, error) {
	switch c := c.(type) {
	case Meet:
		fresh := slices.DeleteFunc(slices.Clone(c.Delegations), func(d peer.Delegation) bool {
			return slices.ContainsFunc(s.Met, func(k peer.Delegation) bool { return k.Document == d.Document })
		})
		if len(fresh) == 0 {
			return nil, nil
		}
		return []Event{Met{Delegations: fresh, Features: c.Features, Node: c.Node, Version: c.Version}}, nil
	case Cosign:
		f := c.Fact
		if last, ok := s.Last(f.Origin); ok && f.Size <= last.Size {
			if f.Size == last.Size && f.Root == last.Root {
				return nil, nil
			}
			return nil, fmt.Errorf("%s: %w: %d events, now %d", f.Origin, ErrStale, last.Size, f.Size)
		}
		return []Event{f}, nil
	case Report:
		f := c.Fact
		if slices.ContainsFunc(s.Conflicts, func(k ConflictFound) bool { return k.First == f.First && k.Second == f.Second && k.Kind == f.Kind }) {
			return nil, nil
		}
		return []Event{f}, nil
	}
	return nil, es.ErrWrongCommand
}

// maxMet and maxConflicts bound what a state keeps in memory.
const (
	maxMet       = 16
	maxConflicts = 64
)

func evolve(s State, e Event) State {
	switch e := e.(type) {
	case Met:
		s.Node = e.Node
		s.Met = append(s.Met[:len(s.Met):len(s.Met)], e.Delegations...)
		s.Met = s.Met[max(0, len(s.Met)-maxMet):]
	case CheckpointCosigned:
		s.Node = e.Node
		logs := make(map[string]CheckpointCosigned, len(s.Cosigned)+1)
		for k, v := range s.Cosigned {
			logs[k] = v
		}
		logs[e.Origin] = e
		s.Cosigned = logs
	case ConflictFound:
		s.Node = e.Node
		s.Conflicts = append(s.Conflicts[:len(s.Conflicts):len(s.Conflicts)], e)
		s.Conflicts = s.Conflicts[max(0, len(s.Conflicts)-maxConflicts):]
	}
	return s
}
