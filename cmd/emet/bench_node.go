package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// benchNode measures what one node costs that has nothing to do.
func benchNode(ctx context.Context, b *bench) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	info, err := os.Stat(exe)
	if err != nil {
		return err
	}
	b.say("node/binary_mb", float64(info.Size())/(1<<20), "MiB")
	dir := filepath.Join(b.dir, "node")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	empty, err := startTimes(ctx, dir, 3, func(i int) string { return "empty-" + strconv.Itoa(i) })
	if err != nil {
		return err
	}
	again, err := startTimes(ctx, dir, 5, func(int) string { return "empty-0" })
	if err != nil {
		return err
	}
	b.say("node/start_empty_ms", median(empty), "ms")
	b.say("node/start_ms", median(again), "ms")
	return idle(ctx, b, dir)
}

// startTimes measures from the start of the process to READY.
func startTimes(ctx context.Context, dir string, rounds int, name func(int) string) ([]time.Duration, error) {
	var times []time.Duration
	for i := range rounds {
		f := newFleet(dir)
		begun := time.Now()
		_, err := f.node(ctx, name(i), nil)
		times = append(times, time.Since(begun))
		f.stop()
		if err != nil {
			return nil, err
		}
	}
	return times, nil
}

// idle lets a node stand for some seconds and tells what it holds and takes.
func idle(ctx context.Context, b *bench, dir string) error {
	const stand = 5 * time.Second
	f := newFleet(dir)
	defer f.stop()
	n, err := f.node(ctx, "empty-0", nil)
	if err != nil {
		return err
	}
	pid := n.PID()
	if err := wait(ctx, 2*time.Second); err != nil {
		return err
	}
	before, err := cpuTicks(pid)
	if err != nil {
		return err
	}
	if err := wait(ctx, stand); err != nil {
		return err
	}
	after, err := cpuTicks(pid)
	if err != nil {
		return err
	}
	rss, anon, err := resident(pid)
	if err != nil {
		return err
	}
	b.say("node/idle_rss_mb", rss, "MiB", fmt.Sprintf("anonymous=%.1f", anon))
	b.say("node/idle_cpu", float64(after-before)/stand.Seconds(), "percent")
	return nil
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// cpuTicks is the processor time of a process in hundredths of a second.
func cpuTicks(pid int) (int64, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("processor time can be read on Linux only: %w", err)
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 13 {
		return 0, fmt.Errorf("/proc/%d/stat has %d fields", pid, len(fields))
	}
	user, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, err
	}
	system, err := strconv.ParseInt(fields[12], 10, 64)
	return user + system, err
}

// resident is the memory of a process in MiB: all of it, and what is not
// backed by files.
func resident(pid int) (all, anonymous float64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, fmt.Errorf("memory can be read on Linux only: %w", err)
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		kib, _ := strconv.ParseFloat(strings.Fields(value + " 0")[0], 64)
		switch name {
		case "VmRSS":
			all = kib / 1024
		case "RssAnon":
			anonymous = kib / 1024
		}
	}
	return all, anonymous, nil
}
