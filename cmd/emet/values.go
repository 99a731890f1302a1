package main

import (
	"fmt"
	"net/netip"
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

// prefixes reads addresses and ranges of addresses.
func prefixes(list []string) ([]netip.Prefix, error) {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		p, err := netip.ParsePrefix(s)
		if a, isAddr := netip.ParseAddr(s); err != nil && isAddr == nil {
			p, err = a.Unmap().WithZone("").Prefix(a.Unmap().BitLen())
		}
		if err != nil {
			return nil, fmt.Errorf("%q: want an address such as 127.0.0.1 or a range such as 10.0.0.0/8", s)
		}
		out[i] = p.Masked()
	}
	return out, nil
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
