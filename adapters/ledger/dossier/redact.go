package dossier

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emet-node/emet/domain/es"
)

// Redaction is a kind of content that can be withheld from a dossier.
type Redaction struct {
	Name  string
	Means string
	hides func(r es.Recorded) bool
	meta  bool
}

// Redactions are all kinds.
var Redactions = []Redaction{
	{Name: "stdout", Means: "what commands wrote to their output", hides: output("stdout")},
	{Name: "stderr", Means: "what commands wrote to their error output", hides: output("stderr")},
	{Name: "env", Means: "scripts and commands that set an environment", hides: env},
	{Name: "commands", Means: "all scripts and commands", hides: facts("batch.exec_requested", "batch.accepted", "batch.command_started")},
	{Name: "transfers", Means: "what was moved from where to where", hides: facts("batch.transfer_finished", "activity.volume_mapped")},
	{Name: "usage", Means: "readings that no debit note names", hides: facts("usage.sampled")},
	{Name: "meta", Means: "metadata of all events: sessions, keys, causes", meta: true},
}

const (
	hideData = false
	hideMeta = true
)

// ErrRedaction says that a name is none of [Redactions].
var ErrRedaction = errors.New("can be withheld")

func redactions(names []string) ([]Redaction, error) {
	var out []Redaction
	for _, n := range names {
		i := slices.IndexFunc(Redactions, func(r Redaction) bool { return r.Name == n })
		if i < 0 {
			all := make([]string, len(Redactions))
			for i, r := range Redactions {
				all[i] = r.Name
			}
			return nil, fmt.Errorf("nothing called %q %w; choose of %s", n, ErrRedaction, strings.Join(all, ", "))
		}
		out = append(out, Redactions[i])
	}
	return out, nil
}

// hidden says whether data or metadata of an event is to be withheld.
func (b *builder) hidden(r es.Recorded, meta bool) bool {
	return slices.ContainsFunc(b.hide, func(h Redaction) bool {
		if meta {
			return h.meta
		}
		return h.hides != nil && h.hides(r) && !b.named(r)
	})
}

// named says whether a debit note rests on a reading, which is then shown.
func (b *builder) named(r es.Recorded) bool {
	if !strings.HasPrefix(r.Type, "usage.") {
		return false
	}
	return slices.ContainsFunc(b.events, func(n es.Recorded) bool {
		return n.Type == "bill.note_issued.v1" && strings.Contains(string(n.Event.Data), r.ID.String())
	})
}

// facts finds facts by their names: what is to be withheld is so in all versions.
func facts(names ...string) func(es.Recorded) bool {
	return func(r es.Recorded) bool { return slices.Contains(names, es.FactName(r.Type)) }
}

func output(stream string) func(es.Recorded) bool {
	return func(r es.Recorded) bool {
		return es.FactName(r.Type) == "batch.command_output" && strings.Contains(string(r.Event.Data), `"stream":"`+stream+`"`)
	}
}

// env finds an environment in scripts, in commands and in what they depended on.
func env(r es.Recorded) bool {
	return facts("batch.exec_requested", "batch.accepted", "batch.command_started")(r) &&
		(strings.Contains(string(r.Event.Data), `"env":`) || strings.Contains(string(r.Event.Data), `\"env\"`))
}
