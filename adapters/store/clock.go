package store

import "time"

// Clock gives every event of a store its own moment: whole microseconds, UTC,
// never the same or an earlier one, whatever the wall clock does. It is used by
// one goroutine at a time.
type Clock struct {
	Now  func() time.Time // nil = time.Now
	last int64            // microseconds
}

// Resume makes the clock go on after t.
func (c *Clock) Resume(t time.Time) { c.last = max(c.last, t.UnixMicro()) }

// Last is the latest moment that was given.
func (c *Clock) Last() time.Time { return time.UnixMicro(c.last).UTC() }

// Reserve gives n successive moments and returns the first; each next one is a
// microsecond later.
func (c *Clock) Reserve(n int) time.Time {
	now := time.Now
	if c.Now != nil {
		now = c.Now
	}
	first := max(now().UnixMicro(), c.last+1)
	c.last = first + int64(n) - 1
	return time.UnixMicro(first).UTC()
}
