package built

import (
	"context"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// tellTime is how long one question about a log may take.
const tellTime = 2 * time.Minute

// Tell is what somebody who looks for the cause of a failure wants to know of
// the log in a data directory: its last facts, and of each id how its story
// came about and what is open in it. The node may run meanwhile.
func (p *Program) Tell(dir string, facts int, ids ...string) string {
	out := []string{p.ask("log", "list", "-d", dir, "--limit", strconv.Itoa(facts))}
	for _, id := range ids {
		out = append(out, "why "+id+":\n"+p.ask("why", "-d", dir, id))
	}
	return strings.Join(out, "\n")
}

func (p *Program) ask(args ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), tellTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.Path(), args...)
	cmd.Env = Env("NO_COLOR=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		out = append(out, err.Error()...)
	}
	return strings.TrimRight(string(out), "\n")
}
