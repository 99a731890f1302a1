package effects_test

import (
	"fmt"
	"testing"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/domain/es"
)

func TestOpenStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx := t.Context()
	w.ask("P-1", "x")
	w.ask("P-2", "x")
	w.ask("R-1", "x")
	w.ask("P-3", "x")
	finish := func(id string) {
		if _, err := w.jobs.Do(ctx, id, answer{Name: "x"}, es.Meta{Key: "done"}); err != nil {
			t.Fatal(err)
		}
	}
	finish("P-2")
	open := func() string {
		ids, err := effects.OpenStreams(ctx, w.l.Store, "job-P-", []string{"job.asked.v1"}, []string{"job.done.v1"})
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(ids)
	}
	if got := open(); got != "[P-1 P-3]" {
		t.Error(got)
	}
	finish("P-1")
	w.ask("P-2", "again")
	if got := open(); got != "[P-3 P-2]" {
		t.Error(got)
	}
}
