package ledger_test

import (
	"testing"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
)

func TestWhatALogSharesWithThoseItContinues(t *testing.T) {
	t.Parallel()
	l := ledger.Lineage{}
	for _, o := range []ledger.Opened{
		{LogID: "a"},
		{LogID: "b", Epoch: 1, Predecessor: &ledger.Predecessor{LogID: "a", Size: 100}},
		{LogID: "c", Epoch: 2, Predecessor: &ledger.Predecessor{LogID: "b", Size: 70}},
		{LogID: "d", Epoch: 3, Predecessor: &ledger.Predecessor{LogID: "c", Size: 90}},
	} {
		l = l.Evolve(o).Evolve(ledger.Beacon{})
	}
	if l.ID != "d" || l.Epoch != 3 {
		t.Errorf("%+v", l)
	}
	for id, want := range map[string]es.Position{"a": 70, "b": 70, "c": 90} {
		if got, ok := l.Shared(id); got != want || !ok {
			t.Errorf("with %s: %d, %v", id, got, ok)
		}
	}
	if got, ok := l.Shared("d"); got < 1<<40 || !ok {
		t.Errorf("with itself: %d, %v", got, ok)
	}
	if _, ok := l.Shared("x"); ok {
		t.Error("with another log")
	}
}
