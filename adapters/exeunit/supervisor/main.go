// Package supervisor is the exe-unit: one process for each activity, which
// keeps the activity's journal, follows the rules of its states, moves its
// files and owns the runtime that runs its guests.
//
// [Main] is that process, [Client] is how a daemon starts and finds it. The
// process outlives the daemon; it ends when it is told to, when it was alone
// for too long, or when it is killed, and its runtime ends with it.
package supervisor

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/emet-node/emet/domain/activity/unit"
)

// Exit codes of the process.
const (
	exitOK = iota
	exitFailed
	exitJournal
)

// defaultOrphan is how long an exe-unit lives alone.
const defaultOrphan = 10 * time.Minute

// ready is what the process says once on its standard output.
type ready struct {
	Spawned *unit.Spawned `json:"spawned,omitempty"`
	Reply   *reply        `json:"reply,omitempty"`
}

// Main is "emet exe-unit": it reads a [unit.Spec] from its standard input,
// says on its standard output that it listens, and serves the activity to its
// end. It returns the exit code. The arguments are only for people who look at
// a list of processes.
func Main(_ []string) int {
	syscall.Umask(0o077)
	signal.Ignore(syscall.SIGPIPE) // a dead daemon's pipe is no reason to die
	var spec unit.Spec
	if err := json.NewDecoder(io.LimitReader(os.Stdin, 1<<20)).Decode(&spec); err != nil {
		return sayNo(fmt.Errorf("read the specification: %w", err))
	}
	os.Stdin.Close()
	h, err := open(spec)
	if err != nil {
		return sayNo(err)
	}
	// A daemon that was killed meanwhile hears nothing; its next life comes for
	// us, or we end alone.
	_ = json.NewEncoder(os.Stdout).Encode(ready{Spawned: &h.spawned})
	os.Stdout.Close()
	h.serve()
	return exitOK
}

func sayNo(err error) int {
	_ = json.NewEncoder(os.Stdout).Encode(ready{Reply: refuse(err)})
	return exitFailed
}

// open takes the work dir, starts the journal and listens.
func open(spec unit.Spec) (*host, error) {
	if spec.ActivityID == "" || spec.Token == "" || !filepath.IsAbs(spec.WorkDir) || !filepath.IsAbs(spec.CacheDir) {
		return nil, errors.New("an exe-unit needs an activity id, a token, and absolute work and cache directories")
	}
	for _, dir := range []string{spec.WorkDir, filepath.Join(spec.WorkDir, "volumes"), filepath.Join(spec.CacheDir, "images")} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
	}
	held, err := lock(spec.WorkDir)
	if err != nil {
		return nil, err
	}
	// The socket's path is relative, since a path of a socket may only be short.
	if err := os.Chdir(spec.WorkDir); err != nil {
		return nil, err
	}
	j, err := newJournal(spec.WorkDir)
	if errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("%s holds the journal of an earlier exe-unit: %w", spec.WorkDir, unit.ErrGone)
	}
	if err != nil {
		return nil, err
	}
	_ = os.Remove(socketName)
	l, err := net.Listen("unix", socketName)
	if err != nil {
		return nil, err
	}
	h := newHost(spec, j, l)
	h.lock = held
	if h.spawned, err = describe(spec); err != nil {
		return nil, err
	}
	text, _ := json.Marshal(h.spawned)
	return h, os.WriteFile(spawnedName, text, 0o600)
}

func describe(spec unit.Spec) (unit.Spawned, error) {
	sum, err := ownHash(filepath.Join(spec.CacheDir, "runtime-hash"))
	if err != nil {
		return unit.Spawned{}, err
	}
	s := unit.Spawned{
		PID: os.Getpid(), Started: time.Now().UTC().Truncate(time.Microsecond), RuntimeHash: sum,
		Enforced: []string{"files.no-links", "memory.wasm-pages", "output.bytes"},
	}
	if spec.Limits.Fuel > 0 {
		s.Enforced = append(s.Enforced, "fuel.wasm-metering")
	}
	if spec.Limits.StorageBytes > 0 {
		s.Enforced = append(s.Enforced, "storage.wasm-quota")
	}
	if spec.Limits.WallClock > 0 {
		s.Enforced = append(s.Enforced, "wall-clock.kill")
	}
	if dyingWithParent {
		s.Enforced = append(s.Enforced, "process.dies-with-supervisor")
	}
	return s, nil
}

// ownHash is the SHA-256 of this program. Hashing takes as long as all the rest
// of a start, so the result is kept in a file beside what it was made of: no
// change of the program leaves its number, size and times as they were.
func ownHash(kept string) (string, error) {
	exe, err := selfExe()
	if err != nil {
		return "", err
	}
	f, err := os.Open(exe)
	if err != nil {
		return "", err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	same := fingerprint(info)
	if text, err := os.ReadFile(kept); err == nil && same != "" {
		if was, sum, ok := strings.Cut(string(text), "\n"); ok && was == same && len(sum) == hex.EncodedLen(sha256.Size) {
			return sum, nil
		}
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	sum := hex.EncodeToString(h.Sum(nil))
	if same != "" {
		next := kept + "." + strconv.Itoa(os.Getpid())
		if os.WriteFile(next, []byte(same+"\n"+sum), 0o600) == nil {
			_ = os.Rename(next, kept) // without it the next start hashes again
		}
	}
	return sum, nil
}

// serve runs until the activity is over and its end is recorded, or nobody
// came to record it.
func (h *host) serve() {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	signal.Ignore(syscall.SIGHUP)
	go h.accept()
	go h.core.prepare()
	go h.core.sampling()
	for over := false; !over; {
		select {
		case s := <-signals:
			h.core.terminate(fmt.Sprintf("Interrupted by signal: %d", s), exitFailed)
		case <-h.lonely.C:
			h.core.terminate(fmt.Sprintf("no daemon came for %s", h.orphanAfter()), exitFailed)
		case <-h.core.ended:
			over = true
		}
	}
	select { // the journal on disk tells the rest to whoever comes later
	case <-h.allAcked():
	case <-time.After(h.orphanAfter()):
	case <-signals:
	}
	_ = h.listener.Close()
	_ = os.Remove(socketName)
	h.core.journal.close()
}

func (h *host) orphanAfter() time.Duration {
	if h.core.spec.OrphanAfter > 0 {
		return h.core.spec.OrphanAfter
	}
	return defaultOrphan
}

// allAcked is closed when the daemon has recorded the whole journal.
func (h *host) allAcked() <-chan struct{} {
	c := make(chan struct{})
	go func() {
		defer close(c)
		for h.acked.Load() < h.core.journal.last() {
			<-h.ackBell
		}
	}()
	return c
}
