package segment_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/store/segment"
	"github.com/emet-node/emet/domain/es"
)

const childEnv = "SEGMENT_TEST_CHILD_DIR"

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		child(dir)
		return
	}
	os.Exit(m.Run())
}

// child appends until it is killed and tells what was acknowledged.
func child(dir string) {
	s, err := segment.Open(dir, small)
	if err != nil {
		fmt.Println("error", err)
		return
	}
	fmt.Println("open")
	seed := uint64(os.Getpid()) //nolint:gosec // any number will do
	for w := range 64 {
		r := rand.New(rand.NewPCG(seed, uint64(w))) //nolint:gosec // not a secret
		go func() {
			for i := 0; ; i++ {
				wr := randomWrite(r, fmt.Sprintf("%d.%d.%d", seed, w, i))
				receipt, err := s.Append(context.Background(), nil, wr)
				if err != nil {
					fmt.Println("error", err)
					return
				}
				for j, e := range wr.Events {
					fmt.Printf("acked %s %d\n", e.ID, receipt.First+es.Position(j))
				}
			}
		}()
	}
	select {}
}

func TestKilledProcessLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	dir, l := t.TempDir(), newLedger()
	for round := range 25 {
		killOnce(t, dir, l, time.Duration(rand.IntN(40))*time.Millisecond) //nolint:gosec // not a secret
		s, err := segment.Open(dir, small)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		l.check(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if report, err := segment.Verify(dir); err != nil || len(report.Damage) > 0 {
			t.Fatalf("round %d: %+v, %v", round, report, err)
		}
	}
	if len(l.acked) == 0 {
		t.Error("no append was ever acknowledged")
	}
}

func killOnce(t *testing.T, dir string, l *ledger, after time.Duration) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() || lines.Text() != "open" {
		t.Fatalf("child says %q", lines.Text())
	}
	timer := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) != 3 || f[0] != "acked" {
			continue // cut off by the kill
		}
		id, err := es.ParseID(f[1])
		p, perr := strconv.ParseUint(f[2], 10, 64)
		if err == nil && perr == nil {
			l.acked[id] = es.Position(p)
		}
	}
	_ = cmd.Wait() // it was killed
}

func TestSecondOpenerIsTurnedAway(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), small)
	begin := time.Now()
	_, err := segment.Open(s.dir, small)
	if !errors.Is(err, es.ErrLocked) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("second open: %v", err)
	}
	if d := time.Since(begin); d > time.Minute {
		t.Errorf("it took %v", d)
	}
	reopen(t, s)
}

func TestFilesBelongToTheirOwner(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir()+"/new", small)
	err := filepath.WalkDir(s.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		want := fs.FileMode(0o600)
		if d.IsDir() {
			want = 0o700
		}
		if err == nil && info.Mode().Perm() != want {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestIdleStoreCoversItsLastFrame(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), small)
	if _, err := s.Append(t.Context(), nil, randomWrite(rand.New(rand.NewPCG(1, 1)), "a")); err != nil { //nolint:gosec // any will do
		t.Fatal(err)
	}
	head, _ := s.Head(t.Context())
	deadline := time.Now().Add(2 * time.Minute)
	for {
		report, err := segment.Verify(s.dir)
		if err != nil || len(report.Damage) > 0 {
			t.Fatalf("%+v, %v", report, err)
		}
		if report.Frames == 2 && report.Unfinished == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no covering frame: %+v", report)
		}
	}
	if now, _ := s.Head(t.Context()); now != head {
		t.Errorf("covering moved the head from %d to %d", head, now)
	}
}

func TestReadOnlyWhileAnotherWrites(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), small)
	l := newLedger()
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.session(s, rand.New(rand.NewPCG(2, 2)), 0, 60) //nolint:gosec // any will do
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		report, err := segment.Verify(s.dir)
		if err != nil || len(report.Damage) > 0 {
			t.Fatalf("verify: %+v, %v", report, err)
		}
		ro, err := segment.OpenReadOnly(s.dir)
		if err != nil {
			t.Fatalf("open: %v", err)
		}
		newLedger().check(t, ro)
		if _, err := ro.Append(t.Context(), nil, es.Write{Stream: "a-1", Expected: es.Any, Events: []es.NewEvent{{ID: es.ID{1}, Type: "t"}}}); !errors.Is(err, es.ErrDegraded) {
			t.Errorf("append to a store opened for reading: %v", err)
		}
		if err := ro.Close(); err != nil {
			t.Fatal(err)
		}
	}
	ro, err := segment.OpenReadOnly(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close() //nolint:errcheck // read only
	l.check(t, ro)
}

func TestReadOnlyNeedsAStore(t *testing.T) {
	t.Parallel()
	if _, err := segment.OpenReadOnly(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("open of nothing: %v", err)
	}
}
