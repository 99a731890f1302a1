package es_test

import (
	"context"
	"fmt"
	"iter"
	"testing"

	"github.com/emet-node/emet/domain/es"
)

// bulky is a state of 24 MiB for each fact but the first.
type bulky int

func (b bulky) Weight() int { return max(int(b)-1, 0) * 24 << 20 }

// reader says which streams are read.
type reader struct {
	es.Store
	read []es.Stream
}

func (r *reader) ReadStream(ctx context.Context, s es.Stream, from es.Revision, d es.Direction, limit int) iter.Seq2[es.Event, error] {
	r.read = append(r.read, s)
	return r.Store.ReadStream(ctx, s, from, d, limit)
}

// However large states become, a few of them are what fits; the one that is
// worked on is among them.
func TestLargeStatesAreForgottenFirst(t *testing.T) {
	t.Parallel()
	l := newLog()
	r := &reader{Store: l.Store}
	l.Store = r
	a := es.NewAggregate(l, "b", es.Decider[add, added, bulky]{
		Decide: func(bulky, add) ([]added, error) { return []added{{N: 1}}, nil },
		Evolve: func(b bulky, _ added) bulky { return b + 1 },
	})
	n := 0
	for _, step := range []struct {
		id   string
		grow bool
		read bool
	}{
		{"light", true, false},
		{"x", true, false},
		{"y", true, false},
		{"z", true, false},
		{"x", true, false},
		{"y", true, false},
		{"x", false, false},
		{"y", false, false}, // both fit
		{"z", true, false},
		{"y", false, false},
		{"z", false, false},
		{"x", false, true}, // it was used last, and takes the place of y
		{"z", false, false},
		{"y", false, true},
		{"x", false, true},
		{"x", true, false},
		{"x", true, false},
		{"x", true, false},
		{"x", false, false}, // more than all together may take
		{"y", false, true},
		{"x", false, true},
		{"light", false, false}, // there is nothing to be had for it
	} {
		r.read = nil
		var err error
		if step.grow {
			n++
			_, err = a.Do(t.Context(), step.id, add{}, meta(fmt.Sprint(n)))
		} else {
			_, _, err = a.Load(t.Context(), step.id)
		}
		if err != nil || (len(r.read) > 0) != step.read {
			t.Errorf("%+v: read %v, %v", step, r.read, err)
		}
	}
}
