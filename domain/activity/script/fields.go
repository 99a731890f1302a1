package script

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// fields are an object's members by their exact names; encoding/json would
// also take "Args" for "args".
type fields map[string]json.RawMessage

func object(raw json.RawMessage) (fields, error) {
	var f fields
	if err := json.Unmarshal(raw, &f); err != nil || f == nil {
		return nil, errors.New("want an object behind the name, {} when there is nothing to say")
	}
	return f, nil
}

func (f fields) null(name string) bool { return string(f[name]) == "null" }

// get reads a field that may be absent but not null.
func (f fields) get(name string, into any) error {
	if f.null(name) {
		return fmt.Errorf("%s: null is not taken, leave it out", name)
	}
	return f.opt(name, into)
}

// need reads a field that must be there.
func (f fields) need(name string, into any) error {
	if _, ok := f[name]; !ok {
		return fmt.Errorf("%s is missing", name)
	}
	return f.get(name, into)
}

// opt reads a field that may be absent or null.
func (f fields) opt(name string, into any) error {
	raw, ok := f[name]
	if !ok || f.null(name) {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func (f fields) inner(name string) (fields, error) {
	if _, ok := f[name]; !ok || f.null(name) {
		return nil, nil
	}
	in, err := object(f[name])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return in, nil
}

func networks(f fields, into *[]Network) error {
	var list []fields
	if err := f.get("net", &list); err != nil {
		return err
	}
	for _, n := range list {
		var w Network
		err := errors.Join(n.need("id", &w.ID), n.need("ip", &w.IP), n.opt("mask", &w.Mask),
			n.opt("gateway", &w.Gateway), n.need("nodeIp", &w.NodeIP), n.get("nodes", &w.Nodes))
		if err != nil {
			return fmt.Errorf("net: %w", err)
		}
		*into = append(*into, w)
	}
	return nil
}

// volumes reads a list of paths, which are all of kind host, or a map.
func volumes(f fields, into *[]Volume) error {
	raw := strings.TrimSpace(string(f["volumes"]))
	if raw == "" || raw == "null" {
		return nil
	}
	mounts := map[string]json.RawMessage{}
	if raw[0] == '[' {
		var paths []string
		if err := f.opt("volumes", &paths); err != nil {
			return err
		}
		for _, p := range paths {
			mounts[p] = json.RawMessage(`{"host":{}}`)
		}
	} else if err := f.opt("volumes", &mounts); err != nil {
		return err
	}
	for _, path := range slices.Sorted(maps.Keys(mounts)) {
		v, err := volume(path, mounts[path])
		if err != nil {
			return fmt.Errorf("volumes: %s: %w", path, err)
		}
		*into = append(*into, v)
	}
	return nil
}

func volume(path string, raw json.RawMessage) (Volume, error) {
	v := Volume{Path: path}
	kind, body, err := single(string(raw))
	if err != nil {
		return v, err
	}
	f, err := object(body)
	if err != nil {
		return v, err
	}
	v.Kind = kind
	switch kind {
	case "host":
		return v, nil
	case "ram":
		return v, size(f, "size", true, &v.SizeBytes)
	case "storage":
		if err := f.opt("errors", &v.OnError); err != nil {
			return v, err
		}
		if !slices.Contains([]string{"", "continue", "remount-ro", "panic"}, v.OnError) {
			return v, fmt.Errorf("errors %q: want continue, remount-ro or panic", v.OnError)
		}
		return v, errors.Join(size(f, "size", true, &v.SizeBytes), size(f, "preallocate", false, &v.PreBytes))
	}
	return v, fmt.Errorf("unknown mount %q: want host, ram or storage", kind)
}

func size(f fields, name string, needed bool, into *int64) error {
	raw, ok := f[name]
	if !ok || f.null(name) {
		if needed {
			return fmt.Errorf("%s is missing", name)
		}
		return nil
	}
	var text string
	if json.Unmarshal(raw, &text) != nil {
		text = string(raw) // a bare number
	}
	n, err := ParseBytes(text)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	*into = n
	return nil
}

var byteUnits = map[string]float64{
	"": 1, "b": 1,
	"k": 1e3, "kb": 1e3, "ki": 1 << 10, "kib": 1 << 10,
	"m": 1e6, "mb": 1e6, "mi": 1 << 20, "mib": 1 << 20,
	"g": 1e9, "gb": 1e9, "gi": 1 << 30, "gib": 1 << 30,
	"t": 1e12, "tb": 1e12, "ti": 1 << 40, "tib": 1 << 40,
}

// ParseBytes reads a size as people write it: 1048576, 7000m, 1gi, 2GiB.
// Units without i are powers of 1000.
func ParseBytes(s string) (int64, error) {
	s = strings.TrimSpace(s)
	cut := strings.LastIndexAny(s, "0123456789.") + 1
	unit, ok := byteUnits[strings.ToLower(strings.TrimSpace(s[cut:]))]
	n, err := strconv.ParseFloat(s[:cut], 64)
	if !ok || err != nil || n < 0 || n*unit >= 1<<53 {
		return 0, fmt.Errorf("size %q: want a number and a unit, such as 512MiB", s)
	}
	return int64(n * unit), nil
}

func progress(f fields, into **Progress) error {
	in, err := f.inner("progress")
	if in == nil || err != nil {
		return err
	}
	var p Progress
	var every string
	if err := errors.Join(in.opt("updateInterval", &every), size(in, "updateStep", false, &p.StepBytes)); err != nil {
		return fmt.Errorf("progress: %w", err)
	}
	if every != "" {
		if p.Interval, err = ParseDuration(every); err != nil {
			return fmt.Errorf("progress: %w", err)
		}
	}
	*into = &p
	return nil
}

var timeUnits = map[string]time.Duration{
	"ns": 1, "nsec": 1, "us": 1e3, "usec": 1e3, "ms": 1e6, "msec": 1e6, "millis": 1e6,
	"s": 1e9, "sec": 1e9, "second": 1e9, "seconds": 1e9, "secs": 1e9,
	"m": 60e9, "min": 60e9, "mins": 60e9, "minute": 60e9, "minutes": 60e9,
	"h": 3600e9, "hr": 3600e9, "hour": 3600e9, "hours": 3600e9, "d": 86400e9, "day": 86400e9, "days": 86400e9,
}

// ParseDuration reads whole numbers with units in a row: 300ms, "1m 30s".
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("duration %q: want whole numbers with units, such as 300ms", s)
	var sum time.Duration
	rest := strings.TrimSpace(s)
	if rest == "" {
		return 0, bad
	}
	for rest != "" {
		digits := strings.TrimLeft(rest, "0123456789")
		n, err := strconv.ParseInt(rest[:len(rest)-len(digits)], 10, 32)
		word := strings.TrimLeft(digits, " ")
		end := strings.IndexAny(word, "0123456789 ")
		if end < 0 {
			end = len(word)
		}
		unit, ok := timeUnits[word[:end]]
		if err != nil || !ok || n > int64(1<<62)/int64(unit) || sum+time.Duration(n)*unit < sum {
			return 0, bad
		}
		sum += time.Duration(n) * unit
		rest = strings.TrimLeft(word[end:], " ")
	}
	return sum, nil
}
