package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/money"
	"github.com/emet-node/emet/projections/simulate"
)

func newSimulateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "simulate", Short: "Ask what the business would have been with other prices or rules", Args: cobra.NoArgs,
		Long: `simulate decides every negotiation of this provider again, as if its prices or
rules had been others, and says what would have differed: proposals answered and
refused, agreements, income.

What requestors would have done is known from their texts: a bid below the new
price is refused, and whose constraints the new price does not meet would not
have come. Everybody else is taken to have agreed, and their work to have used
what it used. What an agreement that only the simulation has would have used is
not known; it is counted and brings nothing.

--price takes counter=GLM pairs (duration and cpu are per second, start is per
activity, others by their full names) or a factor such as x1.5.`,
		Example: `  emet simulate --price x1.5
  emet simulate --price duration=0.0002,cpu=0.0003,start=0 --last 30d
  emet simulate --max-agreements 4 --last 7d --json`,
		RunE: readingLog(runSimulate),
	}
	cmd.Flags().StringSlice("price", nil, "other prices: counter=GLM,… or x<factor>")
	cmd.Flags().Int("max-agreements", 0, "another number of agreements at a time")
	cmd.Flags().StringSlice("blacklist", nil, "node ids that would have been refused")
	cmd.Flags().String("last", "", "only the last days or hours of the log (30d, 12h); default all")
	cmd.Flags().Int("cases", 20, "most differing cases to show to people; 0 = all")
	jsonFlag(cmd)
	return cmd
}

type countsJSON struct {
	Countered int          `json:"countered"`
	Rejected  int          `json:"rejected"`
	Approved  int          `json:"approved"`
	Refused   int          `json:"refused"`
	Missed    int          `json:"missed"`
	Income    money.Amount `json:"income"`
}

type caseJSON struct {
	Position  uint64 `json:"position"`
	Thread    string `json:"negotiation"`
	Agreement string `json:"agreement,omitzero"`
	Requestor string `json:"requestor"`
	Then      string `json:"then"`
	Now       string `json:"now"`
	Reason    any    `json:"reason,omitzero"`
}

type simulatedJSON struct {
	Since   *time.Time `json:"since,omitzero"`
	Then    countsJSON `json:"then"`
	Now     countsJSON `json:"now"`
	Unknown int        `json:"unknown"` // agreements whose use, and income, is not known
	Cases   []caseJSON `json:"cases"`
}

func runSimulate(cmd *cobra.Command, _ []string, r *node.Reading) error {
	w, err := wishOf(cmd)
	if err != nil {
		return err
	}
	result, err := simulate.Run(cmd.Context(), r.Log, w)
	if err != nil {
		return err
	}
	out := simulatedJSON{Since: optional(w.Since), Then: countsJSON(result.Then), Now: countsJSON(result.Now), Unknown: result.Unknown, Cases: []caseJSON{}}
	for _, c := range result.Cases {
		v := caseJSON{Position: uint64(c.Position), Thread: c.Thread, Agreement: c.Agreement, Requestor: string(c.Requestor), Then: c.Then, Now: c.Now}
		if c.Reason != "" {
			v.Reason = foreign(c.Reason)
		}
		out.Cases = append(out.Cases, v)
	}
	if asksJSON(cmd) {
		return printJSON(cmd.OutOrStdout(), out)
	}
	most, _ := cmd.Flags().GetInt("cases")
	return out.print(cmd, cmd.OutOrStdout(), most)
}

func wishOf(cmd *cobra.Command) (w simulate.Wish, err error) {
	prices, _ := cmd.Flags().GetStringSlice("price")
	w.Prices = make(map[string]money.Decimal)
	for _, p := range prices {
		if f, ok := strings.CutPrefix(p, "x"); ok && !strings.Contains(p, "=") {
			d, err := money.ParseDecimal(f)
			if err != nil || d.Sign() < 0 {
				return w, usageError{fmt.Errorf("--price %s: want x and a factor, as x1.5", p)}
			}
			w.Factor = &d
			continue
		}
		counter, text, ok := strings.Cut(p, "=")
		d, err := money.ParseDecimal(text)
		if !ok || err != nil || d.Sign() < 0 {
			return w, usageError{fmt.Errorf("--price %s: want counter=GLM, as duration=0.0001, or x1.5", p)}
		}
		w.Prices[counter] = d
	}
	w.MaxAgreements, _ = cmd.Flags().GetInt("max-agreements")
	black, _ := cmd.Flags().GetStringSlice("blacklist")
	for _, b := range black {
		id, err := identity.ParseNodeID(b)
		if err != nil {
			return w, usageError{fmt.Errorf("--blacklist: %w", err)}
		}
		w.Blacklist = append(w.Blacklist, id)
	}
	if len(prices) == 0 && w.MaxAgreements == 0 && len(black) == 0 {
		return w, usageError{errors.New("say what would have been otherwise: --price, --max-agreements or --blacklist")}
	}
	if last, _ := cmd.Flags().GetString("last"); last != "" {
		d, err := parseDuration(last)
		if err != nil {
			return w, usageError{fmt.Errorf("--last: %w", err)}
		}
		w.Since = time.Now().UTC().Add(-d)
	}
	return w, nil
}

func (s simulatedJSON) print(cmd *cobra.Command, w io.Writer, most int) error {
	l := listing{header: []string{"", "Then", "With the change"}}
	row := func(name string, then, now any) { l.add(nil, name, fmt.Sprint(then), fmt.Sprint(now)) }
	row("proposals answered", s.Then.Countered, s.Now.Countered)
	row("proposals refused", s.Then.Rejected, s.Now.Rejected)
	row("agreements", s.Then.Approved, s.Now.Approved)
	row("agreements refused", s.Then.Refused, s.Now.Refused)
	row("agreements missed", s.Then.Missed, s.Now.Missed)
	row("income (GLM)", s.Then.Income, s.Now.Income)
	if err := l.printTable(w); err != nil {
		return err
	}
	if s.Unknown > 0 {
		fmt.Fprintf(w, "%d of the agreements were refused then: what they would have brought is not known.\n", s.Unknown)
	}
	if len(s.Cases) == 0 {
		fmt.Fprintln(w, "Every decision would have been the same.")
		return nil
	}
	fmt.Fprintln(w)
	cases := listing{header: []string{"Position", "About", "Requestor", "Then", "Now", "Because"}}
	for i, c := range s.Cases {
		if most > 0 && i == most {
			fmt.Fprintf(w, "%d decisions differ; the first %d are:\n", len(s.Cases), most)
			break
		}
		what := "proposal in " + short(c.Thread, 10)
		if c.Agreement != "" {
			what = "agreement " + short(c.Agreement, 10)
		}
		cases.add(c, fmt.Sprint(c.Position), what, cut(c.Requestor, 12), c.Then, c.Now, cut(because(c.Reason), 70))
	}
	return cases.print(cmd)
}

// because is the message of a reason.
func because(reason any) string {
	switch r := reason.(type) {
	case nil:
		return ""
	case json.RawMessage:
		return plain(r)
	}
	return fmt.Sprint(reason)
}
