package bench

import "time"

var begun = time.Now()

// ProcessorTime is the time that passes, for want of better.
func ProcessorTime() time.Duration { return time.Since(begun) }
