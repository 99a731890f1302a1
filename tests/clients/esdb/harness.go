// Package esdb reads a node's log with the published clients of EventStoreDB
// and KurrentDB, unmodified, through the gRPC door.
package esdb

import (
	"bufio"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/emet-node/emet/tests/clients/npm"
)

//go:embed package.json package-lock.json *.cjs
var files embed.FS

// Packages are the clients for Node.
var Packages = []string{"@eventstore/db-client", "@kurrent/kurrentdb-client"}

// Step is one thing that reader.cjs does, with what it is told about it.
type Step [2]any

// Seen is an event as a client saw it.
type Seen struct {
	ID, Type, Stream, Revision, Position, Prepare, Data, Correlation, Causation, Created string
	JSON                                                                                 bool
	Retry                                                                                int
}

// Line is what the driver printed.
type Line struct {
	Step   string
	Events []Seen
	Seen
	Error, Message string
}

// Read runs reader.cjs with one of [Packages]. hear is told of every line while
// it runs and may be nil.
func Read(ctx context.Context, pkg, url string, hear func(Line), do ...Step) ([]Line, error) {
	dir, err := npm.Install(ctx, "esdb", files)
	if err != nil {
		return nil, err
	}
	at, err := os.MkdirTemp("", "esdb-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(at) //nolint:errcheck // in the temporary directory
	if err := os.CopyFS(at, files); err != nil {
		return nil, err
	}
	order, err := json.Marshal(map[string]any{"client": pkg, "url": url, "do": do})
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "node", filepath.Join(at, "reader.cjs"), string(order))
	cmd.WaitDelay = 5 * time.Second
	cmd.Dir, cmd.Env = at, append(os.Environ(), "NODE_PATH="+filepath.Join(dir, "node_modules"))
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	lines, err := listen(bufio.NewScanner(out), hear)
	if err := errors.Join(err, cmd.Wait()); err != nil {
		return lines, fmt.Errorf("reader.cjs with %s: %w: %s", pkg, err, stderr.String())
	}
	if n := len(lines); n == 0 || lines[n-1].Step != "end" {
		var steps []string
		for _, l := range lines {
			steps = append(steps, l.Step+" "+l.Error)
		}
		return lines, fmt.Errorf("reader.cjs with %s ended after %q with nothing left to wait for: %s", pkg, steps, stderr.String())
	}
	return lines[:len(lines)-1], nil
}

func listen(in *bufio.Scanner, hear func(Line)) (lines []Line, err error) {
	in.Buffer(nil, 256<<20)
	for in.Scan() {
		var l Line
		if err := json.Unmarshal(in.Bytes(), &l); err != nil {
			l = Line{Step: "text", Message: in.Text()}
		}
		lines = append(lines, l)
		if hear != nil {
			hear(l)
		}
		if l.Step == "failed" {
			err = fmt.Errorf("%s: %s", l.Error, l.Message)
		}
	}
	return lines, errors.Join(err, in.Err())
}

// Find returns the lines with a step.
func Find(lines []Line, step string) (out []Line) {
	for _, l := range lines {
		if l.Step == step {
			out = append(out, l)
		}
	}
	return out
}
