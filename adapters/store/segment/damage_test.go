package segment

import (
	"errors"
	"io/fs"
	"path"
	"strings"
	"testing"

	"github.com/emet-node/emet/adapters/store/vfs"
	"github.com/emet-node/emet/domain/es"
)

// TestALogWhoseSTOREIsLost is not begun anew, however short it is: its events
// are all there, and a repair finds them.
func TestALogWhoseSTOREIsLost(t *testing.T) {
	t.Parallel()
	for _, events := range []int{1, 3, 60} { // in one segment, or in several
		dir := toDisk(t, storeOf(t, events))
		want, err := Verify(dir)
		if err != nil {
			t.Fatal(err)
		}
		if err := (vfs.OS{}).Remove(path.Join(dir, storeName)); err != nil {
			t.Fatal(err)
		}
		before := content(t, dir)
		for _, open := range []func() (*Store, error){
			func() (*Store, error) { return Open(dir, Options{}) },
			func() (*Store, error) { return OpenReadOnly(dir) },
		} {
			var d *Damage
			if s, err := open(); !errors.As(err, &d) || d.File != storeName || !errors.Is(err, es.ErrCorrupt) {
				t.Fatalf("%d events: opened as %v, %v", events, s, err)
			}
		}
		if !sameContent(before, content(t, dir)) {
			t.Fatalf("%d events: opening it changed it", events)
		}
		r, err := Verify(dir)
		if err != nil || len(r.Damage) != 1 || r.Damage[0].File != storeName || r.Events != want.Events {
			t.Errorf("%d events: %+v, %v", events, r, err)
		}
		if plan, kept, err := DoRepair(t.Context(), dir, RepairOptions{}, noon); err != nil || kept == "" || plan.Root != want.Root {
			t.Fatalf("%d events: %+v, %v", events, plan, err)
		}
		goesOn(t, dir, want.Events)
	}
}

// TestAStoreThatWasNeverFinished is begun anew.
func TestAStoreThatWasNeverFinished(t *testing.T) {
	t.Parallel()
	dir := toDisk(t, storeOf(t, 0))
	if err := (vfs.OS{}).Remove(path.Join(dir, storeName)); err != nil {
		t.Fatal(err)
	}
	if _, err := Verify(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	goesOn(t, dir, 0)
}

func TestWhatDamageSaysOfPositions(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]Damage{
		"position 3 is lost":         {FirstPosition: 3, LastPosition: 3},
		"positions 3 to 5 are lost":  {FirstPosition: 3, LastPosition: 5},
		"all segments are missing. ": {FirstPosition: 1, What: "all segments are missing"},
	} {
		if got := d.Error(); !strings.Contains(got, want) {
			t.Errorf("%q does not say %q", got, want)
		}
	}
}
