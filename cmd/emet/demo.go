package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"github.com/emet-node/emet/api/client"
	"github.com/emet-node/emet/api/client/rent"
	gsb "github.com/emet-node/emet/api/gsb/client"
	"github.com/emet-node/emet/cmd/emet/keep"
	"github.com/emet-node/emet/cmd/emet/picture"
	"github.com/emet-node/emet/examples/render/tiles"
)

func newDemoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "demo", Short: "Render a picture over a market of four nodes on this machine", Args: cobra.NoArgs,
		Long: `demo starts a development chain, a requestor and three providers, each a process
of its own, connected over loopback. The requestor rents the providers, which
render the tiles of a picture, bill for it and are paid on the chain. All logs
are kept for a closer look.

Any of these processes may be killed at any moment: it is started again on its
directory, at its addresses, and goes on. With --no-restart a provider that ends
stays away, and its tiles go to the others.

When the demo itself is killed, its processes end too. The next one in the
directory goes on: it renders the tiles that are missing, ends the deals that
were left open, and pays what is owed. It wants the same settings of the picture;
with --fresh it begins anew. A demo that was finished makes place for a new one.`,
		Example: `  emet demo --program examples/render/render.wasm
  emet demo --program render.wasm --width 640 --height 400 --out picture.png
  emet demo --fresh`,
		RunE: runDemo,
	}
	f := cmd.Flags()
	f.String("program", "examples/render/render.wasm", "the renderer (make examples builds it)")
	f.String("dir", "demo-out", "directory for the nodes' data and the picture, also given with -d")
	f.String("out", "", "the picture (default DIR/render.png)")
	f.Int("width", 480, "width of the picture")
	f.Int("height", 300, "height of the picture")
	f.Int("spp", 12, "paths for each pixel")
	f.Int("tiles", 12, "number of tiles")
	f.Int("providers", 3, "number of providers")
	f.Bool("no-restart", false, "let a provider that is killed stay away")
	f.Bool("fresh", false, "begin anew where a demo was cut off, without its debts")
	f.Bool("json", false, "print the result as JSON")
	return cmd
}

// demo is one run of the demo.
type demo struct {
	program            []byte
	dir, out           string
	width, height, spp int
	tiles, providers   int
	asJSON, noRestart  bool
	fresh, resumed     bool // resumed goes on with what an earlier demo left
	book               picture.Book
	plan               picture.Plan
	w                  io.Writer
	lines              io.Writer // where news go: above the bar while there is one
	bar                *mpb.Bar
	mu                 sync.Mutex
	parts              []tiles.Tile
	missing            []image.Rectangle
	machines           int           // that work
	heard, worked      time.Time     // the last sign of life; when the last machine worked
	done               chan struct{} // closed with the last tile
	byDeal             map[string]int
}

func runDemo(cmd *cobra.Command, _ []string) error {
	d := &demo{w: cmd.OutOrStdout(), byDeal: map[string]int{}, done: make(chan struct{})}
	f := cmd.Flags()
	d.dir, _ = f.GetString("dir")
	if given, _ := f.GetString("datadir"); given != "" && !f.Changed("dir") {
		d.dir = given
	}
	d.out, _ = f.GetString("out")
	d.width, _ = f.GetInt("width")
	d.height, _ = f.GetInt("height")
	d.spp, _ = f.GetInt("spp")
	d.tiles, _ = f.GetInt("tiles")
	d.providers, _ = f.GetInt("providers")
	d.asJSON, _ = f.GetBool("json")
	d.noRestart, _ = f.GetBool("no-restart")
	d.fresh, _ = f.GetBool("fresh")
	if d.width < 16 || d.height < 16 || d.width > 8192 || d.height > 8192 || d.spp < 1 || d.tiles < 1 || d.providers < 1 || d.providers > 16 {
		return usageError{errors.New("want a picture of 16 to 8192 pixels a side, at least one path, one tile and 1 to 16 providers")}
	}
	if d.out == "" {
		d.out = filepath.Join(d.dir, "render.png")
	}
	path, _ := f.GetString("program")
	var err error
	if d.program, err = readProgram(path); err != nil {
		return err
	}
	if d.asJSON {
		d.w = io.Discard
	}
	d.lines = d.w
	return d.run(cmd.Context(), cmd.OutOrStdout())
}

func (d *demo) run(ctx context.Context, result io.Writer) (err error) {
	began := time.Now()
	hold, err := d.take(ctx)
	if err != nil {
		return err
	}
	defer hold.Close() //nolint:errcheck // only locks
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	kept := len(d.parts)
	fleet := newFleet(d.dir)
	fleet.portsFile = d.ports()
	fleet.recall()
	fleet.leave, fleet.keeper = d.noRestart, keep.Keeper{Inherit: hold.Inherit(), Failed: func(err error) { cancel(err) }, News: d.lived}
	defer fleet.stop()
	defer func() { // what a process died of says more than what its end led to
		if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(cause, context.Canceled) {
			err = cause
		}
	}()
	fmt.Fprintf(d.w, "Starting a chain, a requestor and %d providers (logs and ledgers in %s)\n", d.providers, d.dir)
	c, err := fleet.start(ctx, d.providers)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.w, "All %d processes are up after %.1f s\n", d.providers+2, time.Since(began).Seconds())
	pool, err := d.render(ctx, c)
	if err != nil {
		return err
	}
	defer pool.Close()
	deals, err := d.settle(ctx, pool, fleet)
	if err != nil {
		return err
	}
	if err := d.book.Finish(); err != nil {
		return err
	}
	if d.asJSON {
		return printJSON(result, map[string]any{
			"picture": d.out, "seconds": time.Since(began).Seconds(), "deals": deals, "tiles": len(d.parts), "tilesThere": kept,
		})
	}
	return d.report(result, deals, time.Since(began))
}

// settle waits until all deals are billed, paid, and found paid by those who
// are to have the money, and can be proved without the chain.
func (d *demo) settle(ctx context.Context, pool *rent.Pool, fleet *fleet) ([]rent.Deal, error) {
	ctx, stop := context.WithTimeout(ctx, 2*time.Minute)
	defer stop()
	err := pool.AwaitInvoices(ctx)
	if !d.noRestart || d.resumed {
		late, stop := context.WithTimeout(ctx, lateBills)
		_ = pool.AwaitLost(late)
		stop()
	}
	if err := errors.Join(err, pool.SettleNow(ctx), pool.AwaitSettled(ctx)); err != nil {
		return nil, fmt.Errorf("the picture is done, but not everything is paid: %w", err)
	}
	deals := pool.Deals()
	if err := fleet.verified(ctx, deals); err != nil {
		return nil, fmt.Errorf("a provider did not find its payment on the chain: %w", err)
	}
	fleet.proved(ctx, deals)
	return deals, nil
}

// lateBills is how long the invoices of deals that were broken off are awaited.
const lateBills = 30 * time.Second

// lived tells what happened to a process.
func (d *demo) lived(name, what string) {
	w := d.hear()
	fmt.Fprintf(w, "%-12s %s\n", name, what)
}

// render rents a machine from every provider and lets them take tiles from one
// queue. A tile whose machine fails goes back into the queue.
func (d *demo) render(ctx context.Context, c *client.Client) (*rent.Pool, error) {
	files := &gsb.Client{URL: c.URL, AppKey: c.Key, Patience: c.Patience}
	image, err := files.Publish(ctx, bytes.NewReader(d.program), int64(len(d.program)))
	if err != nil {
		return nil, err
	}
	defer image.Close() //nolint:errcheck // every machine has it by then
	if err := os.MkdirAll(d.arriving(), 0o700); err != nil {
		return nil, err
	}
	wish := rent.Wish{Image: "hash:sha3:" + d.plan.Program + ":" + image.URL, Budget: "5", NoteInterval: 5 * time.Second, Lifetime: 30 * time.Minute}
	if d.resumed {
		if wish.Allocation, err = leftovers(ctx, c, wish); err != nil {
			return nil, err
		}
	}
	progress := d.startBar()
	pool, err := rent.Resume(ctx, c, d.plan.Session, wish, d.news)
	if err != nil {
		return nil, err
	}
	queue := d.queue()
	d.count(0)
	g, work := errgroup.WithContext(ctx)
	for range min(d.providers, len(d.missing)) {
		g.Go(func() error { return d.worker(work, pool, files, queue) })
	}
	err = g.Wait()
	if err != nil {
		d.bar.Abort(false)
	}
	progress.Wait()
	d.mu.Lock()
	d.lines = d.w
	d.mu.Unlock()
	if err != nil {
		pool.Close()
		return nil, err
	}
	return pool, d.assemble()
}

// startBar shows the progress on a terminal; lines of news then go above the
// bar, elsewhere they are all there is.
func (d *demo) startBar() *mpb.Progress {
	f, ok := d.w.(*os.File)
	onTerminal := ok && term.IsTerminal(int(f.Fd()))
	out := io.Discard
	if onTerminal {
		out = f
	}
	p := mpb.New(mpb.WithOutput(out), mpb.WithWidth(48))
	if onTerminal {
		d.mu.Lock()
		d.lines = p
		d.mu.Unlock()
	}
	d.bar = p.AddBar(int64(len(d.plan.Split())), mpb.PrependDecorators(decor.Name("tiles "), decor.CountersNoUnit("%d/%d")), mpb.AppendDecorators(decor.Elapsed(decor.ET_STYLE_GO)))
	return p
}

// leftovers takes the demands of an earlier demo back and finds its budget, if
// that lasts for this one.
func leftovers(ctx context.Context, c *client.Client, w rent.Wish) (allocation string, err error) {
	demands, err := c.Demands(ctx)
	for _, id := range demands {
		err = errors.Join(err, c.Unsubscribe(ctx, id))
	}
	budgets, berr := c.Allocations(ctx)
	for _, b := range budgets {
		if time.Until(b.Timeout) > w.Lifetime {
			allocation = b.ID
		}
	}
	return allocation, errors.Join(err, berr)
}

// queue holds the tiles that nobody has rendered.
func (d *demo) queue() chan image.Rectangle {
	q := make(chan image.Rectangle, len(d.missing))
	for _, t := range d.missing {
		q <- t
	}
	d.bar.SetCurrent(int64(len(d.parts)))
	return q
}

func (d *demo) assemble() error {
	img, err := tiles.Assemble(d.width, d.height, d.parts)
	if err != nil {
		return err
	}
	f, err := os.Create(d.out)
	if err != nil {
		return err
	}
	return errors.Join(png.Encode(f, img), f.Close())
}

// hear notes a sign of life and returns where it is told.
func (d *demo) hear() io.Writer {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.heard = time.Now()
	return d.lines
}

func (d *demo) news(n rent.News) {
	w := d.hear()
	switch n.What {
	case "agreement":
		fmt.Fprintf(w, "%-12s agreement %s\n", n.Provider, short(n.Agreement, 12))
	case "activity":
		fmt.Fprintf(w, "%-12s activity  %s\n", n.Provider, short(n.Activity, 12))
	case "note":
		fmt.Fprintf(w, "%-12s debit note over %s GLM accepted\n", n.Provider, n.Detail)
	case "invoice":
		fmt.Fprintf(w, "%-12s invoice over %s GLM accepted\n", n.Provider, n.Detail)
	case "ended":
		fmt.Fprintf(w, "%-12s agreement %s of before is ended\n", n.Provider, short(n.Agreement, 12))
	case "settled":
		if n.Detail != "" { // else it was over nothing
			fmt.Fprintf(w, "%-12s paid in %s\n", n.Provider, short(n.Detail, 14))
		}
	case "failed", "refused", "unpaid":
		fmt.Fprintf(w, "%-12s %s: %s\n", n.Provider, n.What, printable(n.Detail))
	}
}

func (d *demo) report(w io.Writer, deals []rent.Deal, took time.Duration) error {
	l := listing{header: []string{"Provider", "Tiles", "Agreement", "Activity", "Seconds", "CPU s", "Invoice", "GLM", "Transaction", "Status"}}
	for _, deal := range deals {
		l.add(deal, deal.Name, fmt.Sprint(d.byDeal[deal.Agreement]), cut(deal.Agreement, 10), cut(deal.Activity, 10), counter(deal, "golem.usage.duration_sec"),
			counter(deal, "golem.usage.cpu_sec"), cut(deal.Invoice, 8), deal.Amount, cut(deal.Tx, 12), statusOf(deal))
	}
	fmt.Fprintln(w)
	if err := l.printTable(w); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nThe picture: %s (%d × %d, %d tiles, %.1f s in all)\n\nLook further:\n", d.out, d.width, d.height, len(d.parts), took.Seconds())
	look := deals[max(0, slices.IndexFunc(deals, func(d rent.Deal) bool { return d.Tx != "" }))]
	for _, line := range d.further(look) {
		fmt.Fprintln(w, "  "+line)
	}
	return nil
}

// further are commands that show more of what happened, as a shell takes them.
// The beginnings of ids are enough among so few.
func (d *demo) further(deal rent.Deal) (lines []string) {
	requestor := filepath.Join(d.dir, "requestor")
	agreement, bill := deal.Agreement[:min(16, len(deal.Agreement))], deal.Invoice[:min(13, len(deal.Invoice))]
	for _, words := range [][]string{
		{"log", "story", "-d", requestor, agreement},
		{"why", "-d", requestor, cmp.Or(bill, agreement)},
		{"money", "status", "-d", requestor},
		{"store", "verify", "-d", requestor},
		{"evidence", "create", "-d", requestor, agreement, "-o", filepath.Join(d.dir, "deal.dossier")},
	} {
		for i, w := range words {
			words[i] = quoted(w)
		}
		lines = append(lines, quoted(os.Args[0])+" "+strings.Join(words, " "))
	}
	return lines
}

// quoted is a word as a shell takes it.
func quoted(word string) string {
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:,=@%+", r)
	}
	if word != "" && strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

func statusOf(d rent.Deal) string {
	switch {
	case d.Status != "":
		return d.Status
	case d.Lost:
		return "lost"
	}
	return "not billed"
}

func counter(d rent.Deal, name string) string {
	for i, c := range d.Counters {
		if c == name && i < len(d.Usage) {
			if v, err := strconv.ParseFloat(d.Usage[i], 64); err == nil {
				return strconv.FormatFloat(v, 'f', 2, 64)
			}
			return d.Usage[i]
		}
	}
	return ""
}
