package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/es"
)

// momentOf reads a moment as people give it on a command line.
func momentOf(ctx context.Context, s es.Store, text string) (es.Moment, error) {
	m, err := es.MomentOf(ctx, s, text, time.Now())
	return m, wrongMoment(err)
}

// firstFrom is the first fact from a moment on.
func firstFrom(ctx context.Context, s es.Store, text string) (es.Position, error) {
	p, err := es.FirstFrom(ctx, s, text, time.Now())
	return p, wrongMoment(err)
}

func wrongMoment(err error) error {
	var bad *es.MomentError
	if errors.As(err, &bad) {
		return usageError{err}
	}
	return err
}

// runUpPast serves the node as it was, for reading.
func runUpPast(cmd *cobra.Command, c *Config, asOf string) error {
	readOnly, _ := cmd.Flags().GetBool("read-only")
	switch {
	case asOf == "":
		return usageError{errors.New("--read-only: say which moment to show with --as-of <position|time>; --as-of now is the present")}
	case !readOnly:
		return usageError{errors.New("--as-of: a node cannot work in its past; add --read-only to look at it")}
	}
	o, err := nodeOptions(c)
	if err != nil {
		return err
	}
	if key := c.String("autoconf.appkey"); key != "" {
		o.Identities = []node.Identity{{AppKeys: []node.AppKey{{Name: "autoconfigured", Secret: key, Fleeting: true}}}}
	}
	p, err := node.OpenPast(cmd.Context(), o, asOf, momentOf)
	if err != nil {
		return explain(err)
	}
	w := cmd.OutOrStdout()
	if export, _ := cmd.Flags().GetBool("export"); export {
		key := c.String("autoconf.appkey")
		if key == "" {
			if key, err = p.Key(cmd.Context()); err != nil {
				return errors.Join(err, p.Close())
			}
		}
		fmt.Fprintf(w, "export YAGNA_API_URL=%s\nexport YAGNA_APPKEY=%s\n", p.URL(), key)
	} else {
		fmt.Fprintf(w, "as it was after fact %d (%s) %s\n", p.Moment.Last, p.Moment.Recorded.Format(time.RFC3339), p.URL())
	}
	fmt.Fprintln(w, "READY")
	notifyReady()
	return errors.Join(p.Run(cmd.Context()), p.Close())
}
