package supervisor

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/emet-node/emet/adapters/exeunit"
	"github.com/emet-node/emet/adapters/exeunit/transfer"
	"github.com/emet-node/emet/domain/activity/script"
	"github.com/emet-node/emet/domain/activity/unit"
)

// deploy fetches the image, makes the volumes and prints what a runtime's
// deploy prints.
func (c *core) deploy(b *batch, index int, d script.Deploy, out *output) error {
	if len(d.Net) > 0 {
		return errors.New("deploy: this runtime has no network to join; leave net out")
	}
	leave := c.meter.enter(downloading)
	file, cached, err := c.cache.Image(b.ctx, &c.mover, c.spec.ImageRef, c.progress(b, index, d.Progress))
	leave()
	if err != nil {
		return fmt.Errorf("deploy: %w", err)
	}
	if cached && d.Progress != nil {
		c.push(unit.Event{Seq: -1, At: time.Now().UTC(), Body: unit.Progress{Batch: b.id, Index: index, Total: -1, Message: "Deployed image from cache"}})
	}
	img, err := openImage(file, c.spec.ImageRef, filepath.Join(c.spec.WorkDir, "image"))
	if err != nil {
		return fmt.Errorf("deploy: %w", err)
	}
	volumes, err := c.makeVolumes(img, d.Volumes)
	if err != nil {
		return fmt.Errorf("deploy: %w", err)
	}
	c.image, c.volumes, c.env = img, volumes, d.Env
	out.print(c.deployed())
	return nil
}

// deployed is the answer of a runtime to deploy, as clients see it.
func (c *core) deployed() string {
	type vol struct {
		Name string `json:"name"`
		Path string `json:"path"`
	}
	vols := []vol{}
	for _, v := range c.volumes {
		if !v.Private {
			vols = append(vols, vol{v.Name, v.Path})
		}
	}
	text, _ := json.Marshal(map[string]any{"valid": map[string]string{"Ok": "success"}, "vols": vols, "startMode": "empty"})
	return string(text)
}

// maxVolumes bounds the directories of one deploy; each is an event for good.
const maxVolumes = 128

// makeVolumes makes the directories that the image and the script ask for; the
// script's word counts for a path that both name.
func (c *core) makeVolumes(img image, asked []script.Volume) ([]volume, error) {
	points := map[string]point{}
	if img.Package || len(asked) == 0 {
		for _, p := range img.Points {
			points[p.Path] = p
		}
	}
	for _, v := range asked {
		p, err := mountPath(v.Path)
		if err != nil {
			return nil, err
		}
		limit := c.spec.Limits.StorageBytes
		switch {
		case v.Kind == "ram":
			return nil, fmt.Errorf("volume %s: this runtime has no ram volumes; ask for host or storage", p)
		case limit > 0 && v.SizeBytes > limit:
			return nil, fmt.Errorf("volume %s: %d bytes, and the activity may store %d", p, v.SizeBytes, limit)
		}
		points[p] = point{Path: p}
	}
	if len(points) > maxVolumes {
		return nil, fmt.Errorf("%d volumes, at most %d are made", len(points), maxVolumes)
	}
	var volumes []volume
	for _, path := range slices.Sorted(maps.Keys(points)) {
		v := volume{point: points[path]}
		v.Name = "vol-" + shortHash(path)
		v.Dir = filepath.Join(c.meter.dir, v.Name)
		if err := os.MkdirAll(v.Dir, 0o700); err != nil {
			return nil, err
		}
		c.journal.append(unit.VolumeMapped{Path: path, Dir: filepath.Join("volumes", v.Name)})
		volumes = append(volumes, v)
	}
	return volumes, nil
}

func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}

// progress passes on how a download goes, if the command asked for it.
func (c *core) progress(b *batch, index int, p *script.Progress) transfer.Progress {
	if p == nil {
		return nil
	}
	every := p.Interval
	if every <= 0 {
		every = time.Second
	}
	var last time.Time
	var lastBytes int64
	return func(done, total int64, message string) {
		due := time.Since(last) >= every
		if p.StepBytes > 0 {
			due = due || done-lastBytes >= p.StepBytes
		}
		if !due && message == "" {
			return
		}
		last, lastBytes = time.Now(), done
		c.push(unit.Event{Seq: -1, At: last.UTC(), Body: unit.Progress{Batch: b.id, Index: index, Done: done, Total: total, Message: message}})
	}
}

// start starts the runtime and compiles the image.
func (c *core) start(ctx context.Context, out *output) error {
	c.dropChild(nil)
	_, unmetered, err := c.ensureChild(ctx)
	if err != nil {
		return fmt.Errorf("start: %w", err)
	}
	if len(unmetered) > 0 {
		text, _ := json.Marshal(map[string]any{"unmetered": unmetered})
		out.print(string(text))
	}
	return nil
}

// ensureChild gives a runtime with the image loaded; one that was killed is
// replaced.
func (c *core) ensureChild(ctx context.Context) (ch *child, unmetered []string, err error) {
	c.childMu.Lock()
	defer c.childMu.Unlock()
	if c.child != nil {
		return c.child, nil, nil
	}
	if ch, err = c.freshLocked(); err != nil {
		return nil, nil, err
	}
	c.child = ch
	c.meter.watch(ch)
	load := exeunit.Load{
		CacheDir:    filepath.Join(c.spec.CacheDir, "compiled"),
		MemoryPages: c.memoryPages(),
		Threads:     max(1, c.spec.Limits.Threads),
	}
	for _, p := range c.image.Programs {
		load.Modules = append(load.Modules, exeunit.Module{ID: p.ID, Path: p.Path})
	}
	loaded, err := ch.load(ctx, load)
	if err != nil {
		c.dropLocked()
		return nil, nil, err
	}
	return ch, loaded.Unmetered, nil
}

// prepare starts a runtime that the start command will find: a process takes
// longer to begin than a script to come.
func (c *core) prepare() {
	c.childMu.Lock()
	defer c.childMu.Unlock()
	if !c.over && c.child == nil && c.spare == nil {
		c.spare, _ = startChild(c.spec.WorkDir) // else the command tries, and says why it cannot
	}
}

// freshLocked is a runtime with nothing loaded.
func (c *core) freshLocked() (*child, error) {
	if c.over {
		return nil, errTerminated
	}
	if ch := c.spare; ch != nil {
		c.spare = nil
		select {
		case <-ch.waited: // it ended before its time
			_ = ch.in.Close()
		default:
			return ch, nil
		}
	}
	return startChild(c.spec.WorkDir)
}

func (c *core) memoryPages() uint32 {
	bytes := c.spec.Limits.MemoryBytes
	if bytes <= 0 {
		bytes = defaultMemory
	}
	return uint32(min(max(bytes>>16, 1), 1<<16))
}

// dropChild ends a runtime, nil = whichever there is, and counts what it used.
func (c *core) dropChild(ch *child) {
	c.childMu.Lock()
	defer c.childMu.Unlock()
	if ch == nil || ch == c.child {
		c.dropLocked()
	}
}

// dropAll ends the runtime for good, and the one that was prepared.
func (c *core) dropAll() {
	c.childMu.Lock()
	defer c.childMu.Unlock()
	c.over = true
	c.dropLocked()
	if c.spare != nil {
		c.spare.leave()
		c.spare = nil
	}
}

func (c *core) dropLocked() {
	if c.child == nil {
		return
	}
	c.child.leave()
	c.meter.reaped(c.child)
	c.child = nil
}

// runGuest runs an entry point.
func (c *core) runGuest(b *batch, index int, text string, cmd script.Run, out *output) result {
	started := unit.CommandStarted{Batch: b.id, Index: index, Command: text}
	prog, argv, err := c.image.entry(cmd.EntryPoint, cmd.Args)
	if err != nil {
		c.journal.append(started)
		return result{err: err}
	}
	r := exeunit.Run{
		Module: prog.ID, Args: argv, Env: environ(c.env, cmd.Env), Mounts: c.guestMounts(),
		Fuel: c.spec.Limits.Fuel, WallMS: c.spec.Limits.WallClock.Milliseconds(), StorageBytes: c.spec.Limits.StorageBytes,
	}
	started.Replay = c.replay(prog, r)
	c.journal.append(started)
	ch, _, err := c.ensureChild(b.ctx)
	if err != nil {
		return result{err: err}
	}
	defer c.meter.enter(running)()
	done, err := ch.run(b.ctx, r, out.write)
	c.meter.burnt(done.Fuel)
	res := result{code: done.Code, fuel: done.Fuel, rusage: unit.Rusage{UserUS: done.UserUS, SystemUS: done.SysUS}}
	switch {
	case err != nil:
		res.err, res.signal = err, ch.signalName()
		if done.Stopped == exeunit.StoppedByWallClock {
			res.err = fmt.Errorf("stopped: it ran longer than %d ms, and the runtime had to be killed", r.WallMS)
		}
		c.dropChild(ch) // the next run gets a new one
	case done.Error != "":
		res.err = errors.New(done.Error)
	}
	if b.ctx.Err() != nil && res.err != nil {
		res.err = context.Cause(b.ctx)
	}
	c.limits(done, r)
	return res
}

// limits tells which limit ended a run.
func (c *core) limits(d exeunit.Done, r exeunit.Run) {
	switch d.Stopped {
	case exeunit.StoppedByFuel:
		c.journal.append(unit.LimitExceeded{Limit: d.Stopped, Value: decimal(r.Fuel, 0)})
	case exeunit.StoppedByWallClock:
		c.journal.append(unit.LimitExceeded{Limit: d.Stopped, Value: decimal(r.WallMS, 3)})
	}
}

// environ joins the variables of deploy and run; run's count.
func environ(sets ...map[string]string) []string {
	all := map[string]string{}
	for _, s := range sets {
		maps.Copy(all, s)
	}
	list := make([]string, 0, len(all))
	for _, k := range slices.Sorted(maps.Keys(all)) {
		list = append(list, k+"="+all[k])
	}
	return list
}

func (c *core) replay(p program, r exeunit.Run) *unit.Replay {
	re := &unit.Replay{
		Args: r.Args, Env: r.Env, Clock: "wall", Random: "system", Engine: exeunit.Engine, FuelVersion: exeunit.FuelVersion,
		MemoryPages: int64(c.memoryPages()), ModuleSHA3: p.SHA3,
	}
	budget := int64(maxHashed)
	for _, v := range c.volumes {
		re.Volumes = append(re.Volumes, unit.Volume{Path: v.Path, SHA256: hashTree(v.Dir, &budget)})
	}
	return re
}

// maxHashed is how much of its volumes is read before a run.
const maxHashed = 16 << 20

// hashTree is the SHA-256 over a directory's files: path, zero, size and digest
// of each, in the order of their paths. It is "" when the budget is used up.
func hashTree(dir string, budget *int64) string {
	sum := sha256.New()
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		f, err := os.Open(p)
		if err != nil {
			return err
		}
		defer f.Close()
		one := sha256.New()
		n, err := io.Copy(one, io.LimitReader(f, *budget+1))
		if *budget -= n; err != nil || *budget < 0 {
			return cmp.Or(err, errors.New("too much to read"))
		}
		fmt.Fprintf(sum, "%s\x00%d\x00%x\n", filepath.ToSlash(rel), n, one.Sum(nil))
		return nil
	})
	if err != nil {
		return ""
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// transfer moves one file.
func (c *core) transfer(b *batch, index int, t script.Transfer) error {
	if t.Format != "" {
		return fmt.Errorf("transfer: this exe-unit moves single files and packs no %s archives; leave format out", t.Format)
	}
	if len(t.Filesets) > 0 {
		return errors.New("transfer: this exe-unit moves single files and chooses none from a directory; leave fileset out")
	}
	defer c.meter.enter(downloading)()
	m := c.mover
	m.Volumes = c.transferVolumes()
	moved, err := m.Copy(b.ctx, t.From, t.To, c.progress(b, index, t.Progress))
	if err != nil {
		return fmt.Errorf("transfer: %w", err)
	}
	c.journal.append(unit.TransferFinished{Batch: b.id, Index: index, From: moved.From, To: moved.To, Bytes: moved.Bytes, SHA3: moved.SHA3})
	return nil
}
