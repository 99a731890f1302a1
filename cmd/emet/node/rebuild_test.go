package node

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/projections"
	"github.com/emet-node/emet/projections/story/storytest"
)

const rebuildEnv = "EMET_TEST_REBUILD_DIR"

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(rebuildEnv); dir != "" {
		fmt.Println("error", rebuildForEver(context.Background(), dir))
		return
	}
	os.Exit(m.Run())
}

// rebuildForEver makes all views anew again and again, and the past beside them.
func rebuildForEver(ctx context.Context, dir string) error {
	l, err := OpenLedger(ctx, Options{Dir: dir})
	if err != nil {
		return err
	}
	for _, v := range l.Views() {
		go v.CatchUpPast(ctx) //nolint:errcheck // it is about being killed
	}
	fmt.Println("open")
	for {
		if err := projections.Rebuild(ctx, l.Views()...); err != nil {
			return err
		}
	}
}

// A kill in the middle of a rebuild leaves the old tables or the new ones, and
// answers about the past that are true.
func TestAKilledRebuildLeavesWholeViews(t *testing.T) {
	t.Parallel()
	ctx, o := t.Context(), Options{Dir: t.TempDir()}
	l, err := OpenLedger(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	w, err := storytest.NewWorld(ctx, l.Log)
	if err == nil {
		err = w.Deals(ctx, 0, 24, func(int) storytest.Stage { return storytest.Paid })
	}
	if err != nil {
		t.Fatal(err)
	}
	head, _ := l.Store.Head(ctx)
	at := head / 2
	var want, wantThen []string
	for _, v := range l.Views() {
		if err := v.CatchUp(ctx); err != nil {
			t.Fatal(err)
		}
		want = append(want, tableHash(t, v, nil))
		past, err := v.AsOf(ctx, at)
		wantThen = append(wantThen, tableHash(t, past, err))
		_ = past.Close()
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for round := range 12 {
		if round%3 == 0 {
			_ = os.RemoveAll(filepath.Join(o.Dir, "views", "past"))
		}
		killWhileRebuilding(t, o.Dir, time.Duration(rand.IntN(150))*time.Millisecond) //nolint:gosec // not a secret
		r, err := readBeside(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		if r.Folded {
			t.Fatalf("round %d: the files are neither the old ones nor the new ones", round)
		}
		for i, v := range r.Views() {
			if got := tableHash(t, v, nil); got != want[i] {
				t.Fatalf("round %d: the tables of %s are neither the old ones nor the new ones", round, v.Name())
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		checkPast(t, o, at, wantThen)
	}
}

func checkPast(t *testing.T, o Options, at es.Position, want []string) {
	t.Helper()
	l, err := OpenLedger(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range l.Views() {
		past, err := v.AsOf(t.Context(), at)
		if got := tableHash(t, past, err); got != want[i] {
			t.Fatalf("the past of %s is another one", v.Name())
		}
		_ = past.Close()
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func tableHash(t *testing.T, v *projections.DB, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	h, err := v.TableHash(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func killWhileRebuilding(t *testing.T, dir string, after time.Duration) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), rebuildEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "open" {
		t.Fatalf("the child says %q", lines.Text())
	}
	time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	for lines.Scan() {
		t.Fatalf("the child says %q", lines.Text())
	}
	_ = cmd.Wait() // it was killed
}
