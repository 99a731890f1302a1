package story

import (
	"context"
	"regexp"
	"strings"

	"github.com/emet-node/emet/domain/es"
)

// entry is what the index keeps of a fact: where it is and what it names.
type entry struct {
	stream es.Stream
	cause  *es.Position
	key    string
	names  []string // ids, in its data
	deals  []string // those of them that are agreements
	moves  []string // those of them that are transfers of a settlement
}

// index is the log as far as stories need it.
type index struct {
	facts    []entry
	byStream map[es.Stream][]es.Position
	byName   map[string][]es.Position
	ids      map[string]bool // that a story can be asked of
}

// named finds the members of a fact that hold ids. Foreign JSON is text inside
// a fact, so its quotes are escaped and it does not match.
var named = regexp.MustCompile(`"([A-Za-z]+)":(?:"([0-9A-Za-z:/._-]{1,200})"|\[((?:"[0-9A-Za-z:/._-]{1,200}",?)+)\])`)

// identifiers are the members by which facts name each other, and whether a
// story can be asked of them.
var identifiers = map[string]bool{
	"agreementId": true, "negotiationId": true, "negotiation": true, "proposalId": true, "demandId": true, "offerId": true,
	"activityId": true, "activityIds": true, "batchId": true, "debitNoteId": true, "invoiceId": true, "documentId": true,
	"allocationId": true, "orderId": true, "paymentId": true, "txHash": true, "hash": true, "intentId": false, "intents": false,
	"alias": false, "subscription": false,
}

func scan(ctx context.Context, log *es.Log) (*index, error) {
	ix := &index{byStream: make(map[es.Stream][]es.Position), byName: make(map[string][]es.Position), ids: make(map[string]bool)}
	for r, err := range log.ReadAll(ctx, 0, es.Filter{}) {
		if err != nil {
			return nil, err
		}
		ix.add(r)
	}
	return ix, nil
}

func (ix *index) add(r es.Recorded) {
	e := entry{stream: r.Stream, cause: r.Info.Cause, key: r.Info.Key}
	if category(r.Stream) != "" {
		for _, m := range named.FindAllSubmatch(r.Event.Data, -1) {
			member := string(m[1])
			ask, ok := identifiers[member]
			if !ok || member == "hash" && !strings.HasPrefix(r.Type, "tx.") || member == "alias" && !strings.HasPrefix(r.Type, "activity.") {
				continue
			}
			for _, id := range values(string(m[2]), string(m[3])) {
				e.name(member, id)
				if ask {
					ix.ids[id] = true
				}
			}
		}
		if id := own(r.Stream); id != "" {
			ix.ids[id] = true
		}
	}
	for len(ix.facts) < int(r.Position) { //nolint:gosec // a log in memory is small; positions are dense but for what a reader skipped
		ix.facts = append(ix.facts, entry{})
	}
	ix.facts = append(ix.facts, e)
	ix.byStream[r.Stream] = append(ix.byStream[r.Stream], r.Position)
	for _, n := range e.names {
		ix.byName[n] = append(ix.byName[n], r.Position)
	}
}

func values(one, many string) []string {
	if many == "" {
		return []string{one}
	}
	return strings.Split(strings.ReplaceAll(many, `"`, ""), ",")
}

func (e *entry) name(member, id string) {
	for _, n := range e.names {
		if n == id {
			return
		}
	}
	e.names = append(e.names, id)
	switch member {
	case "agreementId":
		e.deals = append(e.deals, id)
	case "intentId", "intents":
		e.moves = append(e.moves, id)
	}
}

// categories of streams that stories are made of, and which part of the
// stream's id is the id of the thing itself.
func category(s es.Stream) string {
	switch c := s.Category(); c {
	case "agreement", "bill", "activity", "batch", "usage", "negotiation", "demand", "offer", "inbox",
		"allocation", "order", "tx", "payment", "wallet":
		return c
	}
	return ""
}

// own is the id of the thing that a stream is about.
func own(s es.Stream) string {
	parts := strings.Split(s.Key(), "-")
	switch category(s) {
	case "agreement", "bill", "activity", "usage":
		if len(parts) == 2 {
			return parts[1]
		}
	case "batch":
		if len(parts) == 3 {
			return parts[2]
		}
	case "payment":
		return parts[len(parts)-1]
	case "negotiation", "demand", "offer", "allocation", "order":
		return s.Key()
	}
	return ""
}
