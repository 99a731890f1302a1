package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	exebench "github.com/emet-node/emet/adapters/exeunit/bench"
	"github.com/emet-node/emet/domain/es"
)

func newBenchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "bench", Short: "Measure this machine and this build, one line a figure", Args: cobra.NoArgs,
		Long: `bench starts what it measures itself, below a temporary directory, and removes
it. A line is

  bench AREA/NAME value=NUMBER unit=UNIT [ratio=NUMBER of=WHAT] …

Ratios are taken within one run and say more than values do: machines and their
neighbours differ. The areas are store, esdb, exeunit, node, loop, travel and evidence. exeunit needs
the go tool and the source tree.`,
		Example: `  emet bench
  emet bench --only loop`,
		RunE: runBench,
	}
	cmd.Flags().StringSlice("only", nil, "areas to measure (default all)")
	cmd.Flags().String("program", "examples/echo/echo.wasm", "the guest of the loop (make examples builds it)")
	cmd.Flags().Uint64("events", travelEvents, "facts in the log of travel")
	cmd.Flags().Int("store-events", 0, "events in the long log of store (default a million; 10000000 takes 6 GB)")
	cmd.Flags().String("dir", "", "measure below this directory (default the one for temporary files)")
	return cmd
}

// benches are the areas in the order they are measured.
var benches = []struct {
	area string
	run  func(ctx context.Context, b *bench) error
}{
	{"store", benchStore},
	{"esdb", benchESDB},
	{"node", benchNode},
	{"loop", benchLoop},
	{"travel", benchTravel},
	{"evidence", benchEvidence},
	{"exeunit", func(ctx context.Context, b *bench) error { return exebench.Bench(ctx, b.w) }},
}

// bench is one run of the measurements.
type bench struct {
	dir     string // for everything that is written
	program string
	events  es.Position // of the log that travel measures
	longLog int         // events in the long log of store, 0 = the default
	w       io.Writer
}

// say prints one figure. more is for instance "ratio=1.30 of=plain_http".
func (b *bench) say(name string, value float64, unit string, more ...string) {
	digits := 1
	if value < 10 {
		digits = 2
	}
	line := fmt.Sprintf("bench %s value=%.*f unit=%s", name, digits, value, unit)
	fmt.Fprintln(b.w, strings.Join(append([]string{line}, more...), " "))
}

func runBench(cmd *cobra.Command, _ []string) error {
	only, _ := cmd.Flags().GetStringSlice("only")
	for _, area := range only {
		if !slices.ContainsFunc(benches, func(b struct {
			area string
			run  func(context.Context, *bench) error
		},
		) bool {
			return b.area == area
		}) {
			return usageError{fmt.Errorf("--only %s: the areas are store, esdb, exeunit, node, loop, travel and evidence", area)}
		}
	}
	under, _ := cmd.Flags().GetString("dir")
	program, _ := cmd.Flags().GetString("program")
	dir, err := os.MkdirTemp(under, "emet-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a left-over is no failure
	events, _ := cmd.Flags().GetUint64("events")
	longLog, _ := cmd.Flags().GetInt("store-events")
	b := &bench{dir: dir, program: program, events: es.Position(events), longLog: longLog, w: cmd.OutOrStdout()}
	var failed error
	for _, one := range benches {
		if len(only) > 0 && !slices.Contains(only, one.area) {
			continue
		}
		if err := one.run(cmd.Context(), b); err != nil {
			failed = errors.Join(failed, fmt.Errorf("bench %s: %w", one.area, err))
		}
	}
	return failed
}

// median of some times, in milliseconds.
func median(times []time.Duration) float64 { return ms(quantile(times, 0.5)) }

func quantile(times []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(times))
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
