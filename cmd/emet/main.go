// Command emet is a Golem Network node whose truth is a ledger. See the
// README, or run "emet --help".
package main

import (
	"os"
	"runtime"
)

func main() {
	// Children of the node's own re-execution come first: they have nothing
	// to do with flags and configuration.
	if len(os.Args) > 1 {
		if child, ok := children[os.Args[1]]; ok {
			os.Exit(child(os.Args[2:]))
		}
	}
	makeRoomForDisk()
	os.Exit(execute(os.Args[1:]))
}

// makeRoomForDisk lets one goroutine more run at a time than there are processors.
// The one that syncs the log keeps its place in the scheduler while it waits for
// the disk; on two processors half the node would wait with it.
func makeRoomForDisk() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)
	}
}
