package projections_test

import (
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/market/demand"
	"github.com/emet-node/emet/projections"
)

func scribble(t testing.TB, path string) {
	t.Helper()
	must(t, os.WriteFile(path, []byte("this is no database, however long one looks at it"), 0o600))
}

// A view that does not catch up makes a question fail after ten seconds; it
// never answers with what was true before.
func TestStaleDataIsNeverServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		m, err := projections.OpenMarket(t.Context(), projections.Memory, w.log)
		must(t, err)
		defer m.Close()
		w.say("demand-d", demand.Published{DemandID: "d", Requestor: alice})
		began := time.Now()
		_, err = m.Subscriptions(t.Context(), projections.Demands, alice) // nobody follows
		if !errors.Is(err, projections.ErrStale) || time.Since(began) != 10*time.Second {
			t.Fatalf("after %s: %v", time.Since(began), err)
		}
	})
}

// brittle fails on every fact.
type brittle struct{ err error }

func (brittle) Name() string                                   { return "brittle/1" }
func (brittle) Schema() string                                 { return `CREATE TABLE brittle (x TEXT)` }
func (brittle) Hears() []string                                { return nil }
func (b brittle) Apply(_ *projections.Tx, _ es.Recorded) error { return b.err }

func TestAViewThatCannotGoOnSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cause := errors.New("no room for this fact")
	db, err := projections.Open(t.Context(), "brittle", projections.Memory, w.log, brittle{cause})
	must(t, err)
	defer db.Close()
	w.say("demand-d", demand.Published{DemandID: "d", Requestor: alice})
	if err := db.Run(t.Context()); !errors.Is(err, cause) {
		t.Fatalf("the follower ended with %v", err)
	}
	if err := db.Fresh(t.Context()); !errors.Is(err, cause) {
		t.Fatalf("a question got %v", err)
	}
	if db.Position() != 0 {
		t.Fatal("the position moved past a fact that was not applied")
	}
}
