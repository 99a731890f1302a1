package projections_test

import (
	"reflect"
	"testing"

	"github.com/emet-node/emet/adapters/store/memory"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/eventschemas"
	"github.com/emet-node/emet/projections"
	"github.com/emet-node/emet/projections/story/storytest"
)

// A log that a build of before wrote tells the same: the views have the same
// rows when they followed it, and when they are made anew.
func TestALogOfBeforeHasTheSameRows(t *testing.T) {
	t.Parallel()
	now, then := &world{t: t, log: &es.Log{Store: memory.New(), Codec: eventschemas.New()}}, &world{t: t, log: &es.Log{Store: memory.New(), Codec: eventschemas.New()}}
	must(t, storytest.Write(t.Context(), now.log))
	before := openActivity(t, then, t.TempDir()) // follows what comes
	if n, err := storytest.Former(t.Context(), now.log.Store, then.log.Store, nil); err != nil || n == 0 {
		t.Fatalf("%d facts were other before, %v", n, err)
	}
	rows := func(a *projections.Activity) []projections.BatchRow {
		must(t, a.Fresh(t.Context()))
		got, err := a.Batches(t.Context(), projections.BatchFilter{})
		must(t, err)
		for i := range got { // the two logs were not written at the same time
			got[i].Recorded, got[i].Ended = noon, noon
		}
		return got
	}
	want := rows(openActivity(t, now, t.TempDir()))
	if len(want) != 4 || want[0].State != "requested" && want[1].State != "requested" {
		t.Fatalf("%+v", want)
	}
	for what, a := range map[string]*projections.Activity{"followed": before, "made anew": openActivity(t, then, t.TempDir())} {
		if got := rows(a); !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n%+v\nwant\n%+v", what, got, want)
		}
	}
	open := func(w *world) (positions []es.Position) {
		n := openNode(t, w, t.TempDir())
		must(t, n.Fresh(t.Context()))
		positions, err := n.OpenIntents(t.Context())
		must(t, err)
		return positions
	}
	if got, want := open(then), open(now); len(want) == 0 || !reflect.DeepEqual(got, want) {
		t.Errorf("open intents %v, want %v", got, want)
	}
}
