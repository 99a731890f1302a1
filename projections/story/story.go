// Package story gathers the facts that belong together: from budget and
// demand through negotiation, agreement, work and bills to the money that
// arrived, across streams, sides and correlation ids.
//
// It reads the log once and keeps to what the facts themselves name. Things
// that many deals share (a budget, a settlement run, a wallet) contribute only
// the facts that are about the deal, so that a story does not grow into its
// neighbours.
package story

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emet-node/emet/domain/es"
)

// ErrUnknown says that nothing in the log has such an id.
var ErrUnknown = errors.New("nothing in the log has that id")

// Ambiguous says that a prefix fits several ids.
type Ambiguous struct {
	Prefix string
	IDs    []string
}

func (e *Ambiguous) Error() string {
	return fmt.Sprintf("%q fits %d ids: %s; give more of it", e.Prefix, len(e.IDs), strings.Join(e.IDs[:min(len(e.IDs), 5)], ", "))
}

// Fact is a fact of a story.
type Fact struct {
	es.Recorded
	// Parent is the fact of the story that this one hangs on: its cause, when
	// Caused; else the one it follows, by stream, command or what it names.
	// nil = it is a beginning.
	Parent *es.Position
	Caused bool
}

// Story is all facts that belong together, in the order of the log.
type Story struct {
	ID         string   // in full
	Agreements []string // the deals that it is about
	Facts      []Fact
}

// Of gathers the story of an agreement, negotiation, proposal, demand, offer,
// activity, batch, debit note, invoice, allocation, order, payment or
// transaction, given its id or the beginning of it (4 characters or more).
// Errors: [ErrUnknown], [*Ambiguous].
func Of(ctx context.Context, log *es.Log, prefix string) (Story, error) {
	ix, err := scan(ctx, log)
	if err != nil {
		return Story{}, err
	}
	id, err := ix.resolve(prefix)
	if err != nil {
		return Story{}, err
	}
	g := &gathering{index: ix, seed: id, streams: make(map[es.Stream]part), names: make(map[string]bool)}
	g.deals()
	g.collect()
	out := Story{ID: id, Agreements: g.agreements}
	for _, p := range g.positions() {
		for r, err := range log.ReadAll(ctx, p, es.Filter{}) {
			if err != nil {
				return Story{}, err
			}
			out.Facts = append(out.Facts, Fact{Recorded: r})
			break
		}
	}
	relate(out.Facts, ix)
	return out, nil
}

// resolve finds the one id that begins with prefix.
func (ix *index) resolve(prefix string) (string, error) {
	prefix = strings.TrimSpace(prefix)
	for _, side := range []string{"R-", "P-"} { // as REST writes proposals and agreements
		prefix = strings.TrimPrefix(prefix, side)
	}
	if ix.ids[prefix] {
		return prefix, nil
	}
	if len(prefix) < 4 {
		return "", fmt.Errorf("%w: %q (give 4 characters or more)", ErrUnknown, prefix)
	}
	var fits []string
	for id := range ix.ids {
		if strings.HasPrefix(id, prefix) {
			fits = append(fits, id)
		}
	}
	slices.Sort(fits)
	if len(fits) == 0 {
		return "", fmt.Errorf("%w: %q", ErrUnknown, prefix)
	}
	longer := func(id string) bool { return strings.HasPrefix(id, fits[0]) } // "<order>/0" is a part of the order
	if !slices.ContainsFunc(fits, func(id string) bool { return !longer(id) }) {
		return fits[0], nil
	}
	return "", &Ambiguous{Prefix: prefix, IDs: fits}
}
