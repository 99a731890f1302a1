package scripts

import (
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/projections/story/storytest"
)

// blobs DIR puts a long output and a proof of a payment beside a log. Their
// addresses are OUTPUT and PROOF from then on.
func blobs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: blobs dir")
	}
	ctx, cancel := deadline()
	defer cancel()
	l, err := node.OpenLedger(ctx, node.Options{Dir: ts.MkAbs(args[0])})
	ts.Check(err)
	put := func(name, content string) string {
		sum, _, err := l.Blobs.Put(strings.NewReader(content))
		ts.Check(err)
		ts.Setenv(name, sum)
		ts.Setenv(name+"_FILE", args[0]+"/store/blobs/"+sum[:2]+"/"+sum[2:4]+"/"+sum)
		return sum
	}
	say := func(stream es.Stream, facts ...any) {
		m := es.Meta{Key: "blobs/" + string(stream), Actor: es.ActorEffect, Identity: string(storytest.Buyer), Grade: es.GradeSelf}
		_, err := l.Log.Append(ctx, m, nil, es.Facts{Stream: stream, Expected: es.Any, Facts: facts})
		ts.Check(err)
	}
	d := storytest.First
	output := batch.CommandOutput{ActivityID: d.Activity, BatchID: d.Batch, Format: batch.Str, Stream: batch.Stdout, Blob: &batch.Blob{Bytes: 26, SHA256: put("OUTPUT", "a long output of a command")}}
	say(es.StreamOf(batch.Category, batch.StreamID(identity.Requestor, d.Activity, d.Batch)), output, output)
	say("tx-560048-"+es.Stream(storytest.Buyer)+"-9", tx.ProofKept{Address: string(storytest.Buyer), Blob: put("PROOF", `{"a kept":"proof"}`), ChainID: 560048, Nonce: 9, Size: 18})
	ts.Check(l.Close())
}
