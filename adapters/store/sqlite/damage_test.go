package sqlite_test

import (
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/emet-node/emet/adapters/store/sqlite"
	"github.com/emet-node/emet/domain/es"
)

func TestWhatWasChangedIsFound(t *testing.T) {
	t.Parallel()
	for name, q := range map[string]string{
		"data":     `UPDATE events SET data = CAST('{"n":2}' AS BLOB) WHERE position = 1`,
		"meta":     `UPDATE events SET meta = NULL WHERE position = 1`,
		"type":     `UPDATE events SET type = 'a.other.v1' WHERE position = 1`,
		"time":     `UPDATE events SET recorded = recorded + 1 WHERE position = 1`,
		"id":       `UPDATE events SET id = x'00112233445566778899aabbccddeeff' WHERE position = 1`,
		"subject":  `UPDATE events SET subject = 'peer/1' WHERE position = 1`,
		"salts":    `UPDATE events SET salts = zeroblob(32) WHERE position = 1`,
		"stream":   `UPDATE events SET stream = 'b-1' WHERE position = 1`,
		"revision": `UPDATE events SET revision = 7 WHERE position = 1`,
		"previous": `UPDATE events SET previous = zeroblob(32) WHERE position = 1`,
		"leaf":     `UPDATE events SET leaf = zeroblob(32) WHERE position = 1`,
		"a hole":   `DELETE FROM events WHERE position = 1`,
		"a length": `UPDATE events SET leaf = zeroblob(3) WHERE position = 1`,
		"the log":  `UPDATE log SET format = 9`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "log.sqlite")
			s := open(t, path)
			for _, n := range []string{"a", "b", "c"} {
				one(t, s, n)
			}
			if err := errors.Join(s.Verify(t.Context()), s.Close()); err != nil {
				t.Fatal(err)
			}
			db, err := sql.Open("sqlite", path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.Exec(q); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			again, err := sqlite.Open(t.Context(), path, sqlite.Options{})
			if err == nil {
				err = again.Verify(t.Context())
				_ = again.Close()
			}
			if !errors.Is(err, es.ErrCorrupt) {
				t.Errorf("got %v, want damage", err)
			}
		})
	}
}

func TestAFileOfAnotherKindIsLeftAlone(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log.sqlite")
	text := []byte("this is no database, but somebody's letter to somebody else, kept in the wrong place")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(t.Context(), path, sqlite.Options{}); !errors.Is(err, es.ErrCorrupt) {
		t.Errorf("got %v", err)
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != string(text) {
		t.Errorf("now it holds %q, %v", b, err)
	}
}
