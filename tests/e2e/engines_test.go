package e2e

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/store/kurrent/kurrenttest"
	"github.com/emet-node/emet/api/esdb/esdbtest"
	"github.com/emet-node/emet/tests/built"
)

// logServer stands in for a KurrentDB.
func logServer(t *testing.T) string {
	t.Helper()
	return "kurrent://operator:changeit@" + esdbtest.Serve(t, kurrenttest.New()) + "?tls=false"
}

// A whole deal over each of the other engines, with a kill in the middle of it.
func TestADealOverAnotherEngine(t *testing.T) {
	t.Parallel()
	for _, engine := range []string{"sqlite", "kurrent"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			dir, mark, store := t.TempDir(), t.TempDir(), engine
			if engine == "kurrent" {
				store = logServer(t)
			}
			p := begin(t, []string{"TMPDIR=" + mark}, "dev", "--port", "0", "--providers", "1", "-d", dir, "--store", store)
			c := p.client()
			c.Patience = time.Minute
			d := strike(t, c, wish{image: built.Serve(t, built.Guest), budget: "1"})
			d.start()
			killNetwork(mark)
			if r := d.do(guest("args", "after a kill")); r[len(r)-1].Result != "Ok" {
				t.Errorf("%+v", r)
			}
			d.settle(c)
			p.signal(syscall.SIGTERM)
			p.ended(30 * time.Second)
			readable(t, dir, store, engine)
		})
	}
}

// readable holds what a node left behind against what its commands say of it.
func readable(t *testing.T, dir, store, engine string) {
	t.Helper()
	var info struct {
		Engine, Root string
		Events       uint64
	}
	var check struct {
		OK     bool
		Root   string
		Events uint64
	}
	for what, into := range map[string]any{"info": &info, "verify": &check} {
		r := emet(t, nil, "store", what, "-d", dir, "--json")
		r.says(t, 0)
		if err := json.Unmarshal([]byte(r.stdout), into); err != nil {
			t.Fatalf("store %s: %v: %s", what, err, r.stdout)
		}
	}
	if info.Engine != engine || info.Events < 50 || !check.OK || check.Root != info.Root || check.Events != info.Events {
		t.Errorf("info %+v, verify %+v", info, check)
	}
	proof, key := emet(t, nil, "log", "proof", "7", "-d", dir), emet(t, nil, "store", "checkpoint", "--key", "-d", dir)
	file := filepath.Join(t.TempDir(), "event.json")
	if err := os.WriteFile(file, []byte(proof.stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	emet(t, nil, "log", "verify", file, "--key", strings.TrimSpace(key.stdout)).says(t, 0)
	if r := emet(t, nil, "agreement", "list", "-d", dir); !strings.Contains(r.stdout, "Terminated") {
		t.Errorf("agreements: %s %s", r.stdout, r.stderr)
	}
	emet(t, nil, "up", "-d", dir, "--store", "segment").says(t, 1, "a log does not move")
	b, err := os.ReadFile(filepath.Join(dir, "store", "ENGINE"))
	if err != nil || bytes.Contains(b, []byte("changeit")) {
		t.Errorf("ENGINE: %s, %v", b, err)
	}
}
