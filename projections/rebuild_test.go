package projections_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/emet-node/emet/domain/market/demand"
	"github.com/emet-node/emet/projections"
)

func TestRebuildEqualsLiving(t *testing.T) {
	t.Parallel()
	for _, where := range []string{projections.Memory, "file"} {
		t.Run(where, func(t *testing.T) {
			t.Parallel()
			dir := where
			if dir != projections.Memory {
				dir = t.TempDir()
			}
			w := newWorld(t)
			groups := []interface {
				TableHash(context.Context) (string, error)
				Rebuild(context.Context) error
				Name() string
			}{openMarket(t, w, dir), openActivity(t, w, dir), openPayment(t, w, dir), openNode(t, w, dir)}
			wholeDeal(t, w)
			for _, g := range groups {
				live, err := g.TableHash(t.Context())
				must(t, err)
				must(t, g.Rebuild(t.Context()))
				again, err := g.TableHash(t.Context())
				must(t, err)
				if live != again {
					t.Errorf("%s: rebuilt tables differ from those that grew", g.Name())
				}
			}
			w.say("demand-demand-2", demand.Published{DemandID: "demand-2", Requestor: alice, Created: noon, Expires: noon})
			m := groups[0].(*projections.Market)
			if subs, err := m.Subscriptions(t.Context(), projections.Demands, alice); err != nil || len(subs) != 2 {
				t.Errorf("after a rebuild the view does not go on: %v, %v", subs, err)
			}
		})
	}
}

func TestAViewGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), t.TempDir()
	wholeDeal(t, w)
	m, err := projections.OpenMarket(t.Context(), dir, w.log)
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- m.Run(ctx) }()
	must(t, m.Fresh(t.Context()))
	want, at := hash(t, m.DB), m.Position()
	cancel()
	must(t, <-done)
	must(t, m.Close())

	m, err = projections.OpenMarket(t.Context(), dir, w.log)
	must(t, err)
	if m.Position() != at || at == 0 {
		t.Errorf("it is at %d after opening again, was at %d", m.Position(), at)
	}
	if place, ok, err := m.Proposal(t.Context(), p, "cc"); err != nil || !ok || place.Negotiation != "n2" {
		t.Errorf("the memory of proposals was not loaded: %+v, %v", place, err)
	}
	if got := hash(t, m.DB); got != want {
		t.Error("the tables changed")
	}
	must(t, m.Close())

	// another log: the tables are void
	other := newWorld(t)
	other.say("demand-demand-9", demand.Published{DemandID: "demand-9", Requestor: alice, Created: noon, Expires: noon})
	m, err = projections.OpenMarket(t.Context(), dir, other.log)
	must(t, err)
	follow(t, m.Run, m.Close)
	subs, err := m.Subscriptions(t.Context(), projections.Demands, "")
	if err != nil || len(subs) != 1 || subs[0].ID != "demand-9" {
		t.Errorf("tables of another log were kept: %+v, %v", subs, err)
	}
}

func TestADamagedFileIsMadeAnew(t *testing.T) {
	t.Parallel()
	w, dir := newWorld(t), t.TempDir()
	wholeDeal(t, w)
	scribble(t, filepath.Join(dir, "market.db"))
	m := openMarket(t, w, dir)
	if subs, err := m.Subscriptions(t.Context(), projections.Demands, alice); err != nil || len(subs) != 1 {
		t.Fatalf("%v, %v", subs, err)
	}
}
