package main

import (
	"github.com/emet-node/emet/adapters/exeunit/supervisor"
	"github.com/emet-node/emet/adapters/exeunit/wasm"
)

// children are the words by which this program runs itself again.
var children = map[string]func(args []string) int{
	"exe-unit":     supervisor.Main,
	"runtime-wasm": wasm.Main,
}
