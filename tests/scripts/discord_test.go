package scripts

import (
	"encoding/base64"
	"fmt"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/emet-node/emet/cmd/emet/node"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/contact"
	"github.com/emet-node/emet/domain/ledger"
)

// discord DIR adds to a log that another node contradicts itself in three ways,
// and that this node has lost some of its own history.
func discord(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: discord dir")
	}
	ctx, cancel := deadline()
	defer cancel()
	l, err := node.OpenLedger(ctx, node.Options{Dir: ts.MkAbs(args[0])})
	ts.Check(err)
	other := identity.NodeID("0x" + strings.Repeat("b2", 20))
	note := func(log string, size int, root byte) string {
		text := fmt.Sprintf("emet/%s/%s\n%d\n%s\n\n", other, strings.Repeat(log, 16), size, base64.StdEncoding.EncodeToString([]byte(strings.Repeat(string(root), 32))))
		return text + "— signed AAAAAAAA\n"
	}
	found := []any{
		contact.ConflictFound{First: note("c3", 40, 'a'), Kind: contact.Forked, Node: other, Origin: "c3", Raw: []byte("an envelope"), Second: note("c3", 40, 'b')},
		contact.ConflictFound{First: note("c3", 40, 'a'), Kind: contact.RolledBack, Node: other, Origin: "c3", Raw: []byte("{}"), Second: note("c3", 30, 'c')},
		contact.ConflictFound{First: note("c3", 40, 'a'), Kind: contact.Replaced, Node: other, Origin: "d4", Second: note("d4", 7, 'd')},
	}
	_, err = l.Log.Append(ctx, es.Meta{Key: "conflicts"}, nil, es.Facts{Stream: es.StreamOf(contact.Category, string(other)), Expected: es.Any, Facts: found})
	ts.Check(err)
	_, err = l.Log.Append(ctx, es.Meta{Key: "frozen"}, nil, es.Facts{Stream: ledger.LogStream, Expected: es.Any, Facts: []any{
		ledger.Frozen{Kind: ledger.Cosigned, LogID: strings.Repeat("e5", 16), Node: other, Note: note("e5", 900, 'e'), Signed: 900, Size: 92},
	}})
	ts.Check(err)
	ts.Check(l.Close())
}
