package ledger

import (
	"crypto/rand"
	"database/sql"
	"errors"
	"path/filepath"
	"testing"

	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/adapters/store/kurrent"
	"github.com/emet-node/emet/adapters/store/kurrent/kurrenttest"
	"github.com/emet-node/emet/adapters/store/sqlite"
	"github.com/emet-node/emet/api/esdb/esdbtest"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/eventschemas"
)

// engine opens a home whose log is in another engine, the same one each time.
type engine func(t testing.TB, dir string) *home

func homeOf(t testing.TB, dir string, s logStore) *home {
	t.Cleanup(func() { _ = s.Close() })
	return &home{t: t, dir: dir, store: s, log: &es.Log{Store: s, Codec: eventschemas.New()}}
}

func onSQLite(t testing.TB, dir string) *home {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(dir, "log.sqlite"), sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return homeOf(t, dir, s)
}

func onServer(t testing.TB) engine {
	t.Helper()
	addr := esdbtest.Serve(t, kurrenttest.New())
	var id [16]byte
	_, _ = rand.Read(id[:])
	return func(t testing.TB, dir string) *home {
		s, err := kurrent.Open(t.Context(), kurrent.Options{URL: "kurrent://" + addr + "?tls=false", LogID: id})
		if err != nil {
			t.Fatal(err)
		}
		return homeOf(t, dir, s)
	}
}

// Other engines are not the evidence, but prove the same.
func TestOtherEnginesProveTheirEvents(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]engine{"sqlite": onSQLite, "kurrent": onServer(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			h := open(t, dir)
			h.say("a.v1", 300)
			k := h.keeper()
			if _, err := k.Sign(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(k.Close(), h.store.Close()); err != nil {
				t.Fatal(err)
			}
			h = open(t, dir) // with tiles on disk
			k = h.keeper()
			h.say("b.v1", 500)
			c, err := k.Sign(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			size, root := h.store.Root()
			if c.Size != size || c.Root != root || size < 800 {
				t.Errorf("signed %d, %s of %d, %s", c.Size, c.Root, size, root)
			}
			for _, p := range []es.Position{0, 1, 255, 256, 299, 300, 511, es.Position(size - 1)} {
				f, err := k.Prove(t.Context(), p)
				if err != nil {
					t.Fatal(err)
				}
				if v, err := verify.Check(encoded(t, f), verify.Trust{Key: k.Key()}); err != nil || v.Fact.Position != p {
					t.Errorf("position %d: %+v, %v", p, v, err)
				}
			}
		})
	}
}

// Somebody who takes rows away at the end, or changes all that follow, is found
// by what was signed.
func TestARewrittenDatabaseIsNotSigned(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := onSQLite(t, dir)
	h.say("a.v1", 300)
	k := h.keeper()
	if _, err := k.Sign(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(k.Close(), h.store.Close()); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", filepath.Join(dir, "log.sqlite"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`DELETE FROM events WHERE position >= 290`); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	h = onSQLite(t, dir)
	var rewritten *ledger.Rewritten
	if _, err := Open(t.Context(), h.log, h.options()); !errors.As(err, &rewritten) {
		t.Errorf("a shorter log: %v", err)
	}
	h.say("b.v1", 50)
	if _, err := Open(t.Context(), h.log, h.options()); !errors.As(err, &rewritten) {
		t.Errorf("another history: %v", err)
	}
}
