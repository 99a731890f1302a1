package inbox

import "maps"

// State is what was handed out.
type State struct {
	seen map[string]bool
}

// key is what may be handed out once: a match of an offer once, and once more
// after each agreement about it that ended.
func (r Ref) key() string {
	if r.Offer != "" {
		return "match\x00" + r.Offer + "\x00" + r.After
	}
	return string(r.Kind) + "\x00" + r.ID
}

// Has says whether the thing was handed out.
func (s State) Has(r Ref) bool { return s.seen[r.key()] }

// Len is the number of things handed out.
func (s State) Len() int { return len(s.seen) }

// Fresh returns those of refs that were not handed out yet, each once, in order.
func (s State) Fresh(refs []Ref) []Ref {
	var fresh []Ref
	now := make(map[string]bool, len(refs))
	for _, r := range refs {
		k := r.key()
		if !s.seen[k] && !now[k] {
			now[k] = true
			fresh = append(fresh, r)
		}
	}
	return fresh
}

func evolve(s State, e Event) State {
	d, ok := e.(Delivered)
	if !ok {
		return s
	}
	seen := make(map[string]bool, len(s.seen)+len(d.Refs))
	maps.Copy(seen, s.seen) // states are shared: never changed in place
	for _, r := range d.Refs {
		seen[r.key()] = true
	}
	return State{seen: seen}
}
