package node_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emet-node/emet/adapters/bus"
	"github.com/emet-node/emet/adapters/store/archive"
	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/projections/story/storytest"
)

const hookID = "wh_000000000001"

// lived makes a data directory with deals, a key and a webhook that was told
// something, and leaves it open.
func lived(t *testing.T, store string) (dir string, l *node.Ledger, secret []byte) {
	t.Helper()
	dir = t.TempDir()
	l, err := node.OpenLedger(t.Context(), node.Options{Dir: dir, Store: store})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	if err := storytest.Write(t.Context(), l.Log); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Secrets.LogKey(); err != nil {
		t.Fatal(err)
	}
	if err := l.News.Passed(t.Context(), hookID, 17); err != nil {
		t.Fatal(err)
	}
	if err := l.News.SetAside(t.Context(), bus.Aside{Hook: hookID, Position: 5, Event: "e", Type: "t.v1", Reason: "no"}); err != nil {
		t.Fatal(err)
	}
	if secret, err = os.ReadFile(filepath.Join(dir, "secrets", "log.key")); err != nil {
		t.Fatal(err)
	}
	return dir, l, secret
}

func told(t *testing.T, l *node.Ledger) []es.Event {
	t.Helper()
	var out []es.Event
	for e, err := range l.Store.ReadAll(t.Context(), 0, es.Forward, es.Filter{}, 0) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

func TestABackupOfEitherEngineComesBack(t *testing.T) {
	t.Parallel()
	for _, store := range []string{"segment", "sqlite"} {
		for _, withSecrets := range []bool{false, true} {
			t.Run(fmt.Sprint(store, withSecrets), func(t *testing.T) {
				t.Parallel()
				dir, l, secret := lived(t, store)
				want := told(t, l)
				target := filepath.Join(t.TempDir(), "b.tar")
				m, err := node.BackupLog(t.Context(), node.Options{Dir: dir}, target, withSecrets, nil)
				if err != nil || m.Engine != store || m.Events != uint64(len(want)) || m.Secrets != withSecrets || m.Format != archive.Format2 {
					t.Fatalf("%+v, %v", m, err)
				}
				b, err := os.ReadFile(target)
				if err != nil {
					t.Fatal(err)
				}
				if bytes.Contains(b, bytes.TrimSpace(secret)) != withSecrets {
					t.Errorf("secrets are in it: %v, want %v", !withSecrets, withSecrets)
				}
				again := t.TempDir()
				r, err := node.RestoreLog(t.Context(), target, node.Options{Dir: again}, nil)
				if err != nil || r.Events != m.Events || r.Epoch != 1 {
					t.Fatalf("%+v, %v", r, err)
				}
				back, err := os.ReadFile(filepath.Join(again, "secrets", "log.key"))
				if withSecrets != bytes.Equal(back, secret) {
					t.Errorf("the key came back: %v, %v", bytes.Equal(back, secret), err)
				}
				restored(t, again, store, r, want)
			})
		}
	}
}

// restored holds a restored log against the old one.
func restored(t *testing.T, dir, store string, r node.Revived, want []es.Event) {
	t.Helper()
	l, err := node.OpenLedger(t.Context(), node.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // in a test
	if l.Store.Caps().Name != store || l.Store.LogID() != r.NewLogID {
		t.Errorf("engine %s, log %x", l.Store.Caps().Name, l.Store.LogID())
	}
	got := told(t, l)
	if len(got) != len(want)+1 || got[len(want)].Type != "$log.opened.v1" || !strings.Contains(string(got[len(want)].Data), r.LogID) {
		t.Fatalf("%d events, want %d and $log.opened", len(got), len(want))
	}
	for i, e := range want {
		if got[i].Leaf != e.Leaf || string(got[i].Data) != string(e.Data) {
			t.Fatalf("event %d is another", i)
		}
	}
	st, err := l.News.Status(t.Context(), bus.Hook{ID: hookID})
	if err != nil || st.Next != 17 || st.Aside != 1 {
		t.Errorf("told so far: %+v, %v", st, err)
	}
}

func TestSecretsAreNotPutOverOthers(t *testing.T) {
	t.Parallel()
	dir, _, secret := lived(t, "")
	target := filepath.Join(t.TempDir(), "b.tar")
	if _, err := node.BackupLog(t.Context(), node.Options{Dir: dir}, target, true, nil); err != nil {
		t.Fatal(err)
	}
	for name, files := range map[string]map[string]string{
		"none": {}, "other": {"log.key": "another"}, "more": {"log.key": string(secret), "more": ""},
	} {
		again := t.TempDir()
		if err := os.MkdirAll(filepath.Join(again, "secrets"), 0o700); err != nil {
			t.Fatal(err)
		}
		for f, content := range files {
			if err := os.WriteFile(filepath.Join(again, "secrets", f), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := node.RestoreLog(t.Context(), target, node.Options{Dir: again}, nil); !errors.Is(err, node.ErrHasSecrets) {
			t.Errorf("%s: %v", name, err)
		}
		if node.HasData(again) {
			t.Errorf("%s: a log was restored all the same", name)
		}
	}
}

// A restore that was killed before the log was in its place leaves no directory
// in which another log is begun, and is done by the next restore.
func TestAnInterruptedRestoreIsEndedByTheNext(t *testing.T) {
	t.Parallel()
	for _, secretsThere := range []bool{false, true} {
		dir, l, secret := lived(t, "")
		want := told(t, l)
		target, again := filepath.Join(t.TempDir(), "b.tar"), t.TempDir()
		if _, err := node.BackupLog(t.Context(), node.Options{Dir: dir}, target, true, nil); err != nil {
			t.Fatal(err)
		}
		if _, err := node.RestoreLog(t.Context(), target, node.Options{Dir: again}, nil); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(again, "store"), filepath.Join(again, "store.restoring")); err != nil {
			t.Fatal(err)
		}
		if !secretsThere {
			if err := os.RemoveAll(filepath.Join(again, "secrets")); err != nil {
				t.Fatal(err)
			}
		}
		if l, err := node.OpenLedger(t.Context(), node.Options{Dir: again}); !errors.Is(err, node.ErrInterrupted) || !strings.Contains(err.Error(), "restore again") || node.HasData(again) {
			t.Errorf("secrets %v: opened %v, %v", secretsThere, l, err)
		}
		r, err := node.RestoreLog(t.Context(), target, node.Options{Dir: again}, nil)
		if err != nil {
			t.Fatalf("secrets %v: %v", secretsThere, err)
		}
		if back, err := os.ReadFile(filepath.Join(again, "secrets", "log.key")); !bytes.Equal(back, secret) {
			t.Errorf("secrets %v: the key did not come back: %v", secretsThere, err)
		}
		restored(t, again, "segment", r, want)
	}
}

// A repair that gives events up puts the damaged log aside before the new one
// is there.
func TestNoLogIsBegunBesideOneThatWasPutAside(t *testing.T) {
	t.Parallel()
	dir, l, _ := lived(t, "")
	want := len(told(t, l))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	store, aside := filepath.Join(dir, "store"), filepath.Join(dir, "store.damaged-20260102T150405Z")
	if err := os.Rename(store, aside); err != nil {
		t.Fatal(err)
	}
	if l, err := node.OpenLedger(t.Context(), node.Options{Dir: dir}); !errors.Is(err, node.ErrInterrupted) || !strings.Contains(err.Error(), aside) || node.HasData(dir) {
		t.Errorf("opened %v, %v", l, err)
	}
	if err := os.Rename(aside, store); err != nil {
		t.Fatal(err)
	}
	l, err := node.OpenLedger(t.Context(), node.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() //nolint:errcheck // in a test
	if got := len(told(t, l)); got != want {
		t.Errorf("%d events, want %d", got, want)
	}
}

func TestALogOnAServerIsBackedUpThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "store"), 0o700); err != nil {
		t.Fatal(err)
	}
	b := []byte(`{"format":1,"engine":"kurrent","url":"kurrent://127.0.0.1:1?tls=false","logId":"00000000000000000000000000000000"}`)
	if err := os.WriteFile(filepath.Join(dir, "store", "ENGINE"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := node.BackupLog(t.Context(), node.Options{Dir: dir}, filepath.Join(t.TempDir(), "b.tar"), false, nil)
	if !errors.Is(err, node.ErrOnServer) || !strings.Contains(err.Error(), "emet store export") {
		t.Errorf("got %v", err)
	}
}
