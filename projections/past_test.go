package projections_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
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
		d.CopyEvery(every)
		t.Cleanup(func() { must(t, d.Close()) })
		must(t, d.CatchUp(ctx))
	}
	return m, a, p, n
}

func TestCopiesStayFewAndAreThrownAwayWhenTheyDoNotFit(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), filepath.Join(t.TempDir(), "views")
	stages := make([]int, 60)
	for i := range stages {
		stages[i] = int(storytest.Paid)
	}
	history(t, w.log, stages)
	_, _, p, _ := openAll(t, w, dir, 40)
	must(t, p.Close())
	files, _ := filepath.Glob(filepath.Join(dir, "snap", "payment@*.db"))
	if len(files) < 2 || len(files) > 16 {
		t.Fatalf("%d copies", len(files))
	}
	at := es.Position(2000)
	want := func() string {
		_, _, fresh, _ := openAll(t, &world{t: t, log: replayed(w.log.Store, at)}, projections.Memory, 0)
		return hash(t, fresh.DB)
	}()
	for _, f := range files { // what is no database, and what is of another position
		must(t, os.WriteFile(f, []byte("nonsense"), 0o600))
	}
	_, _, p, _ = openAll(t, w, dir, 0)
	past, err := p.AsOf(t.Context(), at)
	must(t, err)
	defer past.Close() //nolint:errcheck // in memory
	if got := hash(t, past.DB); got != want {
		t.Error("a damaged copy was believed")
	}
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
