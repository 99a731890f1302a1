// Package testlog is a log in memory for tests of the domain: enough of a
// store to run commands against, and a codec that knows every fact it is given.
package testlog

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"reflect"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/emet-node/emet/domain/es"
)

// New makes a log whose first fact is recorded a microsecond after start.
func New(start time.Time) *es.Log {
	return &es.Log{Store: &store{now: start, heads: make(map[es.Stream][]es.Event)}, Codec: &codec{types: make(map[string]reflect.Type)}}
}

// Facts are all facts of a log from a position on.
func Facts(l *es.Log, from es.Position) ([]es.Recorded, error) {
	var out []es.Recorded
	for r, err := range l.ReadAll(context.Background(), from, es.Filter{}) {
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// store keeps events in memory. Subscriptions are not needed here, so they are
// left to the nil interface.
type store struct {
	es.Store
	mu    sync.Mutex
	now   time.Time
	all   []es.Event
	heads map[es.Stream][]es.Event
}

func (s *store) revision(stream es.Stream) es.Revision { return es.Revision(len(s.heads[stream]) - 1) }

func (s *store) Append(_ context.Context, checks []es.Check, writes ...es.Write) (es.Receipt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range writes {
		checks = append(checks, es.Check{Stream: w.Stream, Expected: w.Expected})
	}
	for _, c := range checks {
		if at := s.revision(c.Stream); c.Expected != at {
			return es.Receipt{}, &es.WrongExpectedRevision{Stream: c.Stream, Expected: c.Expected, Actual: at}
		}
	}
	r := es.Receipt{First: es.Position(len(s.all))}
	for _, w := range writes {
		for _, e := range w.Events {
			s.now = s.now.Add(time.Microsecond)
			full := es.Event{
				NewEvent: e, Stream: w.Stream, Revision: s.revision(w.Stream) + 1, Position: es.Position(len(s.all)), Recorded: s.now,
			}
			s.all, s.heads[w.Stream] = append(s.all, full), append(s.heads[w.Stream], full)
		}
		r.Heads = append(r.Heads, s.revision(w.Stream))
	}
	r.Last = es.Position(len(s.all) - 1)
	return r, nil
}

func (s *store) Info(_ context.Context, stream es.Stream) (es.StreamInfo, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return es.StreamInfo{Head: s.revision(stream)}, nil
}

func (s *store) ReadStream(_ context.Context, stream es.Stream, from es.Revision, _ es.Direction, _ int) iter.Seq2[es.Event, error] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return each(s.heads[stream][min(int(from), len(s.heads[stream])):])
}

func (s *store) ReadAll(_ context.Context, from es.Position, _ es.Direction, _ es.Filter, _ int) iter.Seq2[es.Event, error] {
	s.mu.Lock()
	defer s.mu.Unlock()
	return each(s.all[min(int(from), len(s.all)):])
}

func each(events []es.Event) iter.Seq2[es.Event, error] {
	return func(yield func(es.Event, error) bool) {
		for _, e := range events {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// codec names facts by the rule that all names follow.
type codec struct {
	mu    sync.Mutex
	types map[string]reflect.Type
}

func (c *codec) Encode(fact any) (string, []byte, string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	name := Name(fact)
	c.types[name] = reflect.TypeOf(fact)
	b, err := es.CanonicalJSON(fact)
	return name, b, "", err
}

func (c *codec) Decode(name string, data []byte) (any, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t, ok := c.types[name]
	if !ok {
		return nil, fmt.Errorf("%s: %w", name, es.ErrUnknownType)
	}
	v := reflect.New(t)
	if err := json.Unmarshal(data, v.Interface()); err != nil {
		return nil, err
	}
	return v.Elem().Interface(), nil
}

// Name is "<package>.<past_tense_snake>.v1".
func Name(fact any) string {
	t := reflect.TypeOf(fact)
	pkg, _, _ := strings.Cut(t.String(), ".")
	if pkg == "account" {
		pkg = "identity"
	}
	var b strings.Builder
	for i, r := range t.Name() {
		if unicode.IsUpper(r) && i > 0 {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return pkg + "." + b.String() + ".v1"
}
