// Package golemjs runs published golem-js, unmodified, against a node. The
// driver programs beside this file do what users do and print what happened;
// tests look at what was printed.
package golemjs

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
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

// Node is where a driver finds the node.
type Node struct {
	URL    string // http://127.0.0.1:7465
	AppKey string
	Subnet string // "" = public
}

// Step is one thing that a driver did. A step that begins an order is an object
// with a single key, see rental.cjs.
type Step map[string]any

// Order is what rental.cjs is to do.
type Order struct {
	ImageURL  string  `json:"imageUrl"`
	ImageHash string  `json:"imageHash"`
	Engine    string  `json:"engine,omitempty"`  // runtime name, "" = vm
	Network   string  `json:"network,omitempty"` // "" = what golem-js takes, holesky
	RentHours float64 `json:"rentHours,omitempty"`
	TimeoutMS int     `json:"timeoutMs,omitempty"` // of each wait
	Budget    float64 `json:"budget,omitempty"`    // of an allocation that is made and released before
	Do        []Step  `json:"do"`
	// Say is what every machine of a pool runs, see pool.cjs.
	Say []string `json:"say,omitempty"`
	// Hear is told of every line while the driver runs; nil = nobody listens.
	Hear func(Line) `json:"-"`
}

// Line is what a driver printed: its "step" and whatever came with it.
type Line struct {
	Step   string  `json:"step"`
	MS     float64 `json:"ms"` // since the program began
	Fields map[string]any
}

// Text is a field as text, "" if there is none.
func (l Line) Text(name string) string {
	s, _ := l.Fields[name].(string)
	return s
}

// Report is everything that a driver printed.
type Report struct {
	Lines  []Line
	Stderr string
}

// Find returns the lines with a step.
func (r Report) Find(step string) []Line {
	var out []Line
	for _, l := range r.Lines {
		if l.Step == step {
			out = append(out, l)
		}
	}
	return out
}

// Steps are the steps in order, without log lines.
func (r Report) Steps() []string {
	var out []string
	for _, l := range r.Lines {
		if l.Step != "log" {
			out = append(out, l.Step)
		}
	}
	return out
}

// String is the report as it was printed, for the message of a failed test.
func (r Report) String() string {
	var b strings.Builder
	for _, l := range r.Lines {
		fields, _ := json.Marshal(l.Fields)
		fmt.Fprintf(&b, "%s\n", fields)
	}
	return b.String() + r.Stderr
}

// Rent runs rental.cjs. The error is nil when the program ended well; the
// report is there either way.
func Rent(ctx context.Context, n Node, o Order) (Report, error) { return Run(ctx, n, "rental.cjs", o) }

// RentPool runs pool.cjs, as Rent does rental.cjs.
func RentPool(ctx context.Context, n Node, o Order) (Report, error) {
	return Run(ctx, n, "pool.cjs", o)
}

// Run runs a driver with an order.
func Run(ctx context.Context, n Node, driver string, o Order) (Report, error) {
	order, err := json.Marshal(o)
	if err != nil {
		return Report{}, err
	}
	dir, err := Install(ctx)
	if err != nil {
		return Report{}, err
	}
	at, err := os.MkdirTemp("", "golemjs-*")
	if err != nil {
		return Report{}, err
	}
	defer os.RemoveAll(at) //nolint:errcheck // in the temporary directory
	if err := os.CopyFS(at, files); err != nil {
		return Report{}, err
	}
	cmd := exec.CommandContext(ctx, "node", filepath.Join(at, driver), string(order))
	cmd.WaitDelay = 5 * time.Second
	cmd.Dir = at
	cmd.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(dir, "node_modules"),
		"YAGNA_API_URL="+n.URL, "YAGNA_APPKEY="+n.AppKey, "YAGNA_SUBNET="+n.Subnet)
	if n.Subnet == "" {
		cmd.Env = append(cmd.Env, "YAGNA_SUBNET=public")
	}
	var stderr bytes.Buffer
	said := &listener{hear: o.Hear}
	cmd.Stdout, cmd.Stderr = said, &stderr
	err = cmd.Run()
	report := Report{Lines: said.lines, Stderr: stderr.String()}
	if err != nil {
		return report, fmt.Errorf("%s: %w", driver, err)
	}
	return report, nil
}

// listener reads JSON lines as they come; a line that is none becomes the step
// "text".
type listener struct {
	hear  func(Line)
	rest  []byte
	lines []Line
}

func (l *listener) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		text, rest, whole := bytes.Cut(l.rest, []byte("\n"))
		if !whole {
			return len(p), nil
		}
		line := Line{}
		if json.Unmarshal(text, &line.Fields) == nil {
			line.Step, _ = line.Fields["step"].(string)
			line.MS, _ = line.Fields["ms"].(float64)
		} else {
			line = Line{Step: "text", Fields: map[string]any{"text": string(text)}}
		}
		l.rest, l.lines = bytes.Clone(rest), append(l.lines, line)
		if l.hear != nil {
			l.hear(line)
		}
	}
}

// Install makes sure that published golem-js is there and returns the directory
// that holds node_modules.
func Install(ctx context.Context) (string, error) { return npm.Install(ctx, "golemjs", files) }
