package esdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/emet-node/emet/domain/es"
)

// What an operator may append at once. Its events are facts like others.
const (
	maxOperatorEvent  = es.MaxFactBytes
	maxOperatorAppend = 1 << 20
)

// errNotYours says that the streams of a node are written by the node alone.
var errNotYours = errors.New("what stands there is the node's own word")

// errNoFact says that something cannot be an event of this log.
var errNoFact = errors.New("it cannot be an event of this log")

// tooMuch is an append beyond what the door takes, which is less than the store
// would.
type tooMuch struct {
	limit int
	text  string
}

func (e *tooMuch) Error() string { return e.text }
func (e *tooMuch) Unwrap() error { return es.ErrTooLarge }

// author is who appends: nil for a door that takes anything from anybody.
type author struct{ meta es.Meta }

type authorKey struct{}

// author returns whose append it is; ok is false when there is nobody who may.
func (s *Server) author(ctx context.Context) (a *author, ok bool) {
	if s.o.Writable {
		return nil, true
	}
	a, ok = ctx.Value(authorKey{}).(*author)
	return a, ok
}

// fact makes what a client proposed an event of the node's log, or says why it
// is none: the node's streams and types are its own word, and content is JSON
// that everybody can read.
func (a *author) fact(stream es.Stream, e es.NewEvent, reserved func(es.Stream, string) error) (es.NewEvent, error) {
	bad := func(format string, args ...any) (es.NewEvent, error) {
		return e, fmt.Errorf("event %s for %s: %w: %s", e.ID, stream, errNoFact, fmt.Sprintf(format, args...))
	}
	category, id, _ := strings.Cut(string(stream), "-")
	switch {
	case strings.HasPrefix(category, "$") || strings.HasPrefix(e.Type, "$"):
		return e, fmt.Errorf("event %s for %s: names that begin with $ are reserved: %w", e.Type, stream, errNotYours)
	case category == "" || id == "":
		return bad("a stream is named <category>-<id>")
	case e.ID[6]>>4 == 5:
		return bad("its id %s is a UUID of version 5, as the node gives them to its own; use version 4 or 7", e.ID)
	case e.Subject != "" || !json.Valid(e.Data) || !utf8.Valid(e.Data):
		return bad("its content is not application/json in UTF-8")
	case len(e.Data)+len(e.Meta) > maxOperatorEvent:
		return e, &tooMuch{maxOperatorEvent, fmt.Sprintf("event %s for %s has %d bytes, this door takes at most %d", e.ID, stream, len(e.Data)+len(e.Meta), maxOperatorEvent)}
	}
	if reserved != nil {
		if err := reserved(stream, e.Type); err != nil {
			return e, fmt.Errorf("event %s for %s: %w: %w", e.Type, stream, err, errNotYours)
		}
	}
	meta, err := a.stamp(e.Meta)
	if err != nil {
		return bad("%v", err)
	}
	e.Meta = meta
	return e, nil
}

// nodesOwn are keys of metadata with which a node says how it knows a fact.
var nodesOwn = []string{
	"actor", "appKey", "cause", "effect", "grade", "identity", "key", "node", "peer", "policy", "sentAt", "seq", "session", "trace", "via",
}

// stamp adds who appends to the metadata of a client.
func (a *author) stamp(given []byte) ([]byte, error) {
	m := a.meta
	if len(given) > 0 {
		var keys map[string]json.RawMessage
		if !utf8.Valid(given) || json.Unmarshal(given, &keys) != nil {
			return nil, errors.New("its metadata is not a JSON object")
		}
		for k := range keys {
			if k != "$correlationId" && k != "$causationId" && (strings.HasPrefix(k, "$") || slices.Contains(nodesOwn, k)) {
				return nil, fmt.Errorf("its metadata has %q, which the node itself says; of reserved keys only $correlationId and $causationId may be given", k)
			}
		}
		var theirs es.Meta
		if err := json.Unmarshal(given, &theirs); err != nil {
			return nil, fmt.Errorf("its metadata: %w", err)
		}
		m.Correlation, m.CausationID, m.Extra = theirs.Correlation, theirs.CausationID, theirs.Extra
	}
	return json.Marshal(m)
}

// allowed makes a write of a client one of the log, or says why it is refused.
func (s *Server) allowed(a *author, w es.Write) (es.Write, error) {
	if a == nil {
		return w, nil
	}
	size := 0
	for i, e := range w.Events {
		var err error
		if w.Events[i], err = a.fact(w.Stream, e, s.o.Reserved); err != nil {
			return w, err
		}
		if size += len(e.Data) + len(e.Meta); size > maxOperatorAppend {
			return w, &tooMuch{maxOperatorAppend, fmt.Sprintf("an append to %s has more than the %d bytes that this door takes at once", w.Stream, maxOperatorAppend)}
		}
	}
	return w, nil
}
