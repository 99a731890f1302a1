package dsn_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"testing"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/emet-node/emet/projections/dsn"
)

func TestAFileIsOpenedWhateverItIsCalled(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"plain", "a#b", "a?b", "50%", "%41", "a b", "a&b=c", "ä", "a:b", "a;b", "a+b", `a\b`} {
		dir := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "x.db")
		for _, ask := range []string{`CREATE TABLE t (a)`, `SELECT a FROM t`} {
			db, err := sql.Open("sqlite", dsn.File(path, "_pragma=busy_timeout(1000)", "_txlock=immediate"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.Exec(ask); err != nil {
				t.Errorf("%s in %q: %v", ask, name, err)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
		}
		if found, err := os.ReadDir(dir); err != nil || len(found) != 1 || found[0].Name() != "x.db" {
			t.Errorf("%q holds %v, %v", name, found, err)
		}
	}
}

func TestAPathWithTwoSlashesIsNoHost(t *testing.T) {
	t.Parallel()
	if got, want := dsn.File("//tmp/x.db"), "file:/tmp/x.db"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
