// Package eventschemas is the written form of every fact: its name, its
// canonical bytes, and the way old bytes are read today.
//
// A name is a constant in a table of this package, never the name of a Go
// type: types are renamed, logs are not. A released version never changes. A
// fact that needs another shape gets the next version, and an [Upcaster] turns
// the old into it; the stored bytes stay as they are.
package eventschemas

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/emet-node/emet/domain/es"
)

// Registry knows all facts. It implements [es.Codec] and is safe for
// concurrent use.
type Registry struct {
	byName map[string]*entry
	byType map[reflect.Type]*entry
	up     map[string]upcast
}

// Upcaster turns the content of one version into that of the next. Numbers are
// json.Number. It gets a map of its own and may change it.
type Upcaster func(map[string]any) map[string]any

type upcast struct {
	from, to string
	change   Upcaster
}

// ErrUnregistered says that a fact has no name: it was forgotten in the table.
var ErrUnregistered = errors.New("fact has no registered name")

// entry links a Go type with the name of its newest version.
type entry struct {
	name      string
	typ       reflect.Type
	decode    func([]byte) (any, error)
	remembers bool // texts of it may be kept in memory
	subject   func(any) string
}

// reg names a fact that is never sealed.
func reg[T any](name string) entry {
	return named(name, true, func(T) string { return "" })
}

// sealed names a fact whose content belongs to a subject ("" = it does not).
func sealed[T any](name string, subject func(T) string) entry {
	return named(name, false, subject)
}

func named[T any](name string, remembers bool, subject func(T) string) entry {
	return entry{
		name:      name,
		typ:       reflect.TypeFor[T](),
		decode:    decoder[T](remembers),
		remembers: remembers,
		subject:   func(fact any) string { return subject(fact.(T)) }, //nolint:forcetypeassert // looked up by type
	}
}

// New returns the registry of all facts of this build.
func New() *Registry {
	r, err := build(slices.Concat(storeFacts, identityFacts, marketFacts, activityFacts, paymentFacts, otherFacts), upcasts)
	if err != nil {
		panic(err) // a mistake in the tables of this package
	}
	return r
}

func build(table []entry, ups []upcast) (*Registry, error) {
	r := &Registry{byName: make(map[string]*entry), byType: make(map[reflect.Type]*entry), up: make(map[string]upcast)}
	for _, e := range table {
		if r.byName[e.name] != nil {
			return nil, fmt.Errorf("eventschemas: two facts are called %s", e.name)
		}
		if old := r.byType[e.typ]; old != nil {
			return nil, fmt.Errorf("eventschemas: %s is called both %s and %s", e.typ, old.name, e.name)
		}
		r.byName[e.name], r.byType[e.typ] = &e, &e
	}
	for _, u := range ups {
		if _, twice := r.up[u.from]; twice || r.byName[u.from] != nil {
			return nil, fmt.Errorf("eventschemas: %s is read in two ways", u.from)
		}
		r.up[u.from] = u
	}
	return r, nil
}

// Encode implements [es.Codec].
func (r *Registry) Encode(fact any) (typ string, data []byte, subject string, err error) {
	e := r.byType[reflect.TypeOf(fact)]
	if e == nil {
		return "", nil, "", fmt.Errorf("%T: %w", fact, ErrUnregistered)
	}
	data, err = es.CanonicalJSON(fact)
	if err != nil {
		return "", nil, "", fmt.Errorf("write %s: %w", e.name, err)
	}
	return e.name, data, e.subject(fact), nil
}

// Decode implements [es.Codec]. Old versions come back in their newest form.
func (r *Registry) Decode(typ string, data []byte) (any, error) {
	for range len(r.up) + 1 {
		if e := r.byName[typ]; e != nil {
			fact, err := e.decode(data)
			if err != nil {
				return nil, fmt.Errorf("read %s: %w", typ, err)
			}
			return fact, nil
		}
		u, ok := r.up[typ]
		if !ok {
			return nil, fmt.Errorf("%s: %w", typ, es.ErrUnknownType)
		}
		newer, err := u.apply(data)
		if err != nil {
			return nil, fmt.Errorf("read %s as %s: %w", typ, u.to, err)
		}
		typ, data = u.to, newer
	}
	return nil, fmt.Errorf("%s: its upcasters go in a circle", typ)
}

func (u upcast) apply(data []byte) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var content map[string]any
	if err := d.Decode(&content); err != nil {
		return nil, err
	}
	return es.CanonicalJSON(u.change(content))
}

// Name is the type name that a fact is written under.
func (r *Registry) Name(fact any) (string, bool) {
	e := r.byType[reflect.TypeOf(fact)]
	if e == nil {
		return "", false
	}
	return e.name, true
}

// Names are the type names that this build writes, sorted.
func (r *Registry) Names() []string {
	out := make([]string, 0, len(r.byName))
	for name := range r.byName {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// NamesOf are the type names that this build writes facts under which are like
// that, sorted. It is asked about facts with nothing in them.
func (r *Registry) NamesOf(like func(fact any) bool) []string {
	return slices.DeleteFunc(r.Names(), func(name string) bool { return !like(reflect.Zero(r.byName[name].typ).Interface()) })
}

// upcasts lists how released versions that are no longer written are read.
var upcasts = []upcast{
	// The first beacons came without the header of their block.
	{"$log.beacon.v1", "$log.beacon.v2", func(m map[string]any) map[string]any { return m }},
	// The first scripts were tried for eight seconds, whatever their clients said.
	{"batch.exec_requested.v1", "batch.exec_requested.v2", func(m map[string]any) map[string]any {
		m["timeoutMs"] = json.Number("8000")
		return m
	}},
}
