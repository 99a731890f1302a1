package kill

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/emet-node/emet/cmd/emet/node"
)

// TestAKilledRepairIsDoneByTheNext kills emet store repair, with a copy that
// has what is damaged and without one: no node begins another log then, and the
// next repair does what the first one meant to.
func TestAKilledRepairIsDoneByTheNext(t *testing.T) {
	t.Parallel()
	games(t, func(t *testing.T, seed uint64) {
		n, r := grown(t, seed, 40), chance(seed, 0)
		n.stop()
		tar, origin := filepath.Join(n.home, "b.tar"), n.dir
		n.must("store", "backup", "-d", origin, "-o", tar)
		events := n.events()
		how := [][]string{{"--from", tar}, {"--accept-loss"}}
		knives := make([]*knife, len(how))
		for i := range 2 + cuts {
			n.dir = filepath.Join(n.home, fmt.Sprint("r", i))
			n.damaged(origin)
			repair := append([]string{"store", "repair", "--apply", "-d", n.dir}, how[i%2]...)
			if k := knives[i%2]; k != nil {
				k.emet(n, repair...)
			} else {
				whole := n.emet(repair...)
				if whole.code != 0 {
					t.Fatalf("%v: %+v", repair, whole)
				}
				knives[i%2] = &knife{r: r, whole: whole.took}
			}
			n.repaired(repair)
			if got := n.events(); i%2 == 0 && got != events && got != events+1 || i%2 == 1 && (got >= events || got == 0) {
				t.Errorf("%v: %d events, and there were %d", repair, got, events)
			}
			if i < 2 {
				n.start() // it is a node as before
				n.stop()
			}
			if err := os.RemoveAll(n.dir); err != nil {
				t.Fatal(err)
			}
		}
		knives[0].cut += knives[1].cut
		knives[0].enough(t)
	})
}

// damaged makes a copy of a node in whose first segment some bytes are wrong.
func (n *lived) damaged(origin string) {
	n.t.Helper()
	if err := os.CopyFS(n.dir, os.DirFS(origin)); err != nil {
		n.t.Fatal(err)
	}
	if err := private(n.dir); err != nil {
		n.t.Fatal(err)
	}
	f, err := os.OpenFile(n.segments()[0], os.O_RDWR, 0)
	if err != nil {
		n.t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // the repair would tell
	info, err := f.Stat()
	if err != nil {
		n.t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("this was never written by a node"), info.Size()/2); err != nil {
		n.t.Fatal(err)
	}
}

// private takes the rights of others from a directory and all below it.
func private(dir string) error {
	return filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return os.Chmod(name, 0o700)
		}
		return os.Chmod(name, 0o600)
	})
}

// repaired ends what a killed repair left, as its user is told to.
func (n *lived) repaired(repair []string) {
	n.t.Helper()
	if !node.HasData(n.dir) {
		n.refuses("emet store repair")
		aside, err := filepath.Glob(filepath.Join(n.dir, "store.damaged-*"))
		if err != nil || len(aside) != 1 {
			n.t.Fatalf("%v: nothing is kept: %v, %v", repair, aside, err)
		}
		if err := os.Rename(aside[0], filepath.Join(n.dir, "store")); err != nil {
			n.t.Fatal(err)
		}
	}
	if n.emet("store", "verify", "-d", n.dir).code != 0 {
		n.must(repair...)
	}
	n.must("store", "verify", "-d", n.dir)
}
