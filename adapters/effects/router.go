package effects

import (
	"context"
	"errors"
	"fmt"

	"github.com/emet-node/emet/domain/es"
)

// A Handler carries out commands on the streams of one category.
// *es.Aggregate is one.
type Handler interface {
	Handle(ctx context.Context, id string, cmd any, m es.Meta) error
}

// Router finds the handler of an order by its category.
type Router map[string]Handler

// Do carries out an order.
func (r Router) Do(ctx context.Context, o es.Order, m es.Meta) error {
	h, ok := r[o.Category]
	if !ok {
		return fmt.Errorf("order %T for %s-%s: nobody handles that category", o.Command, o.Category, o.ID)
	}
	return h.Handle(ctx, o.ID, o.Command, m)
}

// transient says whether an error is about the store or the moment, so that
// trying the same command again makes sense. Everything else is a refusal of
// the rules, which stays a refusal.
func transient(err error) bool {
	for _, t := range []error{
		es.ErrConflict, es.ErrCommitUnknown, es.ErrDegraded, es.ErrClosed, es.ErrTrouble,
		context.Canceled, context.DeadlineExceeded,
	} {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}
