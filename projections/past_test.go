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
	"github.com/emet-node/emet/domain/market/agreement"
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
// got no further: in memory, where the log is folded, and beside files, where
// versions are kept, at their very end and beginning too, and at the place
// where a restart or a rebuild took them up again.
func TestThePastIsAFreshNodeThatGotNoFurther(t *testing.T) {
	t.Parallel()
	for _, where := range []string{projections.Memory, "files"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(12) {
				t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
					chance := rand.New(rand.NewPCG(seed, 0))
					w, dir := newWorld(t), where
					if where != projections.Memory {
						dir = filepath.Join(t.TempDir(), "views")
					}
					seam := halves(t, w, dir, chance)
					head, _ := w.log.Store.Head(t.Context())
					m, a, p, n := openAll(t, w, dir)
					moments := []es.Position{es.Position(chance.IntN(int(head) + 1)), es.Position(chance.IntN(int(head) + 1)), 0, 1, seam - 1, seam, seam + 1, head}
					for _, at := range moments {
						past := projections.PastOf(m, a, p, n, at)
						fm, fa, fp, fn := openAll(t, &world{t: t, log: replayed(w.log.Store, at)}, projections.Memory)
						for i, pair := range [][2]*projections.DB{{past.Market.DB, fm.DB}, {past.Activity.DB, fa.DB}, {past.Payment.DB, fp.DB}, {past.Node.DB, fn.DB}} {
							got, want := hash(t, pair[0]), hash(t, pair[1])
							if got != want || pair[0].Position() != at {
								t.Fatalf("group %d as of %d of %d (seam %d) is at %d and differs from a fresh one", i, at, head, seam, pair[0].Position())
							}
						}
						must(t, past.Close())
					}
				})
			}
		})
	}
}

// halves writes deals that got as far as chance lets them, and has the views
// and their past follow the first half before the second is written. It
// returns where the first half ends.
func halves(t *testing.T, w *world, dir string, chance *rand.Rand) es.Position {
	t.Helper()
	ctx := t.Context()
	x, err := storytest.NewWorld(ctx, w.log)
	must(t, err)
	far := func(int) storytest.Stage { return storytest.Stage(chance.IntN(int(storytest.Paid) + 1)) }
	must(t, x.Deals(ctx, 0, 1+chance.IntN(3), far))
	seam, err := w.log.Store.Head(ctx)
	must(t, err)
	m, a, p, n := openAll(t, w, dir)
	for _, d := range []*projections.DB{m.DB, a.DB, p.DB, n.DB} {
		if chance.IntN(3) > 0 {
			must(t, d.CatchUpPast(ctx))
		}
		if chance.IntN(3) == 0 {
			must(t, d.Rebuild(ctx))
		}
		must(t, d.Close())
	}
	must(t, x.Deals(ctx, 8, 9+chance.IntN(3), far)) // eight share a demand
	return seam
}

// What is beside the views and is not theirs is not believed.
func TestAPastThatDoesNotFitIsMadeAnew(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), newWorld(t)
	history(t, w.log, []int{int(storytest.Paid), int(storytest.Owing)})
	history(t, other.log, []int{int(storytest.Billed), int(storytest.Paid)})
	foreign := filepath.Join(t.TempDir(), "views")
	_, _, p, _ := openAll(t, other, foreign)
	must(t, p.CatchUpPast(t.Context()))
	must(t, p.Close())
	at := es.Position(100)
	_, _, fresh, _ := openAll(t, &world{t: t, log: replayed(w.log.Store, at)}, projections.Memory)
	want := hash(t, fresh.DB)
	for name, spoil := range map[string]func(t *testing.T, path string){
		"nonsense": func(t *testing.T, path string) { scribble(t, path) },
		"of another log": func(t *testing.T, path string) {
			b, err := os.ReadFile(filepath.Join(foreign, "past", "payment.db"))
			must(t, err)
			must(t, os.WriteFile(path, b, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "views")
			must(t, os.MkdirAll(filepath.Join(dir, "past"), 0o700))
			spoil(t, filepath.Join(dir, "past", "payment.db"))
			_, _, p, _ := openAll(t, w, dir)
			past, err := p.AsOf(t.Context(), at)
			must(t, err)
			if hash(t, past.DB) != want {
				t.Error("it was believed")
			}
			must(t, past.Close())
		})
	}
}

// While the views are followed the past is followed as well, so that somebody
// who reads beside can ask.
func TestThePastIsKeptWhileTheLogGrows(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), filepath.Join(t.TempDir(), "views")
	m := openMarket(t, w, dir)
	wholeDeal(t, w)
	must(t, m.Fresh(t.Context()))
	at, want := m.Position(), hash(t, m.DB)
	w.say("agreement-R-"+deal, agreement.Terminated{AgreementID: deal, Side: r, Reason: "{}"})
	for {
		beside, err := projections.ReadMarket(t.Context(), dir, w.log)
		must(t, err)
		past, err := beside.AsOf(t.Context(), at)
		must(t, err)
		if got := hash(t, past.DB); got != want {
			t.Fatal("the past differs from what was seen then")
		}
		must(t, past.Close())
		must(t, beside.Close())
		if _, err := os.Stat(filepath.Join(dir, "past", "market.db")); err == nil {
			return
		}
		if t.Context().Err() != nil {
			t.Fatal("the past is not kept")
		}
	}
}

// openAll opens four groups and lets them catch up.
func openAll(t testing.TB, w *world, dir string) (*projections.Market, *projections.Activity, *projections.Payment, *projections.Node) {
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
	_, _, _, n := openAll(t, w, projections.Memory)
	all, err := n.Positions(t.Context(), storytest.AgreementOf(0))
	must(t, err)
	some, err := n.PositionsUntil(t.Context(), storytest.AgreementOf(0), all[3])
	must(t, err)
	if !reflect.DeepEqual(some, all[:3]) {
		t.Errorf("%v of %v", some, all)
	}
}

func TestThePastStaysAsItWas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := openMarket(t, w, t.TempDir())
	wholeDeal(t, w)
	must(t, m.Fresh(t.Context()))
	before, want := m.Position(), hash(t, m.DB)
	w.say("agreement-R-"+deal, agreement.Terminated{AgreementID: deal, Side: r, Reason: "{}"})
	past, err := m.AsOf(t.Context(), before)
	must(t, err)
	defer past.Close()
	if got := hash(t, past.DB); got != want {
		t.Error("the past differs from what was seen then")
	}
	list, err := past.Agreements(t.Context(), projections.AgreementFilter{Owner: alice})
	if err != nil || list[0].State != "Approved" {
		t.Errorf("%+v %v", list, err)
	}
	if _, ok, err := past.Proposal(t.Context(), r, "aa"); !ok || err != nil {
		t.Errorf("no proposals in the past: %v", err)
	}
}
