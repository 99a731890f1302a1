package bench

import "time"

var begun = time.Now()

// processorTime is the time that passes, for want of better.
func processorTime() time.Duration { return time.Since(begun) }
