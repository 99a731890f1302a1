package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha3"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/emet-node/emet/api/client"
	"github.com/emet-node/emet/api/client/rent"
	gsb "github.com/emet-node/emet/api/gsb/client"
)

const (
	firstRounds  = 7
	execRounds   = 100
	cycleRounds  = 5
	cycleWorkers = 4
	platform     = "erc20-hoodi-tglm"
)

// loopBench is a requestor and a provider, processes of their own, that find
// each other over loopback, and a chain.
type loopBench struct {
	*bench
	c    *client.Client
	wish rent.Wish
}

func benchLoop(ctx context.Context, b *bench) error {
	program, err := readProgram(b.program)
	if err != nil {
		return err
	}
	dir := filepath.Join(b.dir, "loop")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f := newFleet(dir, "EMET_MARKET_MAX_AGREEMENTS=8", "EMET_PAYMENT_CYCLE=1h")
	defer f.stop()
	c, err := f.start(ctx, 1)
	if err != nil {
		return err
	}
	files := &gsb.Client{URL: c.URL, AppKey: c.Key}
	image, err := files.Publish(ctx, bytes.NewReader(program), int64(len(program)))
	if err != nil {
		return err
	}
	defer image.Close() //nolint:errcheck // the nodes end too
	sum := sha3.Sum256(program)
	l := &loopBench{bench: b, c: c, wish: rent.Wish{
		Image: "hash:sha3:" + hex.EncodeToString(sum[:]) + ":" + image.URL, Budget: "1", NoteInterval: 2 * time.Minute,
	}}
	return errors.Join(l.firstOutput(ctx), l.roundTrip(ctx), l.fullCycles(ctx))
}

// firstOutput measures from before the demand is posted until the first byte
// of a program's output is there. The first round, which compiles the program,
// has a line of its own.
func (l *loopBench) firstOutput(ctx context.Context) error {
	var times []time.Duration
	steps := map[string][]time.Duration{}
	for i := range firstRounds + 1 {
		s := &stopwatch{}
		if err := l.oneOutput(ctx, s); err != nil {
			return fmt.Errorf("first output: %w", err)
		}
		if i == 0 {
			l.say("loop/demand_to_first_stdout_cold_ms", ms(s.total()), "ms")
			continue
		}
		times = append(times, s.total())
		for _, m := range s.laps {
			steps[m.name] = append(steps[m.name], m.took)
		}
	}
	var parts []string
	for _, name := range []string{"match", "draft", "approved", "activity", "exec", "output"} {
		parts = append(parts, fmt.Sprintf("%s=%.1f", name, median(steps[name])))
	}
	l.say("loop/demand_to_first_stdout_ms", median(times), "ms", append(parts, fmt.Sprintf("worst=%.0f", ms(quantile(times, 1))))...)
	return nil
}

// stopwatch takes times of steps that follow each other.
type stopwatch struct {
	begun, last time.Time
	laps        []lap
}

type lap struct {
	name string
	took time.Duration
}

func (s *stopwatch) start() { s.begun = time.Now(); s.last = s.begun }

func (s *stopwatch) lap(name string) {
	now := time.Now()
	s.laps = append(s.laps, lap{name, now.Sub(s.last)})
	s.last = now
}

func (s *stopwatch) total() time.Duration { return s.last.Sub(s.begun) }

// oneOutput goes from a demand to a program's first words, with no more calls
// than a client needs.
func (l *loopBench) oneOutput(ctx context.Context, s *stopwatch) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	a, demand, err := l.demand(ctx)
	if err != nil {
		return err
	}
	defer l.c.ReleaseAllocation(context.WithoutCancel(ctx), a.ID) //nolint:errcheck // what is left of it is given up
	s.start()
	id, err := l.c.Subscribe(ctx, demand)
	if err != nil {
		return err
	}
	defer l.c.Unsubscribe(context.WithoutCancel(ctx), id) //nolint:errcheck // the demand expires
	agreement, err := l.agree(ctx, s, id, demand)
	if err != nil {
		return err
	}
	defer l.c.Terminate(context.WithoutCancel(ctx), agreement, "measured") //nolint:errcheck // the nodes end too
	activity, err := l.c.CreateActivity(ctx, agreement, 10*time.Second)
	if err != nil {
		return err
	}
	defer l.c.DestroyActivity(context.WithoutCancel(ctx), activity, 10*time.Second) //nolint:errcheck // the nodes end too
	s.lap("activity")
	said := map[string]any{"stream": map[string]any{}}
	batch, err := l.c.Exec(ctx, activity, []any{
		map[string]any{"deploy": map[string]any{}},
		map[string]any{"start": map[string]any{}},
		map[string]any{"run": map[string]any{"entry_point": "echo", "args": []string{"hello"}, "capture": map[string]any{"stdout": said}}},
	})
	if err != nil {
		return err
	}
	s.lap("exec")
	err = l.hear(ctx, activity, batch, `"stdout":"hello`)
	s.lap("output")
	return err
}

func (l *loopBench) demand(ctx context.Context) (client.Allocation, client.Offering, error) {
	a, err := l.c.CreateAllocation(ctx, client.Allocation{Platform: platform, Total: "1", Timeout: time.Now().Add(time.Hour).UTC()})
	if err != nil {
		return a, client.Offering{}, err
	}
	d, err := l.c.DecorateDemand(ctx, a.ID)
	if err != nil {
		return a, client.Offering{}, err
	}
	o := client.Offering{
		Constraints: "(&(golem.runtime.name=wasmtime)\n\t" + strings.Join(d.Constraints, "\n\t") + ")",
		Properties: map[string]any{
			"golem.srv.caps.multi-activity": true, "golem.srv.comp.task_package": l.wish.Image,
			"golem.node.debug.subnet": "public", "golem.srv.comp.expiration": time.Now().Add(time.Hour).UnixMilli(),
			"golem.com.payment.chosen-platform":             platform,
			"golem.com.payment.debit-notes.accept-timeout?": 120, "golem.com.scheme.payu.debit-note.interval-sec?": 120,
			"golem.com.scheme.payu.payment-timeout-sec?": 43200,
		},
	}
	for _, kv := range d.Properties {
		o.Properties[kv.Key] = kv.Value
	}
	return a, o, nil
}

// agree negotiates with whoever answers first.
func (l *loopBench) agree(ctx context.Context, s *stopwatch, id string, demand client.Offering) (string, error) {
	for {
		events, err := l.c.DemandEvents(ctx, id, 5*time.Second)
		if err != nil {
			return "", err
		}
		for _, e := range events {
			switch {
			case e.Proposal == nil:
			case e.Proposal.State == "Initial":
				s.lap("match")
				if _, err := l.c.Counter(ctx, id, e.Proposal.ID, demand); err != nil {
					return "", err
				}
			default:
				s.lap("draft")
				agreement, err := l.c.CreateAgreement(ctx, e.Proposal.ID, time.Now().Add(time.Hour))
				if err != nil {
					return "", err
				}
				err = errors.Join(l.c.Confirm(ctx, agreement, "bench"), l.c.WaitApproval(ctx, agreement, 10*time.Second))
				s.lap("approved")
				return agreement, err
			}
		}
	}
}

// hear reads the event stream of a batch until it says what is wanted.
func (l *loopBench) hear(ctx context.Context, activity, batch, want string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.c.URL+"/activity-api/v1/activity/"+activity+"/exec/"+batch, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+l.c.Key)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read
	lines := bufio.NewScanner(resp.Body)
	var last string
	for lines.Scan() {
		if strings.Contains(lines.Text(), want) {
			return nil
		}
		if lines.Text() != "" {
			last = lines.Text()
		}
	}
	return fmt.Errorf("the output never came; the last line was %q: %w", last, errors.Join(lines.Err()))
}

// roundTrip measures one small command on a machine that is ready: from before
// the script is posted until its result is there. The plain HTTP round trip
// is of the same client in the same run.
func (l *loopBench) roundTrip(ctx context.Context) error {
	pool, err := rent.Open(ctx, l.c, randomID(), l.wish, nil)
	if err != nil {
		return err
	}
	defer pool.Close()
	m, err := pool.Rent(ctx)
	if err != nil {
		return err
	}
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `"ok"`) }))
	defer plain.Close()
	bare := &client.Client{URL: plain.URL}
	var execs, https, rests []time.Duration
	for range execRounds {
		begun := time.Now()
		if _, err := m.Do(ctx, rent.Run("echo", []string{"hello"}, nil)); err != nil {
			return err
		}
		execs = append(execs, time.Since(begun))
		begun = time.Now()
		if err := bare.Do(ctx, http.MethodPost, "/", []string{"hello"}, nil); err != nil {
			return err
		}
		https = append(https, time.Since(begun))
		begun = time.Now()
		if _, err := l.c.Me(ctx); err != nil {
			return err
		}
		rests = append(rests, time.Since(begun))
	}
	l.say("loop/exec_roundtrip_ms", median(execs), "ms", fmt.Sprintf("ratio=%.1f", median(execs)/median(https)), "of=plain_http",
		fmt.Sprintf("p95=%.1f", ms(quantile(execs, 0.95))), fmt.Sprintf("plain_http_ms=%.2f", median(https)), fmt.Sprintf("rest_me_ms=%.2f", median(rests)))
	return m.Close(ctx)
}

// fullCycles measures whole deals, from the demand until the invoice is
// settled, one after the other and some at a time.
func (l *loopBench) fullCycles(ctx context.Context) error {
	for _, workers := range []int{1, cycleWorkers} {
		var g errgroup.Group
		begun := time.Now()
		for range workers {
			g.Go(func() error {
				for range cycleRounds {
					if err := l.cycle(ctx); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return fmt.Errorf("full cycle: %w", err)
		}
		name := "loop/full_cycle_per_s"
		if workers > 1 {
			name = fmt.Sprintf("loop/full_cycle_%d_at_once_per_s", workers)
		}
		took := time.Since(begun)
		l.say(name, float64(workers*cycleRounds)/took.Seconds(), "1/s", fmt.Sprintf("deals=%d", workers*cycleRounds), fmt.Sprintf("each_ms=%.0f", ms(took)/cycleRounds))
	}
	return nil
}

// cycle is one deal. The run of settlements that would come with the cycle is
// asked for as soon as the invoice is accepted.
func (l *loopBench) cycle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	pool, err := rent.Open(ctx, l.c, randomID(), l.wish, nil)
	if err != nil {
		return err
	}
	defer pool.Close()
	m, err := pool.Rent(ctx)
	if err != nil {
		return err
	}
	if _, err := m.Do(ctx, rent.Run("echo", []string{"hello"}, nil)); err != nil {
		return err
	}
	if err := m.Close(ctx); err != nil {
		return err
	}
	if err := pool.AwaitInvoices(ctx); err != nil {
		return err
	}
	if err := pool.SettleNow(ctx); err != nil {
		return err
	}
	return pool.AwaitSettled(ctx)
}
