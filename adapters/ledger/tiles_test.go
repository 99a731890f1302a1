package ledger

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
)

// a tile holds exactly the hashes that its place says.
func checkTile(t *testing.T, tree *Tree, s *leafStore, level int, index uint64, width int) {
	t.Helper()
	b, err := tree.Tile(t.Context(), level, index, width)
	if err != nil || len(b) != 32*width {
		t.Fatalf("tile %s: %d bytes, %v", ledger.TilePath(level, index, width), len(b), err)
	}
	each := uint64(1) << (8 * level)
	for i, h := range split(b) {
		sub := &leafStore{seed: s.seed}
		first := (index<<8 + uint64(i)) * each
		want := subtree(sub, first, each)
		if h != want {
			t.Fatalf("hash %d of tile %s", i, ledger.TilePath(level, index, width))
		}
	}
}

func subtree(s *leafStore, first, n uint64) es.Hash {
	if n == 1 {
		return s.leaf(first)
	}
	l, r := subtree(s, first, n/2), subtree(s, first+n/2, n/2)
	return nodeHash(&l, &r)
}

func TestTilesHoldTheTree(t *testing.T) {
	t.Parallel()
	s := (&leafStore{}).grow(70_000)
	tree := treeOf(t, s, files{dir: t.TempDir(), disk: realDisk})
	checkTile(t, tree, s, 0, 0, 256)
	checkTile(t, tree, s, 0, 272, 256)
	checkTile(t, tree, s, 0, 272, 3)              // the beginning of a full one
	checkTile(t, tree, s, 0, 273, 70_000-273*256) // the last
	checkTile(t, tree, s, 1, 0, 256)
	checkTile(t, tree, s, 1, 1, 17)
	checkTile(t, tree, s, 2, 0, 1)
	for _, c := range []struct {
		level int
		index uint64
		width int
	}{{0, 273, 70_000 - 273*256 + 1}, {0, 273, 256}, {0, 274, 1}, {1, 1, 18}, {2, 0, 2}, {3, 0, 1}, {-1, 0, 1}, {8, 0, 1}, {0, 0, 0}, {0, 0, 257}, {0, 1 << 62, 1}} {
		if _, err := tree.Tile(t.Context(), c.level, c.index, c.width); !errors.Is(err, ledger.ErrRange) {
			t.Errorf("%v: %v", c, err)
		}
	}
	s.grow(70_100) // a tile that is asked for is looked for
	checkTile(t, tree, s, 0, 273, 70_000-273*256+100)
}

func tilesOf(t *testing.T, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Join(dir, "tile"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Whatever happens to a tile, what is answered is right, and the tile is mended
// when it is next looked at.
func TestDamagedTilesAreFoundAndMended(t *testing.T) {
	t.Parallel()
	const size = 66_000
	s := (&leafStore{}).grow(size)
	dir := t.TempDir()
	if _, _, err := treeOf(t, s, files{dir: dir, disk: realDisk}).Root(t.Context()); err != nil {
		t.Fatal(err)
	}
	all := tilesOf(t, dir)
	if len(all) != size/256+1 {
		t.Fatalf("%d tiles", len(all))
	}
	harm := map[string]func(b []byte) []byte{
		"a bit":     func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"a hash":    func(b []byte) []byte { clear(b[32:64]); return b },
		"the end":   func(b []byte) []byte { return b[:len(b)-1] },
		"too long":  func(b []byte) []byte { return append(b, 0) },
		"nothing":   func([]byte) []byte { return nil },
		"a swap":    func(b []byte) []byte { return append(bytes.Clone(b[32:]), b[:32]...) },
		"all zeros": func(b []byte) []byte { return make([]byte, len(b)) },
	}
	for what, do := range harm {
		for _, level := range []string{"/0/", "/1/"} {
			for _, name := range all {
				if !strings.Contains(name, level) || !(strings.HasSuffix(name, "/000") || strings.HasSuffix(name, "/100") || strings.HasSuffix(name, "/256")) {
					continue
				}
				good, err := os.ReadFile(name)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(name, do(bytes.Clone(good)), 0o600); err != nil {
					t.Fatal(err)
				}
				tree := treeOf(t, s, files{dir: dir, disk: realDisk})
				rel, _ := filepath.Rel(filepath.Join(dir, "tile"), name)
				l, i, w, err := ledger.ParseTilePath(filepath.ToSlash(rel))
				if err != nil {
					t.Fatal(err)
				}
				got, err := tree.Tile(t.Context(), l, i, w)
				if err != nil || !bytes.Equal(got, good) {
					t.Errorf("%s of %s: wrong answer, %v", what, rel, err)
				}
				if on, err := os.ReadFile(name); err != nil || !bytes.Equal(on, good) {
					t.Errorf("%s of %s: not mended, %v", what, rel, err)
				}
			}
		}
	}
}

// Two tiles at once, one above the other, leave nothing to believe but the log.
func TestATileAndTheOneBelowAreMendedTogether(t *testing.T) {
	t.Parallel()
	s := (&leafStore{}).grow(66_000)
	dir := t.TempDir()
	tree := treeOf(t, s, files{dir: dir, disk: realDisk})
	want, err := tree.Tile(t.Context(), 1, 0, 256)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"0/007", "1/000"} {
		name := filepath.Join(dir, "tile", filepath.FromSlash(path))
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		b[100] ^= 4
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again := treeOf(t, s, files{dir: dir, disk: realDisk})
	if got, err := again.Tile(t.Context(), 1, 0, 256); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%v", err)
	}
	checkTile(t, again, s, 0, 7, 256)
}

// Tiles of a log that was once longer, or another, are not taken for those of
// this one.
func TestTilesOfAnotherLogAreReplaced(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, _, err := treeOf(t, (&leafStore{seed: 1}).grow(3000), files{dir: dir, disk: realDisk}).Root(t.Context()); err != nil {
		t.Fatal(err)
	}
	s := (&leafStore{seed: 2}).grow(2000)
	tree := treeOf(t, s, files{dir: dir, disk: realDisk})
	if size, root, err := tree.Root(t.Context()); err != nil || size != 2000 {
		t.Fatal(size, root, err)
	}
	s.grow(2900)
	fresh := treeOf(t, s, files{dir: dir, disk: realDisk})
	for i := range uint64(11) {
		checkTile(t, fresh, s, 0, i, 256)
	}
}

func TestAReaderWritesNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := (&leafStore{}).grow(70_000)
	tree := treeOf(t, s, files{dir: dir, readOnly: true, disk: realDisk})
	checkTile(t, tree, s, 0, 3, 256)
	checkTile(t, tree, s, 1, 0, 256)
	tree.publish(70_000)
	if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
		t.Errorf("%v %v", names, err)
	}
}

func TestALogThatDoesNotMakeItsRootIsDamaged(t *testing.T) {
	t.Parallel()
	tree := treeOf(t, liar{(&leafStore{}).grow(700)}, files{dir: t.TempDir(), disk: realDisk})
	if _, _, err := tree.Root(t.Context()); !errors.Is(err, es.ErrCorrupt) {
		t.Error(err)
	}
}

type liar struct{ *leafStore }

func (l liar) Root() (uint64, es.Hash) { n, h := l.leafStore.Root(); h[0] ^= 1; return n, h }
