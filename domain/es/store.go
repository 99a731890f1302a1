package es

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"regexp"
	"slices"
	"strings"
)

// Direction of a read.
type Direction int

// Reads go forward (growing positions) or backward.
const (
	Forward Direction = iota
	Backward
)

// Store is an append-only log of events in streams. Every engine passes
// adapters/store/storetest.
//
// Append is linearizable and atomic over all its streams: all events are in
// the log, contiguous, or none is; it returns after they are durable. Nothing
// is visible to any reader or subscriber before. An Append whose ids are
// already there (same streams, same order, same bytes) returns the original
// receipt; the same id with other bytes is [ErrIDConflict].
type Store interface {
	Append(ctx context.Context, checks []Check, writes ...Write) (Receipt, error)
	// ReadStream yields events of s from revision from on (inclusive), at most
	// max of them (0 = all). A stream that does not exist yields nothing.
	// Backward from a negative revision starts at the end.
	ReadStream(ctx context.Context, s Stream, from Revision, d Direction, max int) iter.Seq2[Event, error]
	// ReadAll yields events from position from on (inclusive) that f matches.
	ReadAll(ctx context.Context, from Position, d Direction, f Filter, max int) iter.Seq2[Event, error]
	// Subscribe follows the log after a position (exclusive; nil = from the beginning).
	Subscribe(ctx context.Context, after *Position, f Filter) Subscription
	Info(ctx context.Context, s Stream) (StreamInfo, error)
	// Head is the number of events, that is the position the next one gets.
	Head(ctx context.Context) (Position, error)
	Caps() Caps
}

// StreamInfo says where a stream stands.
type StreamInfo struct {
	Head Revision // NoStream when there is no event
}

// Caps says what an engine can do beyond the common contract.
type Caps struct {
	Name         string // "memory", "segment", "sqlite", "kurrent"
	Durable      bool   // acknowledged events survive the process
	MerkleProofs bool   // Leaf and PrevInStream are filled and the tree is kept
}

// Filter chooses events by stream or type. The zero Filter takes all. An event
// passes when it matches one of the stream conditions (if there are any) and
// one of the type conditions (if there are any).
type Filter struct {
	Streams        []Stream // exact names
	StreamPrefixes []string
	Types          []string // exact names
	Facts          []string // names as [FactName] gives them: all versions pass
	TypePrefixes   []string
	StreamPattern  *regexp.Regexp
	TypePattern    *regexp.Regexp
}

// Match says whether an event of that stream and type passes.
func (f Filter) Match(s Stream, typ string) bool {
	return match(s, f.Streams, f.StreamPrefixes, f.StreamPattern) && f.matchType(typ)
}

func (f Filter) matchType(typ string) bool {
	if len(f.Facts) == 0 {
		return match(typ, f.Types, f.TypePrefixes, f.TypePattern)
	}
	if slices.Contains(f.Facts, FactName(typ)) {
		return true
	}
	return (len(f.Types)+len(f.TypePrefixes) > 0 || f.TypePattern != nil) && match(typ, f.Types, f.TypePrefixes, f.TypePattern)
}

// AnyVersion is a filter for types in all their versions.
func AnyVersion(types ...string) Filter {
	var f Filter
	for _, typ := range types {
		f.Facts = append(f.Facts, FactName(typ))
	}
	return f
}

func match[S ~string](v S, exact []S, prefixes []string, re *regexp.Regexp) bool {
	if len(exact) == 0 && len(prefixes) == 0 && re == nil {
		return true
	}
	if slices.Contains(exact, v) {
		return true
	}
	for _, p := range prefixes {
		if strings.HasPrefix(string(v), p) {
			return true
		}
	}
	return re != nil && re.MatchString(string(v))
}

// Subscription is a cursor that follows the log. It is used by one goroutine.
type Subscription interface {
	// Next blocks for the next message. It returns ctx's error when that ends,
	// [ErrClosed] after Close.
	Next(ctx context.Context) (Message, error)
	Close() error
}

// Message is what a subscription yields: exactly one field group is set.
type Message struct {
	Event    *Event
	CaughtUp bool // everything durable at that moment was delivered
	// Checkpoint is a position up to which everything was looked at, sent now
	// and then when a filter lets little through.
	Checkpoint *Position
}

// Errors of a store. Callers use errors.Is; the typed ones carry the data.
var (
	ErrConflict      = errors.New("stream changed meanwhile")
	ErrIDConflict    = errors.New("same event id with other content")
	ErrCommitUnknown = errors.New("outcome of the append is unknown; retry with the same ids")
	ErrDegraded      = errors.New("store is read-only")
	ErrCorrupt       = errors.New("store is damaged")
	ErrTooLarge      = errors.New("event or append too large")
	ErrClosed        = errors.New("closed")
	ErrLocked        = errors.New("data directory is in use by another process")
)

// WrongExpectedRevision is an [ErrConflict] that names the stream.
type WrongExpectedRevision struct {
	Stream           Stream
	Expected, Actual Revision
}

func (e *WrongExpectedRevision) Error() string {
	return fmt.Sprintf("stream %s is at revision %d, expected %d", e.Stream, e.Actual, e.Expected)
}

// Is makes errors.Is(err, ErrConflict) true.
func (e *WrongExpectedRevision) Is(target error) bool { return target == ErrConflict }

// Limits of a single append, for every engine.
const (
	MaxEventBytes     = 16 << 20
	MaxAppendBytes    = 64 << 20
	MaxAppendEvents   = 4096
	MaxFactBytes      = 256 << 10 // what [Log] lets a domain fact weigh
	MaxStreamNameSize = 1024
)
