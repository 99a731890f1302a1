//go:build faults

package segment

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Moments of an append at which a build for crash tests can end the process.
const (
	beforeWrite  = "append-before" // nothing of it is on disk
	afterDurable = "append"        // it is on disk and nobody was told
)

// planned is the fault that EMET_FAULT asks for: "append:3" ends the process
// when its third batch of appends is on disk.
var planned = parseFault(os.Getenv("EMET_FAULT"))

type plannedFault struct {
	at   string
	left atomic.Int64
}

func parseFault(s string) *plannedFault {
	at, n, ok := strings.Cut(s, ":")
	left, err := strconv.ParseInt(n, 10, 64)
	if !ok || err != nil || left < 1 || at != beforeWrite && at != afterDurable {
		if s != "" {
			panic(fmt.Sprintf("EMET_FAULT=%s: want append:N or append-before:N", s))
		}
		return nil
	}
	p := &plannedFault{at: at}
	p.left.Store(left)
	return p
}

// fault ends the process as a power cut would end it, when its time has come.
func fault(at string) {
	if planned == nil || planned.at != at || planned.left.Add(-1) != 0 {
		return
	}
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}
