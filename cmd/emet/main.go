// Command emet is a Golem Network node whose truth is a ledger. See the
// README, or run "emet --help".
package main

import (
	"os"
)

func main() {
	// Children of the node's own re-execution come first: they have nothing
	// to do with flags and configuration.
	if len(os.Args) > 1 {
		if child, ok := children[os.Args[1]]; ok {
			os.Exit(child(os.Args[2:]))
		}
	}
	os.Exit(execute(os.Args[1:]))
}
