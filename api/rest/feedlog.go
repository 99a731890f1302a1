package rest

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/ledger"
)

// lineageOf reads which log this is. A log without $log says nothing, and its
// feeds have bare positions as ids.
func lineageOf(ctx context.Context, l *es.Log) (out ledger.Lineage, err error) {
	for r, err := range l.ReadStream(ctx, ledger.LogStream, 0) {
		if err != nil {
			return out, err
		}
		out = out.Evolve(r.Data)
	}
	return out, nil
}

// markOf names a log in the ids of its feeds.
func markOf(l ledger.Lineage) string {
	if l.ID == "" {
		return ""
	}
	return fmt.Sprintf("@%s.%d", l.ID, l.Epoch)
}

// resume reads from where a reader wants to go on: a position, or the id of an
// event that names its log too. One that is not of this log is refused with 409,
// for the reader has heard what this log does not say.
func (f *feed) resume(name, text string, l ledger.Lineage) (at int64, err error) {
	position, mark, marked := strings.Cut(text, "@")
	id, epoch, _ := strings.Cut(mark, ".")
	at, err = strconv.ParseInt(position, 10, 64)
	if marked && err == nil {
		if _, err = strconv.ParseInt(epoch, 10, 64); id == "" {
			err = strconv.ErrSyntax
		}
	}
	if err != nil || at < -1 {
		return 0, badQuery("%s: want the position or the id of the last event that was seen, got %.120q", name, text)
	}
	if !marked {
		return at, nil
	}
	switch shared, known := l.Shared(id); {
	case !known:
		return 0, problem(http.StatusConflict, "%s: %d is a position of log %.40s, this is log %s; nothing is known of what that one said. Begin anew with after=-1, or with after=now", name, at, id, l.ID)
	case at >= int64(shared):
		return 0, problem(http.StatusConflict, "%s: %d is a position of log %s, of which this log, %s, took over %d facts when it was restored; what came after them is not in it. Go on with after=%d%s", name, at, id, l.ID, shared, int64(shared)-1, markOf(l))
	}
	return at, nil
}
