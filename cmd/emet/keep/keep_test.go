package keep

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// This program is its own child: "child DIR PORT" listens, leaves its pid in
// DIR and waits; "refuse" ends at once; "mute" is never ready; "keeper DIR"
// keeps a child.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "child":
			child(os.Args[2], os.Args[3])
		case "refuse":
			fmt.Fprintln(os.Stderr, "there is no such thing")
			os.Exit(3)
		case "mute", "exe-unit", "other":
			ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
			<-ctx.Done()
			stop()
			os.Exit(0)
		case "keeper":
			keeper(os.Args[2])
		}
	}
	os.Exit(m.Run())
}

func child(dir, port string) {
	l, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer l.Close() //nolint:errcheck // it ends
	_ = os.WriteFile(filepath.Join(dir, "pid"), []byte(strconv.Itoa(os.Getpid())), 0o600)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	fmt.Printf("export PORT=%s\nname value\nREADY\n", port)
	fmt.Fprintln(os.Stderr, "it serves")
	<-ctx.Done()
	_ = os.WriteFile(filepath.Join(dir, "ended"), nil, 0o600)
	os.Exit(0)
}

func keeper(dir string) {
	hold, err := Take(context.Background(), dir, "lock", nil)
	if err == nil {
		k := &Keeper{Inherit: hold.Inherit()}
		_, err = k.Start(context.Background(), serving(dir))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	select {}
}

func serving(dir string) Process {
	return Process{Name: "child", Ports: 1, Log: filepath.Join(dir, "log"), Args: func(ports []int) []string {
		return []string{"child", dir, strconv.Itoa(ports[0])}
	}}
}

// diary keeps the news.
type diary struct {
	mu   sync.Mutex
	news []string
}

func (d *diary) note(name, what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.news = append(d.news, name+" "+what)
}

func (d *diary) all() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return strings.Join(d.news, "\n")
}

// patience is how long something is waited for that a busy machine does late.
const patience = 2 * time.Minute

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for begun := time.Now(); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func pidIn(dir string) int {
	b, _ := os.ReadFile(filepath.Join(dir, "pid"))
	pid, _ := strconv.Atoi(string(b))
	return pid
}

func lives(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(b), ") Z ")
}

func TestAKilledProcessComesBackWhereItWas(t *testing.T) {
	t.Parallel()
	dir, news := t.TempDir(), &diary{}
	k := &Keeper{News: news.note}
	t.Cleanup(k.Stop)
	c, err := k.Start(t.Context(), serving(dir))
	if err != nil {
		t.Fatal(err)
	}
	port := c.Said()["PORT"]
	for range 3 {
		old := c.PID()
		if err := syscall.Kill(old, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		eventually(t, "another serves", func() bool { p := pidIn(dir); return p != old && p == c.PID() && lives(p) })
	}
	if got := news.all(); got != strings.TrimSpace(strings.Repeat("child was killed; started again\n", 3)) {
		t.Errorf("the news: %s", got)
	}
	conn, err := net.Dial("tcp", "127.0.0.1:"+port)
	if err != nil || c.Said()["name"] != "value" {
		t.Fatalf("%v, %v", err, c.Said())
	}
	_ = conn.Close()
	k.Stop()
	if lives(c.PID()) {
		t.Error("it lives")
	}
	if _, err := os.Stat(filepath.Join(dir, "ended")); err != nil {
		t.Error("it did not end in good order")
	}
}

func TestAProcessGetsItsOldPortsIfItCan(t *testing.T) {
	t.Parallel()
	ports, err := Ports(1)
	if err != nil {
		t.Fatal(err)
	}
	given.Lock()
	dropLocked(ports[0]) // as if a process that ended had given it
	given.Unlock()
	start := func() *Child {
		k, p := &Keeper{}, serving(t.TempDir())
		t.Cleanup(k.Stop)
		p.Prefer = ports
		c, err := k.Start(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first, second := start(), start() // the second finds them taken
	if got := first.Said()["PORT"]; got != strconv.Itoa(ports[0]) || first.Ports()[0] != ports[0] {
		t.Errorf("the first has %s, wants %d", got, ports[0])
	}
	if got := second.Said()["PORT"]; got == strconv.Itoa(ports[0]) || got != strconv.Itoa(second.Ports()[0]) {
		t.Errorf("the second has %s", got)
	}
}

func TestAProcessThatCannotLiveSaysWhy(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]Process{
		"with a log":       {Name: "x", Ports: 1, Log: filepath.Join(t.TempDir(), "log")},
		"without a log":    {Name: "x", Ports: 1},
		"asked once alone": {Name: "x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var failed error
			k := &Keeper{Failed: func(err error) { failed = err }}
			t.Cleanup(k.Stop)
			p.Args = func([]int) []string { return []string{"refuse"} }
			_, err := k.Start(t.Context(), p)
			if err == nil || !errors.Is(failed, err) {
				t.Fatalf("%v, failed %v", err, failed)
			}
			for _, piece := range []string{"x does not start", "exit code 3", "there is no such thing"} {
				if !strings.Contains(err.Error(), piece) {
					t.Errorf("it does not say %q: %v", piece, err)
				}
			}
			if often := strings.Contains(err.Error(), "5 times"); often != (p.Ports > 0) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestAProcessThatIsKilledBeforeItIsReady(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	k := &Keeper{}
	t.Cleanup(k.Stop)
	p := serving(dir)
	last, n := p.Args, 0
	p.Args = func(ports []int) []string {
		if n++; n < 3 {
			return []string{"mute"}
		}
		return last(ports)
	}
	go func() {
		for old, i := 0, 0; i < 2; i++ {
			eventually(t, "a life", func() bool {
				k.mu.Lock()
				defer k.mu.Unlock()
				return len(k.all) == 1 && k.all[0].PID() != old
			})
			old = k.all[0].PID()
			_ = syscall.Kill(old, syscall.SIGKILL)
		}
	}()
	if _, err := k.Start(t.Context(), p); err != nil {
		t.Fatal(err)
	}
}

func TestNothingIsStartedAfterTheEnd(t *testing.T) {
	t.Parallel()
	dir, news := t.TempDir(), &diary{}
	k := &Keeper{News: news.note}
	once := serving(dir)
	once.Once = true
	c, err := k.Start(t.Context(), once)
	if err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(c.PID(), syscall.SIGKILL)
	select {
	case <-c.over:
	case <-time.After(patience):
		t.Fatal("it is kept")
	}
	if got := news.all(); got != "child was killed; not started again" {
		t.Errorf("the news: %s", got)
	}
	k.Stop()
	late, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if c, err := k.Start(late, serving(t.TempDir())); err == nil {
		t.Errorf("process %d was started", c.PID())
	}
}

// A keeper that is killed takes its processes along; until they are gone the
// directory is not taken by another.
func TestNothingOutlivesItsKeeper(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "keeper", dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the child serves", func() bool { return pidIn(dir) != 0 })
	if _, err := Take(t.Context(), dir, "lock", nil); !errors.Is(err, ErrHeld) || !strings.Contains(err.Error(), strconv.Itoa(cmd.Process.Pid)) {
		t.Errorf("while it lives: %v", err)
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	hold, err := Take(t.Context(), dir, "lock", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close() //nolint:errcheck // a test's own
	if lives(pidIn(dir)) {
		t.Error("the child lives, and its directory was taken")
	}
	if _, err := os.Stat(filepath.Join(dir, "ended")); err != nil {
		t.Error("the child was not told to end")
	}
}

func TestOnlyExeUnitsAreSwept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	work := filepath.Join(dir, "provider", "work")
	if err := os.MkdirAll(work, 0o700); err != nil {
		t.Fatal(err)
	}
	run := func(word, in string) *exec.Cmd {
		cmd := exec.Command(os.Args[0], word)
		cmd.Dir = in
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd
	}
	unit, other, elsewhere := run("exe-unit", work), run("other", work), run("exe-unit", t.TempDir())
	go unit.Wait() //nolint:errcheck // so that it leaves no zombie
	eventually(t, "they run", func() bool { return len(unitsIn(dir)) == 1 })
	if n := Sweep(dir); n != 1 {
		t.Errorf("%d were swept", n)
	}
	eventually(t, "the unit is gone", func() bool { return !lives(unit.Process.Pid) }) // also from the table of processes
	if !lives(other.Process.Pid) || !lives(elsewhere.Process.Pid) {
		t.Error("the wrong ones")
	}
}

// A port that another process has given away is not given again, though nobody
// listens there yet.
func TestPortsOfOtherProcessesAreNotGiven(t *testing.T) {
	t.Parallel()
	port := 11_000 // below those that are given
	for !free(port) {
		port++
	}
	sign, err := show(port)
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "linux" && claim([]int{port}) {
		t.Error("it is given twice")
	}
	if err := sign.Close(); err != nil {
		t.Fatal(err)
	}
	if !claim([]int{port}) {
		t.Error("it is not given when the other process has ended")
	}
}

func TestPortsAreFreeAndGivenOnce(t *testing.T) {
	t.Parallel()
	all := map[int]bool{}
	for range 20 {
		ports, err := Ports(5)
		if err != nil || len(ports) != 5 {
			t.Fatal(ports, err)
		}
		for _, p := range ports {
			if all[p] || p < lowestPort || p >= highestPort {
				t.Errorf("port %d", p)
			}
			all[p] = true
		}
	}
}
