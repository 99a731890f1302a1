package projections_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/eventschemas"
	"github.com/emet-node/emet/projections"
	"github.com/emet-node/emet/projections/story/storytest"
)

// history writes deals that got as far as chance lets them.
func history(t testing.TB, log *es.Log, stages []int) {
	t.Helper()
	w, err := storytest.NewWorld(context.Background(), log)
	if err == nil {
		err = w.Deals(context.Background(), 0, len(stages), func(n int) storytest.Stage { return storytest.Stage(stages[n]) })
	}
	must(t, err)
}

// replayed is a store that holds the first n events of another, and nothing else.
func replayed(from es.Store, n es.Position) *es.Log {
	return &es.Log{Store: es.AsOf(from, n), Codec: eventschemas.New()}
}

// As of any position every group has the tables that a fresh node has which
// got no further, whether it begins with a copy or with nothing; and its
// books balance.
func TestThePastIsAFreshNodeThatGotNoFurther(t *testing.T) {
	t.Parallel()
	for _, where := range []string{projections.Memory, "files"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(12) {
				t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
					chance := rand.New(rand.NewPCG(seed, 0))
					ctx := t.Context()
					w := newWorld(t)
					stages := make([]int, 1+chance.IntN(5))
					for i := range stages {
						stages[i] = chance.IntN(int(storytest.Paid) + 1)
					}
					history(t, w.log, stages)
					head, _ := w.log.Store.Head(ctx)
					dir := where
					if where != projections.Memory {
						dir = filepath.Join(t.TempDir(), "views")
					}
					m, a, p, n := openAll(t, w, dir, es.Position(10+chance.IntN(50)))
					for range 4 {
						at := es.Position(chance.IntN(int(head) + 1))
						past := projections.PastOf(m, a, p, n, at)
						fm, fa, fp, fn := openAll(t, &world{t: t, log: replayed(w.log.Store, at)}, projections.Memory, 0)
						for i, pair := range [][2]*projections.DB{{past.Market.DB, fm.DB}, {past.Activity.DB, fa.DB}, {past.Payment.DB, fp.DB}, {past.Node.DB, fn.DB}} {
							got, want := hash(t, pair[0]), hash(t, pair[1])
							if got != want || pair[0].Position() != at {
								t.Fatalf("group %d as of %d of %d is at %d and differs from a fresh one", i, at, head, pair[0].Position())
							}
						}
						must(t, past.Close())
					}
				})
			}
		})
	}
}

// openAll opens four groups and lets them catch up.
func openAll(t testing.TB, w *world, dir string, every es.Position) (*projections.Market, *projections.Activity, *projections.Payment, *projections.Node) {
	t.Helper()
	ctx := t.Context()
	m, err := projections.OpenMarket(ctx, dir, w.log)
	must(t, err)
	a, err := projections.OpenActivity(ctx, dir, w.log)
	must(t, err)
	p, err := projections.OpenPayment(ctx, dir, w.log)
	must(t, err)
	n, err := projections.OpenNode(ctx, dir, w.log)
	must(t, err)
	for _, d := range []*projections.DB{m.DB, a.DB, p.DB, n.DB} {
		t.Cleanup(func() { must(t, d.Close()) })
		must(t, d.CatchUp(ctx))
	}
	return m, a, p, n
}

func TestStoriesOfThePast(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	history(t, w.log, []int{int(storytest.Paid)})
	_, _, _, n := openAll(t, w, projections.Memory, 0)
	all, err := n.Positions(t.Context(), storytest.AgreementOf(0))
	must(t, err)
	some, err := n.PositionsUntil(t.Context(), storytest.AgreementOf(0), all[3])
	must(t, err)
	if !reflect.DeepEqual(some, all[:3]) {
		t.Errorf("%v of %v", some, all)
	}
}
