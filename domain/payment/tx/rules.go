package tx

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emet-node/emet/domain/es"
)

// Rules say what may happen to a nonce, and where it then stands.
var Rules = es.Decider[Command, Event, State]{Decide: decide, Evolve: evolve}

// Refusals.
var (
	ErrUnknown      = errors.New("nothing is planned for this nonce")
	ErrOtherPayload = errors.New("the nonce carries another payload")
	ErrForeign      = errors.New("the transaction was not signed here")
	ErrFinal        = errors.New("the nonce is used up")
	ErrNotSigned    = errors.New("there is no signed transaction to send")
	ErrOtherBlock   = errors.New("the proof is of another block")
)

// Accepted is the result of a broadcast that an endpoint took.
const Accepted = "accepted"

// Phase says how far a nonce has come.
type Phase string

// The phases.
const (
	PhasePlanned    Phase = "planned"
	PhaseSigned     Phase = "signed"
	PhaseBroadcast  Phase = "broadcast"
	PhaseIncluded   Phase = "included"
	PhaseFinalised  Phase = "finalised"
	PhaseReverted   Phase = "reverted"
	PhaseSuperseded Phase = "superseded"
)

// State is where one nonce stands.
type State struct {
	Plan      Planned // Address "" = nothing is planned
	Phase     Phase
	Versions  []Signed // all signed transactions, newest last
	Inclusion Included // the current one; Hash "" = none
	Trouble   SigningReason
	Proof     ProofKept // Blob "" = none is kept

	signing      bool     // open intents
	broadcasting []string // hashes
	replaced     string   // hash of the version that others gave way to
}

// Newest is the transaction to send; Hash "" = none was signed.
func (s State) Newest() Signed {
	if len(s.Versions) == 0 {
		return Signed{}
	}
	return s.Versions[len(s.Versions)-1]
}

// Watching says whether the chain must be asked about this nonce: it was
// handed to an endpoint and is not final.
func (s State) Watching() bool { return s.Phase == PhaseBroadcast || s.Phase == PhaseIncluded }

// Final says that nothing more can happen.
func (s State) Final() bool {
	return s.Phase == PhaseFinalised || s.Phase == PhaseReverted || s.Phase == PhaseSuperseded
}

func (s State) signed(hash string) bool {
	return slices.ContainsFunc(s.Versions, func(v Signed) bool { return v.Hash == hash })
}

func evolve(s State, e Event) State {
	switch e := e.(type) {
	case Planned:
		return State{Plan: e, Phase: PhasePlanned}
	case SigningRequested:
		s.signing, s.Trouble = true, ""
	case Signed:
		s.signing = false
		s.Versions = append(slices.Clip(s.Versions), e)
		if s.Phase == PhasePlanned {
			s.Phase = PhaseSigned
		}
	case SigningFailed:
		s.signing, s.Trouble = false, e.Code
	case Replaced:
		s.replaced = e.By
	case BroadcastRequested:
		s.broadcasting = append(slices.Clip(s.broadcasting), e.Hash)
	case Broadcast:
		s.broadcasting = slices.DeleteFunc(slices.Clone(s.broadcasting), func(h string) bool { return h == e.Hash })
		if s.Phase == PhaseSigned {
			s.Phase = PhaseBroadcast
		}
	case Included:
		s.Phase, s.Inclusion = PhaseIncluded, e
	case Finalised:
		s.Phase = PhaseFinalised
	case Reverted:
		s.Phase = PhaseReverted
	case Superseded:
		s.Phase = PhaseSuperseded // open intents are still answered
	case Orphaned:
		s.Phase, s.Inclusion = PhaseBroadcast, Included{}
	case ProofKept:
		s.Proof = e
	}
	return s
}

func decide(s State, c Command) ([]Event, error) {
	if _, first := c.(Plan); !first && s.Plan.Address == "" {
		return nil, ErrUnknown
	}
	switch c := c.(type) {
	case Plan:
		return plan(s, c)
	case RequestSigning:
		return requestSigning(s, c)
	case AnswerSigning:
		return answerSigning(s, c)
	case RequestBroadcast:
		return requestBroadcast(s)
	case AnswerBroadcast:
		if !slices.Contains(s.broadcasting, c.Hash) {
			return nil, nil
		}
		return []Event{Broadcast{
			Address: s.Plan.Address, ChainID: s.Plan.ChainID, Hash: c.Hash, Nonce: s.Plan.Nonce, Result: c.Result, RPC: c.RPC,
		}}, nil
	case Include:
		return include(s, c)
	case Finalise:
		return finalise(s, c)
	case Supersede:
		if s.Final() || s.Phase == PhaseIncluded {
			return nil, nil
		}
		return []Event{Superseded{
			Address: s.Plan.Address, BatchID: s.Plan.BatchID, ChainID: s.Plan.ChainID, Nonce: s.Plan.Nonce, OrderID: s.Plan.OrderID, Why: c.Why,
		}}, nil
	case KeepProof:
		return keepProof(s, c)
	case Orphan:
		if s.Phase != PhaseIncluded || c.BlockHash != s.Inclusion.BlockHash {
			return nil, nil
		}
		return []Event{Orphaned{
			Address: s.Plan.Address, BatchID: s.Plan.BatchID, BlockHash: c.BlockHash, ChainID: s.Plan.ChainID,
			Hash: s.Inclusion.Hash, Nonce: s.Plan.Nonce, OrderID: s.Plan.OrderID,
		}}, nil
	}
	return nil, es.ErrWrongCommand
}

func plan(s State, c Plan) ([]Event, error) {
	if s.Plan.Address != "" {
		if s.Plan.PayloadHash == c.PayloadHash && s.Plan.BatchID == c.BatchID {
			return nil, nil
		}
		return nil, ErrOtherPayload
	}
	return []Event{Planned{
		Address: strings.ToLower(c.Address), BatchID: c.BatchID, Calldata: c.Calldata, ChainID: c.ChainID, Nonce: c.Nonce,
		OrderID: c.OrderID, OwnerID: c.OwnerID, PayloadHash: c.PayloadHash, Platform: c.Platform,
		To: strings.ToLower(c.To), Value: c.Value,
	}}, nil
}

func requestSigning(s State, c RequestSigning) ([]Event, error) {
	switch newest := s.Newest().Hash; {
	case s.Final() || s.Phase == PhaseIncluded || s.signing:
		return nil, nil
	case newest != c.Replaces:
		return nil, nil // signed meanwhile, or replaced by another one
	}
	return []Event{SigningRequested{Address: s.Plan.Address, ChainID: s.Plan.ChainID, Nonce: s.Plan.Nonce, Replaces: c.Replaces}}, nil
}

func answerSigning(s State, c AnswerSigning) ([]Event, error) {
	if !s.signing {
		return nil, nil
	}
	if c.Code == "" && len(c.Raw) == 0 {
		return nil, ErrNotSigned
	}
	if c.Code != "" {
		return []Event{SigningFailed{Address: s.Plan.Address, ChainID: s.Plan.ChainID, Code: c.Code, Nonce: s.Plan.Nonce, Why: c.Why}}, nil
	}
	return []Event{Signed{
		Address: s.Plan.Address, ChainID: s.Plan.ChainID, GasLimit: c.GasLimit, Hash: c.Hash, MaxFee: c.MaxFee,
		Nonce: s.Plan.Nonce, PriorityFee: c.PriorityFee, Raw: c.Raw,
	}}, nil
}

func requestBroadcast(s State) ([]Event, error) {
	newest := s.Newest().Hash
	switch {
	case newest == "":
		return nil, ErrNotSigned
	case s.Final() || s.Phase == PhaseIncluded || slices.Contains(s.broadcasting, newest):
		return nil, nil
	}
	var facts []Event
	if n := len(s.Versions); n > 1 && s.replaced != newest {
		facts = append(facts, Replaced{
			Address: s.Plan.Address, By: newest, ChainID: s.Plan.ChainID, Hash: s.Versions[n-2].Hash, Nonce: s.Plan.Nonce,
		})
	}
	return append(facts, BroadcastRequested{Address: s.Plan.Address, ChainID: s.Plan.ChainID, Hash: newest, Nonce: s.Plan.Nonce}), nil
}

func include(s State, c Include) ([]Event, error) {
	switch {
	case !s.signed(c.Hash):
		return nil, fmt.Errorf("%w: %s", ErrForeign, c.Hash)
	case s.Phase == PhaseIncluded && s.Inclusion.BlockHash == c.BlockHash && s.Inclusion.Hash == c.Hash:
		return nil, nil
	case s.Final():
		return nil, ErrFinal
	}
	var facts []Event
	if s.Phase == PhaseIncluded { // the same transaction, in another block
		facts, _ = decide(s, Orphan{BlockHash: s.Inclusion.BlockHash})
	}
	return append(facts, Included{
		Address: s.Plan.Address, BatchID: s.Plan.BatchID, BlockHash: c.BlockHash, BlockNumber: c.BlockNumber,
		ChainID: s.Plan.ChainID, Fee: c.Fee, GasUsed: c.GasUsed, Hash: c.Hash, Logs: c.Logs, Nonce: s.Plan.Nonce,
		OrderID: s.Plan.OrderID, Status: c.Status,
	}), nil
}

func finalise(s State, c Finalise) ([]Event, error) {
	i := s.Inclusion
	if s.Phase != PhaseIncluded || c.BlockHash != i.BlockHash {
		return nil, nil
	}
	if i.Status == 0 {
		return []Event{Reverted{
			Address: i.Address, BatchID: i.BatchID, BlockNumber: i.BlockNumber, ChainID: i.ChainID, Fee: i.Fee,
			Hash: i.Hash, Nonce: i.Nonce, OrderID: i.OrderID,
		}}, nil
	}
	return []Event{Finalised{
		Address: i.Address, BatchID: i.BatchID, BlockNumber: i.BlockNumber, ChainID: i.ChainID, Fee: i.Fee,
		Hash: i.Hash, Nonce: i.Nonce, OrderID: i.OrderID,
	}}, nil
}

func keepProof(s State, c KeepProof) ([]Event, error) {
	i := s.Inclusion
	switch {
	case s.Phase != PhaseFinalised || s.Proof.Blob != "":
		return nil, nil
	case c.BlockHash != i.BlockHash:
		return nil, fmt.Errorf("%w: %s, the transaction is in %s", ErrOtherBlock, c.BlockHash, i.BlockHash)
	}
	return []Event{ProofKept{
		Address: i.Address, Blob: c.Blob, BlockHash: i.BlockHash, BlockNumber: i.BlockNumber, ChainID: i.ChainID, Hash: i.Hash, Nonce: i.Nonce, Size: c.Size,
	}}, nil
}
