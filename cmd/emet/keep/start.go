package keep

import (
	"os/exec"
	"runtime"
	"sync"
)

// spawner is the one thread that starts children which must not outlive us:
// the kernel tells them of the death of the thread that started them, so it
// must be one that lives as long as the process.
var spawner = sync.OnceValue(func() chan func() {
	todo := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range todo {
			f()
		}
	}()
	return todo
})

func startLocked(cmd *exec.Cmd) error {
	done := make(chan error)
	spawner() <- func() { done <- cmd.Start() }
	return <-done
}
