package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// parseDuration reads "90s", "5m", "2min", "1 day": Go's form and the words
// that yagna's variables use.
func parseDuration(s string) (time.Duration, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return d, nil
	}
	compact := strings.ReplaceAll(s, " ", "")
	cut := strings.IndexFunc(compact, func(r rune) bool { return r < '0' || r > '9' })
	if cut <= 0 {
		return 0, fmt.Errorf("duration %q: want a number with a unit", s)
	}
	n, err := strconv.ParseInt(compact[:cut], 10, 32)
	if err != nil {
		return 0, fmt.Errorf("duration %q: %w", s, err)
	}
	unit, ok := map[string]time.Duration{
		"ms": time.Millisecond, "s": time.Second, "sec": time.Second, "secs": time.Second, "seconds": time.Second,
		"m": time.Minute, "min": time.Minute, "mins": time.Minute, "minutes": time.Minute,
		"h": time.Hour, "hour": time.Hour, "hours": time.Hour, "d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
	}[compact[cut:]]
	if !ok {
		return 0, fmt.Errorf("duration %q: unknown unit %q", s, compact[cut:])
	}
	return time.Duration(n) * unit, nil
}

func parseBool(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "1", "true", "yes", "on":
		return true, nil
	case "", "0", "false", "no", "off":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", s)
}

func parseCount(s string) (int, error) { return strconv.Atoi(s) }
