package supervisor_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/emet-node/emet/adapters/exeunit"
	"github.com/emet-node/emet/adapters/exeunit/supervisor"
	"github.com/emet-node/emet/domain/activity/unit"
)

// A daemon that is killed between starting an exe-unit and hearing of it finds
// it when it starts it again.
func TestADaemonThatDiesWhileItSpawns(t *testing.T) {
	t.Parallel()
	s := spec(t)
	if err := os.MkdirAll(s.WorkDir, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", exeunit.SupervisorCommand, s.ActivityID)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if err := errors.Join(w.Close(), r.Close()); err != nil { // nobody listens
		t.Fatal(err)
	}
	if err := errors.Join(json.NewEncoder(in).Encode(s), in.Close()); err != nil {
		t.Fatal(err)
	}
	// Its first word comes after its description.
	for {
		if _, err := os.Stat(filepath.Join(s.WorkDir, "spawned.json")); err == nil {
			break
		}
		select {
		case <-t.Context().Done():
			t.Fatal("it does not start")
		case <-time.After(5 * time.Millisecond):
		}
	}
	time.Sleep(100 * time.Millisecond) // it says its word to nobody; that it lives on is what is tested
	spawned, err := supervisor.Client{}.Spawn(t.Context(), s)
	if !errors.Is(err, unit.ErrExists) || spawned.PID != cmd.Process.Pid {
		t.Fatalf("%+v, %v; want the exe-unit %d that is there", spawned, err, cmd.Process.Pid)
	}
}
