package payments

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"github.com/emet-node/emet/adapters/effects"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/peer"
)

// A document is refused for good by the rules only. Trouble of this node is no
// answer, and says nothing about the node.
func TestOnlyTheRulesRefuseADocument(t *testing.T) {
	t.Parallel()
	for err, code := range map[error]peer.Code{
		bill.ErrOtherTerms: peer.BadRequest, &bill.WrongStatus{}: peer.BadRequest, &bill.InvoiceTooSmall{}: peer.BadRequest, es.ErrTooLarge: peer.BadRequest,
		bill.ErrUnknownDocument: peer.NotFound, identity.ErrForbidden: peer.Forbidden, &peer.Refusal{Code: peer.Busy}: peer.Busy,
	} {
		if no, ok := effects.RefusalOf(refusal(fmt.Errorf("bill-R-1: %w", err))); !ok || no.Code != code {
			t.Errorf("%v: %v, want %s", err, no, code)
		}
	}
	for _, err := range []error{
		es.ErrClosed, es.ErrConflict, es.ErrCommitUnknown, es.ErrDegraded, es.ErrCorrupt, errors.New("segment 7: input/output error"),
		&fs.PathError{Op: "read", Path: "/home/op/.local/share/emet/store/seg/0.elog", Err: fs.ErrPermission},
	} {
		if no, ok := effects.RefusalOf(refusal(fmt.Errorf("bill-R-1: %w", err))); ok {
			t.Errorf("%v is told as %v", err, no)
		}
	}
}
