package crash

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/tests/built"
)

// tell prints what is needed to find out why a deal did not come out as it
// should have: of each process how it lived and what it wrote last, and of each
// node its last facts, how the deal came about and what is open in it.
func (w *world) tell(t *testing.T, d deal) {
	t.Helper()
	t.Logf("the deal: %+v", d)
	t.Logf("%s; it wrote\n%s", w.chain.summary(), w.chain.tail(10))
	for _, p := range []*process{w.requestor, w.provider} {
		t.Logf("%s; it wrote\n%s\nand into its log\n%s", p.summary(), p.tail(30), built.Faulty.Tell(p.dir, 60, p.stuck(d)...))
	}
}

// stuck are the ids whose stories say why a node does not go on: that of the
// deal as far as it came, and those of what is open besides.
func (p *process) stuck(d deal) []string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	b, err := p.read(ctx)
	if err != nil {
		return nil
	}
	known := func(id string) bool {
		return id != "" && slices.ContainsFunc(b.facts, func(r es.Recorded) bool { return strings.Contains(string(r.Stream), id) })
	}
	var ids []string
	for _, id := range []string{d.agreement, d.demand, d.allocation} {
		if known(id) {
			ids = append(ids, id)
			break
		}
	}
	for _, r := range b.open() {
		if id := r.Info.Correlation; id != "" && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids[:min(len(ids), 5)]
}
