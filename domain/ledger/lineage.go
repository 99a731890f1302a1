package ledger

import (
	"math"

	"github.com/emet-node/emet/domain/es"
)

// Lineage is which log this is, and which ones it continues. It folds the facts
// of $log.
type Lineage struct {
	ID     string // "" = the log does not say
	Epoch  int64
	before []Predecessor // oldest first
}

// Evolve folds one fact of $log.
func (l Lineage) Evolve(fact any) Lineage {
	o, ok := fact.(Opened)
	if !ok {
		return l
	}
	l.ID, l.Epoch = o.LogID, o.Epoch
	if o.Predecessor != nil {
		l.before = append(l.before[:len(l.before):len(l.before)], *o.Predecessor)
	}
	return l
}

// Shared says how many facts from the beginning this log has in common with
// another one: all of them with itself, those that it took over with one that
// it continues. ok is false when it knows nothing of that log.
func (l Lineage) Shared(id string) (facts es.Position, ok bool) {
	if id == l.ID {
		return math.MaxInt64, true
	}
	shared := es.Position(math.MaxInt64)
	for i := len(l.before) - 1; i >= 0; i-- {
		shared = min(shared, es.Position(l.before[i].Size))
		if l.before[i].LogID == id {
			return shared, true
		}
	}
	return 0, false
}
