//go:build !faults

package segment

// Moments of an append at which a build for crash tests can end the process.
const (
	beforeWrite  = "append-before" // nothing of it is on disk
	afterDurable = "append"        // it is on disk and nobody was told
)

// fault does nothing in programs that people run.
func fault(string) {}
