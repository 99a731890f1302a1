package story

import (
	"slices"
	"strings"

	"github.com/emet-node/emet/domain/es"
)

// part says how much of a stream belongs to a story.
type part int

const (
	whole part = iota + 1
	some       // the facts that are not about other deals
)

// gathering is a story in the making.
type gathering struct {
	*index
	seed       string
	agreements []string
	threads    []string // negotiations, promoted or not
	streams    map[es.Stream]part
	names      map[string]bool // ids of the things of this story alone
	taken      map[es.Position]bool
}

// deals finds the agreements that the seed is about, and its negotiations.
func (g *gathering) deals() {
	found := make(map[string]bool)
	hear := func(positions []es.Position) {
		for _, p := range positions {
			for _, a := range g.facts[p].deals {
				found[a] = true
			}
		}
	}
	hear(g.byName[g.seed])
	for s, positions := range g.byStream {
		if own(s) != g.seed && !(s.Category() == "batch" && strings.Contains(s.Key(), g.seed)) {
			continue
		}
		hear(positions)
		switch s.Category() {
		case "agreement", "bill":
			found[g.seed] = true
		}
	}
	if found[g.seed] { // the seed is an agreement; others share its budget or its payment
		found = map[string]bool{g.seed: true}
	}
	if len(found) == 0 { // a transaction names its order, the order the deals
		for _, p := range g.byName[g.seed] {
			for _, q := range g.byStream[g.facts[p].stream] {
				for _, n := range g.facts[q].names {
					hear(g.byStream[es.StreamOf("order", n)])
				}
			}
		}
	}
	for a := range found {
		g.agreements = append(g.agreements, a)
	}
	slices.Sort(g.agreements)
	g.namesOfThreads()
}

// namesOfThreads finds the negotiations of the deals, and those of a seed that
// came to no deal.
func (g *gathering) namesOfThreads() {
	take := func(p es.Position) {
		s := g.facts[p].stream
		if s.Category() == "negotiation" && !slices.Contains(g.threads, s.Key()) {
			g.threads = append(g.threads, s.Key())
		}
	}
	for _, a := range g.agreements {
		for _, p := range g.byName[a] {
			take(p)
			for _, n := range g.facts[p].names {
				for _, q := range g.byStream[es.StreamOf("negotiation", n)] {
					take(q)
				}
			}
		}
	}
	if slices.Contains(g.agreements, g.seed) {
		return
	}
	switch {
	case len(g.byStream[es.StreamOf("demand", g.seed)]) > 0, len(g.byStream[es.StreamOf("offer", g.seed)]) > 0,
		len(g.byStream[es.StreamOf("negotiation", g.seed)]) > 0, len(g.agreements) == 0:
		for _, p := range append(slices.Clone(g.byName[g.seed]), g.byStream[es.StreamOf("negotiation", g.seed)]...) {
			take(p)
		}
	}
}

// collect chooses streams, then facts.
func (g *gathering) collect() {
	g.names[g.seed] = true
	for _, id := range slices.Concat(g.agreements, g.threads) {
		g.names[id] = true
	}
	for s := range g.byStream {
		g.core(s)
	}
	for s := range g.byStream { // activities are known now
		g.below(s)
	}
	for s, p := range g.streams {
		if p == whole {
			for _, at := range g.byStream[s] {
				g.learn(at)
			}
		}
	}
	g.around()
	g.taken = make(map[es.Position]bool)
	for s := range g.streams {
		for _, at := range g.byStream[s] {
			if g.streams[s] == whole || g.ours(at) {
				g.taken[at] = true
			}
		}
	}
	g.touched()
	g.ancestors()
}

// core takes the streams of the deals themselves.
func (g *gathering) core(s es.Stream) {
	switch id := own(s); s.Category() {
	case "agreement", "bill", "negotiation":
		if g.names[id] {
			g.streams[s] = whole
		}
	case "activity":
		if g.names[id] && g.seed == id || g.anyDeal(g.byStream[s]) {
			g.streams[s] = whole
			g.names[id] = true
		}
	}
}

func (g *gathering) anyDeal(positions []es.Position) bool {
	return slices.ContainsFunc(positions, func(p es.Position) bool {
		return slices.ContainsFunc(g.facts[p].deals, func(a string) bool { return slices.Contains(g.agreements, a) })
	})
}

// below takes the batches and samples of the activities.
func (g *gathering) below(s es.Stream) {
	switch s.Category() {
	case "batch", "usage":
		parts := strings.Split(s.Key(), "-")
		if len(parts) > 1 && g.names[parts[1]] {
			g.streams[s] = whole
			g.names[own(s)] = true
		}
	}
}

// shared are members that name what other deals may share.
func (g *gathering) shared(id string) bool {
	for _, c := range []string{"allocation", "order", "demand", "offer"} {
		if len(g.byStream[es.StreamOf(c, id)]) > 0 {
			return true
		}
	}
	return false
}

// learn takes over what a fact of a deal names: its proposals, documents and
// transfers.
func (g *gathering) learn(at es.Position) {
	for _, n := range g.facts[at].names {
		if !g.shared(n) && !strings.HasPrefix(n, "0x") {
			g.names[n] = true
		}
	}
}

// around takes what the deals share with others: demand and offer as they
// are, budgets, orders, transactions and payments as far as they are about
// these deals.
func (g *gathering) around() {
	var wide []string
	for s, p := range g.streams {
		if p == whole {
			for _, at := range g.byStream[s] {
				wide = append(wide, g.facts[at].names...)
			}
		}
	}
	wide = append(wide, g.seed)
	for _, id := range wide {
		for _, c := range []string{"demand", "offer"} {
			if s := es.StreamOf(c, id); len(g.byStream[s]) > 0 {
				g.streams[s] = whole
			}
		}
		for _, c := range []string{"allocation", "order"} {
			if s := es.StreamOf(c, id); len(g.byStream[s]) > 0 {
				g.streams[s] = some
			}
		}
	}
	for s, positions := range g.byStream {
		switch s.Category() {
		case "payment":
			if g.anyDeal(positions) || g.names[own(s)] { // a claim may name activities alone; the bill names it
				g.streams[s] = some
			}
		case "tx":
			if slices.ContainsFunc(positions, func(p es.Position) bool {
				return slices.ContainsFunc(g.facts[p].names, func(n string) bool { return n == g.seed || g.streams[es.StreamOf("order", n)] != 0 })
			}) {
				g.streams[s] = some
			}
		}
	}
}

// ours says that a fact of a shared stream is not about other deals.
func (g *gathering) ours(at es.Position) bool {
	e := g.facts[at]
	about := append(slices.Clone(e.deals), e.moves...)
	return len(about) == 0 || slices.ContainsFunc(about, func(n string) bool { return g.names[n] })
}

// touched takes the facts of wallets and inboxes that name something of the story.
func (g *gathering) touched() {
	for s, positions := range g.byStream {
		c := s.Category()
		if c != "wallet" && c != "inbox" {
			continue
		}
		for _, at := range positions {
			named := slices.ContainsFunc(g.facts[at].names, func(n string) bool {
				return g.names[n] || c == "wallet" && (g.streams[es.StreamOf("allocation", n)] != 0 || g.streams[es.StreamOf("order", n)] != 0)
			})
			if named && g.ours(at) {
				g.taken[at] = true
			}
		}
	}
}

// ancestors takes what led here, up to where another deal begins.
func (g *gathering) ancestors() {
	for _, at := range g.positions() {
		for {
			e := g.facts[at]
			if e.cause == nil || int(*e.cause) >= len(g.facts) || g.taken[*e.cause] || g.foreign(*e.cause) { //nolint:gosec // a log in memory is small
				break
			}
			at = *e.cause
			g.taken[at] = true
		}
	}
}

// foreign says that a fact belongs to a deal of its own.
func (g *gathering) foreign(at es.Position) bool {
	s := g.facts[at].stream
	switch s.Category() {
	case "agreement", "bill", "activity", "batch", "usage", "negotiation", "payment":
		return g.streams[s] == 0
	}
	return !g.ours(at)
}

func (g *gathering) positions() []es.Position {
	out := make([]es.Position, 0, len(g.taken))
	for p := range g.taken {
		out = append(out, p)
	}
	slices.Sort(out)
	return out
}

// relate hangs each fact on another one of the story.
func relate(facts []Fact, ix *index) {
	in := make(map[es.Position]bool, len(facts))
	last := make(map[es.Stream]es.Position)
	for i := range facts {
		f := &facts[i]
		f.Parent, f.Caused = parent(facts, i, in, last, ix)
		in[f.Position] = true
		last[f.Stream] = f.Position
	}
}

// together says that two facts come from one command.
func together(a, b Fact) bool { return a.Info.Key != "" && a.Info.Key == b.Info.Key }

func parent(facts []Fact, i int, in map[es.Position]bool, last map[es.Stream]es.Position, ix *index) (*es.Position, bool) {
	f := facts[i]
	if c := f.Info.Cause; c != nil && in[*c] {
		return c, true
	}
	if i > 0 && facts[i-1].Position+1 == f.Position && together(facts[i-1], f) {
		return &facts[i-1].Position, false
	}
	if p, ok := last[f.Stream]; ok {
		return &p, false
	}
	var names []string
	for _, g := range facts[i:] {
		if !together(f, g) && g.Position != f.Position {
			break
		}
		names = append(names, ix.facts[g.Position].names...)
	}
	var best *es.Position
	for s, p := range last {
		id := own(s)
		if id != "" && (slices.Contains(names, id) || strings.Contains(f.Stream.Key(), id)) && (best == nil || p > *best) {
			best = &p
		}
	}
	return best, false
}
