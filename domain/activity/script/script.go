// Package script is about exe-scripts: what a requestor asks an exe-unit to
// do, which command is allowed in which state, and what is kept of the output.
//
// It is pure. The same rules serve the daemon, which refuses a bad script
// before it is sent, and the exe-unit, which carries it out.
package script

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Limits of a script. A script beyond them is refused as a whole.
const (
	MaxBytes    = 1 << 20
	MaxCommands = 512
	MaxArgBytes = 128 << 10 // all arguments of one command together
	MaxEnv      = 256       // variables of one command
	MaxEnvBytes = 4 << 10   // of one variable, name and value
)

// ErrScript says that a text is not an exe-script. The error around it tells
// where and why.
var ErrScript = errors.New("bad exe-script")

// Step is one command of a script with its JSON object as it was sent.
type Step struct {
	Text    string // for example {"sign":{}}
	Command Command
}

// Command is [Deploy], [Start], [Run], [Transfer], [Terminate] or [Sign].
type Command interface {
	// Name is the key in the script: "deploy", "start", "run", ….
	Name() string
	// Params are what a listing of running commands shows behind the name.
	Params() []string
}

type (
	// Deploy fetches the image and makes the volumes.
	Deploy struct {
		Net      []Network
		Hosts    map[string]string
		Hostname string
		Env      map[string]string // for every run of the activity
		Volumes  []Volume          // sorted by path
		Progress *Progress
	}
	// Start makes the runtime ready.
	Start struct{ Args []string }
	// Run calls an entry point. A stream without capture is discarded.
	Run struct {
		EntryPoint     string
		Args           []string
		Env            map[string]string
		Stdout, Stderr *Capture
	}
	// Transfer moves one file, or many as an archive, between two places.
	Transfer struct {
		From, To string
		Format   string // "", tar, tar.gz, tar.bz2, tar.xz, zip or zip.0
		Depth    int    // of directories below the root; -1 = unlimited
		Filesets []Fileset
		Progress *Progress
	}
	// Terminate stops everything and takes the activity back to Initialized.
	Terminate struct{}
	// Sign asks for a signed transcript.
	Sign struct{}

	// Network is a VPN to join.
	Network struct {
		ID, IP, Mask, Gateway, NodeIP string
		Nodes                         map[string]string // IP -> node id
	}
	// Volume is a container path and what is mounted there: "host", "ram" or
	// "storage".
	Volume struct {
		Path, Kind          string
		SizeBytes, PreBytes int64  // of ram and storage
		OnError             string // of storage: continue, remount-ro, panic
	}
	// Progress asks for progress events.
	Progress struct {
		Interval  time.Duration // 0 = one second
		StepBytes int64         // 0 = by time only
	}
)

// Name is the key of the command in a script.
func (Deploy) Name() string    { return "deploy" }
func (Start) Name() string     { return "start" }
func (Run) Name() string       { return "run" }
func (Transfer) Name() string  { return "transfer" }
func (Terminate) Name() string { return "terminate" }
func (Sign) Name() string      { return "sign" }

// Params are what a listing shows behind the name.
func (Deploy) Params() []string     { return nil }
func (c Start) Params() []string    { return c.Args }
func (c Run) Params() []string      { return append([]string{c.EntryPoint}, c.Args...) }
func (c Transfer) Params() []string { return []string{c.From, c.To} }
func (Terminate) Params() []string  { return nil }
func (Sign) Params() []string       { return nil }

// Parse reads a script: a JSON array of objects with one key each. Fields that
// a command does not know are ignored; an unknown command refuses the script.
func Parse(text string) ([]Step, error) {
	if len(text) > MaxBytes {
		return nil, fmt.Errorf("%w: %d bytes, at most %d are taken", ErrScript, len(text), MaxBytes)
	}
	var raw []json.RawMessage
	if err := json.Unmarshal([]byte(text), &raw); err != nil {
		return nil, fmt.Errorf("%w: want a JSON array of commands: %w", ErrScript, err)
	}
	if raw == nil {
		return nil, fmt.Errorf("%w: want a JSON array of commands, not null", ErrScript)
	}
	if len(raw) > MaxCommands {
		return nil, fmt.Errorf("%w: %d commands, at most %d are taken", ErrScript, len(raw), MaxCommands)
	}
	steps := make([]Step, len(raw))
	for i, r := range raw {
		c, err := ParseCommand(string(r))
		if err != nil {
			return nil, fmt.Errorf("command %d: %w", i, err)
		}
		steps[i] = Step{Text: string(r), Command: c}
	}
	return steps, nil
}

// ParseCommand reads one command, as Step.Text and the journal hold it.
func ParseCommand(text string) (Command, error) {
	name, body, err := single(text)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrScript, err)
	}
	read, ok := commands[name]
	if !ok {
		return nil, fmt.Errorf("%w: unknown command %q; known are deploy, start, run, transfer, terminate, sign", ErrScript, name)
	}
	f, err := object(body)
	if err == nil {
		var c Command
		if c, err = read(f); err == nil {
			return c, nil
		}
	}
	return nil, fmt.Errorf("%w: %s: %w", ErrScript, name, err)
}

var commands = map[string]func(fields) (Command, error){
	"deploy":    deploy,
	"start":     start,
	"run":       run,
	"transfer":  transfer,
	"terminate": func(fields) (Command, error) { return Terminate{}, nil },
	"sign":      func(fields) (Command, error) { return Sign{}, nil },
}

// single takes an object with exactly one key apart.
func single(text string) (key string, value json.RawMessage, err error) {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	t, err := d.Token()
	if err != nil || t != json.Delim('{') {
		return "", nil, errors.New("want an object with one key")
	}
	if t, err = d.Token(); err != nil {
		return "", nil, err
	}
	key, ok := t.(string)
	if !ok {
		return "", nil, errors.New("want an object with one key, this one is empty")
	}
	if err = d.Decode(&value); err != nil {
		return "", nil, err
	}
	if t, err = d.Token(); err != nil || t != json.Delim('}') {
		return "", nil, fmt.Errorf("want an object with one key, %q has more beside it", key)
	}
	if _, err = d.Token(); !errors.Is(err, io.EOF) {
		return "", nil, fmt.Errorf("something follows the object of %q", key)
	}
	return key, value, nil
}

func deploy(f fields) (Command, error) {
	var c Deploy
	err := errors.Join(
		networks(f, &c.Net),
		f.get("hosts", &c.Hosts),
		f.opt("hostname", &c.Hostname),
		f.get("env", &c.Env),
		volumes(f, &c.Volumes),
		progress(f, &c.Progress),
	)
	if err == nil {
		err = checkEnv(c.Env)
	}
	return c, err
}

func start(f fields) (Command, error) {
	var c Start
	err := f.get("args", &c.Args)
	if err == nil {
		err = checkArgs(c.Args)
	}
	return c, err
}

func run(f fields) (Command, error) {
	var c Run
	if err := f.need("entry_point", &c.EntryPoint); err != nil {
		return nil, err
	}
	err := errors.Join(f.get("args", &c.Args), f.opt("env", &c.Env), captures(f, &c.Stdout, &c.Stderr))
	if err == nil {
		err = errors.Join(checkArgs(append([]string{c.EntryPoint}, c.Args...)), checkEnv(c.Env))
	}
	return c, err
}

func transfer(f fields) (Command, error) {
	c := Transfer{Depth: -1}
	err := errors.Join(f.need("from", &c.From), f.need("to", &c.To),
		f.opt("format", &c.Format), f.opt("depth", &c.Depth), filesets(f, &c.Filesets), progress(f, &c.Progress))
	if err != nil {
		return nil, err
	}
	switch c.Format {
	case "", "tar", "tar.gz", "tar.bz2", "tar.xz", "zip", "zip.0":
	default:
		return nil, fmt.Errorf("format %q: want tar, tar.gz, tar.bz2, tar.xz, zip or zip.0", c.Format)
	}
	if c.Depth < -1 {
		return nil, fmt.Errorf("depth %d: want 0 or more", c.Depth)
	}
	return c, nil
}

func checkArgs(args []string) error {
	n := 0
	for _, a := range args {
		n += len(a) + 1
		if bytes.IndexByte([]byte(a), 0) >= 0 {
			return errors.New("an argument contains a zero byte")
		}
	}
	if n > MaxArgBytes {
		return fmt.Errorf("%d bytes of arguments, at most %d are taken", n, MaxArgBytes)
	}
	return nil
}

func checkEnv(env map[string]string) error {
	if len(env) > MaxEnv {
		return fmt.Errorf("%d variables, at most %d are taken", len(env), MaxEnv)
	}
	for k, v := range env {
		if k == "" || bytes.ContainsAny([]byte(k), "=\x00") || bytes.IndexByte([]byte(v), 0) >= 0 {
			return fmt.Errorf("variable %q cannot be set", k)
		}
		if len(k)+len(v) > MaxEnvBytes {
			return fmt.Errorf("variable %q has %d bytes, at most %d are taken", k, len(k)+len(v), MaxEnvBytes)
		}
	}
	return nil
}
