package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha3"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/emet-node/emet/adapters/exeunit/wasm"
	"github.com/emet-node/emet/api/client"
	"github.com/emet-node/emet/api/client/rent"
	gsb "github.com/emet-node/emet/api/gsb/client"
	"github.com/emet-node/emet/domain/activity/unit"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/domain/payment/onchain"
)

func newRunCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "run [flags] -- PROGRAM.wasm [ARG…]", Short: "Rent a machine for one program", Args: cobra.ArbitraryArgs,
		Long: `run rents a machine, runs a WASM program there, and pays for it. The program's
output and exit code become the command's own.

It uses the node that YAGNA_API_URL and YAGNA_APPKEY name. Without an app-key it
starts a requestor, a provider and a chain for this one run, and throws them away
afterwards; with -d it keeps them in that directory, where emet log and all other
commands that read find them.

Files given with --in are in /golem/in on the machine, under their names. Files
named with --out are taken from /golem/out there. Output is shown when the program
has ended, and at most 8 MiB of it: more belongs in a file.`,
		Example: `  emet run -- hello.wasm world
  emet run --in scene.txt --out picture.png -- render.wasm -i /golem/in/scene.txt -o /golem/out/picture.png
  emet run --budget 0.5 --json -- job.wasm
  emet run -d ./kept -- hello.wasm world`,
		RunE: runRun,
	}
	f := cmd.Flags()
	f.StringArray("in", nil, "file to take along (repeatable)")
	f.StringArray("out", nil, "file to bring back (repeatable)")
	f.String("budget", "1", "most to spend, in GLM")
	f.String("network", "", "payment network (default hoodi)")
	f.Duration("timeout", 10*time.Minute, "give up after this time")
	f.Bool("json", false, "print one JSON object with output, results and money")
	return cmd
}

// job is one run as the command line describes it.
type job struct {
	program  []byte
	name     string
	args     []string
	in, out  []string
	budget   money.Amount
	network  string
	asJSON   bool
	local    bool // the network is there for this run alone
	progress io.Writer
}

// outcome is what a run came to, also in JSON.
type outcome struct {
	ExitCode int       `json:"exitCode"`
	Stdout   string    `json:"stdout"`
	Stderr   string    `json:"stderr"`
	Files    []string  `json:"files"`
	Deal     rent.Deal `json:"deal"`

	stdout, stderr []byte
}

func runRun(cmd *cobra.Command, args []string) error {
	j, err := jobOf(cmd, args)
	if err != nil {
		return err
	}
	timeout, _ := cmd.Flags().GetDuration("timeout")
	if timeout <= 0 {
		return usageError{fmt.Errorf("--timeout %s: want a time above 0, such as 90s or 10m", timeout)}
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
	defer cancel()
	c := &client.Client{URL: envOr("YAGNA_API_URL", "http://127.0.0.1:7465"), Key: os.Getenv("YAGNA_APPKEY")}
	if c.Key == "" {
		fmt.Fprintln(j.progress, "No YAGNA_APPKEY is set: starting a requestor, a provider and a chain for this run.")
		dir, _ := cmd.Flags().GetString("datadir")
		d, err := startLocal(ctx, localOptions{Dir: dir, Providers: 1, Level: "error", News: j.lived})
		if err != nil {
			return err
		}
		defer d.Stop()
		c, j.local = d.Client, true
		ctx, cancel = d.Until(ctx)
		defer cancel()
	}
	res, err := j.run(ctx, c)
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, errNetworkLost) {
		return cause
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("not done after %s (--timeout): %w", timeout, err)
	}
	if err != nil {
		return explainRun(err)
	}
	if err := j.show(cmd.OutOrStdout(), res); err != nil {
		return err
	}
	if res.Deal.Unpaid != "" {
		return fmt.Errorf("the program ran, but its invoice is not paid: %s; --budget was %s GLM, give the next run more", res.Deal.Unpaid, j.budget)
	}
	for name, b := range map[string][]byte{"output": res.stdout, "error output": res.stderr} {
		if len(b) >= unit.OutputBytes {
			return fmt.Errorf("the program ran, but the middle of its %s is missing: a machine keeps %d MiB; let it write to a file in %s and bring that with --out", name, unit.OutputBytes>>20, rent.Out)
		}
	}
	if res.ExitCode != 0 {
		return exitCode(res.ExitCode)
	}
	return nil
}

func explainRun(err error) error {
	switch {
	case errors.Is(err, client.ErrUnreachable):
		return codedError{fmt.Errorf("%w; is the node running? (emet up, or unset YAGNA_APPKEY to run without one)", err), exitNoDaemon}
	case client.StatusOf(err) == 401:
		return codedError{fmt.Errorf("the node does not know the app-key in YAGNA_APPKEY: %w; emet app-key list shows those it knows", err), exitRefused}
	case errors.Is(err, rent.ErrBudget):
		return codedError{fmt.Errorf("%w; choose another --budget, or --network", err), exitRefused}
	case errors.Is(err, rent.ErrNoProvider):
		return codedError{fmt.Errorf("%w; emet dev is a network with providers", err), exitRefused}
	}
	return err
}

func envOr(name, def string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return def
}

func jobOf(cmd *cobra.Command, args []string) (*job, error) {
	if len(args) == 0 {
		return nil, usageError{errors.New("name a program: emet run -- PROGRAM.wasm [ARG…]")}
	}
	j := &job{name: filepath.Base(args[0]), args: args[1:], progress: cmd.ErrOrStderr()}
	var err error
	if j.program, err = readProgram(args[0]); err != nil {
		return nil, err
	}
	if err := wasm.Check(cmd.Context(), j.program); err != nil {
		return nil, usageError{fmt.Errorf("%s: %w", args[0], err)}
	}
	f := cmd.Flags()
	j.in, _ = f.GetStringArray("in")
	j.out, _ = f.GetStringArray("out")
	j.network, _ = f.GetString("network")
	j.asJSON, _ = f.GetBool("json")
	budget, _ := f.GetString("budget")
	if j.budget, err = money.Parse(budget); err != nil || j.budget.Sign() <= 0 {
		return nil, usageError{fmt.Errorf("--budget %q: want an amount of GLM above 0, such as 0.5", budget)}
	}
	if _, ok := onchain.Network(j.network); j.network != "" && !ok {
		return nil, usageError{unknownNetwork(j.network)}
	}
	if err := errors.Join(inputs(j.in), outputs(j.out)); err != nil {
		return nil, usageError{err}
	}
	return j, nil
}

func unknownNetwork(name string) error {
	var known []string
	for _, p := range onchain.Networks() {
		known = append(known, p.Network)
	}
	return fmt.Errorf("--network %s is not known; there are %s", name, strings.Join(known, ", "))
}

// inputs checks what is to be taken along before anything is paid for.
func inputs(paths []string) error {
	for i, p := range paths {
		info, err := os.Stat(p)
		switch {
		case err != nil:
			return fmt.Errorf("--in %s: want a file: %w", p, err)
		case !info.Mode().IsRegular():
			return fmt.Errorf("--in %s: want a file, and this is none", p)
		}
		if err := namesake("--in", paths[:i], p, rent.In); err != nil {
			return err
		}
	}
	return nil
}

// outputs checks where results are to be put.
func outputs(paths []string) error {
	for i, p := range paths {
		if info, err := os.Stat(p); err == nil && !info.Mode().IsRegular() {
			return fmt.Errorf("--out %s: want a file, and this is none", p)
		}
		if info, err := os.Stat(filepath.Dir(p)); err != nil || !info.IsDir() {
			return fmt.Errorf("--out %s: there is no directory %s; make it first", p, filepath.Dir(p))
		}
		if err := namesake("--out", paths[:i], p, rent.Out); err != nil {
			return err
		}
	}
	return nil
}

// namesake finds another file that would be the same one on the machine.
func namesake(flag string, others []string, path, dir string) error {
	for _, o := range others {
		if filepath.Base(o) == filepath.Base(path) {
			return fmt.Errorf("%s %s and %s %s are both %s/%s on the machine; give them different names", flag, o, flag, path, dir, filepath.Base(path))
		}
	}
	return nil
}

// readProgram reads a WASM module and says why something else cannot run.
func readProgram(path string) ([]byte, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, usageError{fmt.Errorf("program: %w", err)}
	}
	switch {
	case len(b) < 8 || !bytes.HasPrefix(b, []byte("\x00asm")):
		return nil, usageError{fmt.Errorf("%s is not a WASM program (Go makes one with GOOS=wasip1 GOARCH=wasm go build, Rust with --target wasm32-wasip1)", path)}
	case bytes.HasPrefix(b[4:], []byte{0x0d, 0, 1, 0}):
		return nil, usageError{fmt.Errorf("%s is a WASM component (preview 2); providers run core modules with WASI preview 1: build it for wasm32-wasip1", path)}
	case !bytes.HasPrefix(b[4:], []byte{1, 0, 0, 0}):
		return nil, usageError{fmt.Errorf("%s is WASM of an unknown version %x; version 1 is run", path, b[4:8])}
	}
	return b, nil
}

// run carries the job out.
func (j *job) run(ctx context.Context, c *client.Client) (*outcome, error) {
	if _, err := c.Me(ctx); err != nil {
		return nil, err
	}
	files := &gsb.Client{URL: c.URL, AppKey: c.Key, Patience: c.Patience}
	image, err := files.Publish(ctx, bytes.NewReader(j.program), int64(len(j.program)))
	if err != nil {
		return nil, fmt.Errorf("publish the program: %w", err)
	}
	defer image.Close() //nolint:errcheck // the run has ended
	sum := sha3.Sum256(j.program)
	pool, err := rent.Open(ctx, c, randomID(), rent.Wish{
		Image: "hash:sha3:" + hex.EncodeToString(sum[:]) + ":" + image.URL, Network: j.network, Token: tokenOf(j.network), Budget: j.budget.String(),
	}, j.news)
	if err != nil {
		return nil, err
	}
	defer pool.Close()
	return j.on(ctx, pool, files)
}

func tokenOf(network string) string {
	if network == "polygon" || network == "mainnet" {
		return "glm"
	}
	return "tglm"
}

// closingTime is how long a run that is done waits for the bill and its payment.
const closingTime = 30 * time.Second

// on rents machines until one of them did the job.
func (j *job) on(ctx context.Context, pool *rent.Pool, files *gsb.Client) (*outcome, error) {
	for {
		m, err := pool.Rent(ctx)
		if err != nil {
			return nil, err
		}
		res, err := j.work(ctx, m, files)
		if errors.Is(err, rent.ErrLost) {
			m.Abandon(err.Error())
			continue
		}
		if err != nil {
			j.leave(ctx, pool, m)
			return nil, err
		}
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), closingTime)
		defer cancel()
		if err := m.Close(closing); err != nil {
			return nil, err
		}
		err = pool.AwaitInvoices(closing)
		if err == nil && j.local { // there is nothing to gather payments with
			err = pool.SettleNow(closing)
		}
		switch err := errors.Join(err, pool.AwaitSettled(closing)); {
		case errors.Is(err, context.DeadlineExceeded):
			fmt.Fprintf(j.progress, "The invoice is not settled after %s; the node goes on with it.\n", closingTime)
		case err != nil:
			fmt.Fprintf(j.progress, "The invoice is not settled yet: %v\n", err)
		}
		deals := pool.Deals()
		res.Deal = deals[len(deals)-1]
		return res, nil
	}
}

// leave ends a machine whose job failed, and pays for what it did, without
// letting the one who interrupted wait for long.
func (j *job) leave(ctx context.Context, pool *rent.Pool, m *rent.Machine) {
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := errors.Join(m.Close(closing), pool.AwaitInvoices(closing)); err != nil {
		fmt.Fprintf(j.progress, "Not left in good order: %v\n", err)
	}
}

// work moves files, runs the program and brings files back.
func (j *job) work(ctx context.Context, m *rent.Machine, files *gsb.Client) (*outcome, error) {
	for _, path := range j.in {
		if err := j.move(ctx, func() error { return upload(ctx, m, files, path) }); err != nil {
			return nil, err
		}
	}
	results, err := m.Do(ctx, rent.Run(strings.TrimSuffix(j.name, ".wasm"), j.args, nil))
	var failed *rent.CommandError
	if err != nil && !errors.As(err, &failed) {
		return nil, err
	}
	res := &outcome{Files: []string{}}
	if failed != nil {
		if failed.Code < 0 {
			return nil, fmt.Errorf("the program could not run: %w", failed)
		}
		res.ExitCode = failed.Code
	}
	last := results[len(results)-1]
	res.stdout, res.stderr = last.Stdout, last.Stderr
	res.Stdout, res.Stderr = textOf(last.Stdout), textOf(last.Stderr)
	if res.ExitCode != 0 {
		return res, nil
	}
	for _, path := range j.out {
		if err := j.move(ctx, func() error { return download(ctx, m, files, path) }); err != nil {
			return nil, err
		}
		res.Files = append(res.Files, path)
	}
	return res, nil
}

// move moves a file. The network of this run may have been killed meanwhile:
// then it is moved again.
func (j *job) move(ctx context.Context, do func() error) error {
	if !j.local {
		return do()
	}
	return again(ctx, do)
}

// lived tells what happened to the network of this run.
func (j *job) lived(name, what string) { fmt.Fprintf(j.progress, "%s %s\n", name, what) }

// textOf is what JSON shows of output: bytes that are no text are shown as the
// characters of the same numbers, as the REST interface does.
func textOf(b []byte) string {
	if utf8.Valid(b) {
		return string(b)
	}
	runes := make([]rune, len(b))
	for i, x := range b {
		runes[i] = rune(x)
	}
	return string(runes)
}

func upload(ctx context.Context, m *rent.Machine, files *gsb.Client, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	t, err := files.Publish(ctx, f, info.Size())
	if err != nil {
		return err
	}
	defer t.Close() //nolint:errcheck // it was taken
	_, err = m.Do(ctx, rent.Transfer(t.URL, "container:"+rent.In+"/"+filepath.Base(path)))
	return err
}

// download writes to a file beside the wanted one and renames it when all of
// it came.
func download(ctx context.Context, m *rent.Machine, files *gsb.Client, path string) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".part-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) //nolint:errcheck // gone when it was renamed
	defer f.Close()           //nolint:errcheck // closed before
	t, err := files.Receive(ctx, f)
	if err != nil {
		return err
	}
	defer t.Close() //nolint:errcheck // it came
	if _, err := m.Do(ctx, rent.Transfer("container:"+rent.Out+"/"+filepath.Base(path), t.URL)); err != nil {
		var failed *rent.CommandError
		if errors.As(err, &failed) || errors.Is(err, rent.ErrLost) {
			return fmt.Errorf("--out %s: %w", path, err)
		}
		return err
	}
	if err := t.Err(); err != nil {
		return fmt.Errorf("--out %s: %w", path, err)
	}
	if err := errors.Join(f.Sync(), f.Close(), os.Chmod(f.Name(), 0o644)); err != nil { //nolint:gosec // a result is for its owner to share
		return err
	}
	return os.Rename(f.Name(), path)
}

func randomID() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

func (j *job) news(n rent.News) {
	switch n.What {
	case "agreement":
		fmt.Fprintf(j.progress, "Agreement with %s.\n", printable(n.Provider))
	case "activity":
		fmt.Fprintf(j.progress, "Running on %s.\n", printable(n.Provider))
	case "invoice":
		fmt.Fprintf(j.progress, "Invoice over %s GLM accepted.\n", n.Detail)
	case "failed", "refused", "unpaid":
		fmt.Fprintf(j.progress, "%s %s: %s\n", printable(n.Provider), n.What, printable(n.Detail))
	}
}

// show prints the program's output as it is, and the money trail beside it.
func (j *job) show(w io.Writer, res *outcome) error {
	if j.asJSON {
		return printJSON(w, res)
	}
	if _, err := w.Write(res.stdout); err != nil {
		return err
	}
	_, _ = j.progress.Write(res.stderr)
	d := res.Deal
	fmt.Fprintf(j.progress, "\nagreement   %s\nprovider    %s (%s)\nactivity    %s\n", d.Agreement, d.Provider, printable(d.Name), d.Activity)
	for i, c := range d.Counters {
		if i < len(d.Usage) {
			fmt.Fprintf(j.progress, "usage       %s %s\n", strings.TrimPrefix(c, "golem.usage."), d.Usage[i])
		}
	}
	fmt.Fprintf(j.progress, "invoice     %s\namount      %s GLM\nstatus      %s\ntransaction %s\n", cmp.Or(d.Invoice, "none"), cmp.Or(d.Amount, "0"), cmp.Or(d.Status, "not paid"), cmp.Or(d.Tx, "none"))
	for _, f := range res.Files {
		fmt.Fprintf(j.progress, "file        %s\n", f)
	}
	return nil
}
