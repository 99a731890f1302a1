package store

import (
	"iter"

	"github.com/emet-node/emet/domain/es"
)

// Limit passes at most n events (0 = all).
func Limit(events iter.Seq2[es.Event, error], n int) iter.Seq2[es.Event, error] {
	if n <= 0 {
		return events
	}
	return func(yield func(es.Event, error) bool) {
		left := n
		for e, err := range events {
			if left--; !yield(e, err) || err != nil || left == 0 {
				return
			}
		}
	}
}

// Span turns the arguments of [es.Store.ReadStream] into the revisions
// [from, to) of a stream whose last one is last.
func Span(from, last es.Revision, d es.Direction) (lo, hi es.Revision) {
	if d == es.Forward {
		return max(from, 0), last + 1
	}
	if from < 0 || from > last {
		from = last
	}
	return 0, from + 1
}

// SpanAll turns the arguments of [es.Store.ReadAll] into positions [lo, hi).
func SpanAll(from, head es.Position, d es.Direction) (lo, hi es.Position) {
	if d == es.Forward {
		return min(from, head), head
	}
	if from >= head {
		return 0, head
	}
	return 0, from + 1
}
