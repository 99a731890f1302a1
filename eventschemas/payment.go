package eventschemas

import (
	"github.com/emet-node/emet/domain/payment/allocation"
	"github.com/emet-node/emet/domain/payment/bill"
	"github.com/emet-node/emet/domain/payment/cycle"
	"github.com/emet-node/emet/domain/payment/order"
	"github.com/emet-node/emet/domain/payment/payment"
	"github.com/emet-node/emet/domain/payment/tx"
	"github.com/emet-node/emet/domain/payment/wallet"
)

var paymentFacts = []entry{
	reg[allocation.Created]("allocation.created.v1"),
	reg[allocation.Amended]("allocation.amended.v1"),
	reg[allocation.Committed]("allocation.committed.v1"),
	reg[allocation.Spent]("allocation.spent.v1"),
	reg[allocation.Released]("allocation.released.v1"),
	reg[allocation.Expired]("allocation.expired.v1"),

	reg[bill.Opened]("bill.opened.v1"),
	reg[bill.NoteIssued]("bill.note_issued.v1"),
	reg[bill.InvoiceIssued]("bill.invoice_issued.v1"),
	reg[bill.NoteDelivered]("bill.note_delivered.v1"),
	reg[bill.NoteUndeliverable]("bill.note_undeliverable.v1"),
	reg[bill.InvoiceDelivered]("bill.invoice_delivered.v1"),
	reg[bill.InvoiceUndeliverable]("bill.invoice_undeliverable.v1"),
	reg[bill.NoteReceived]("bill.note_received.v1"),
	reg[bill.InvoiceReceived]("bill.invoice_received.v1"),
	reg[bill.NoteAccepted]("bill.note_accepted.v1"),
	reg[bill.InvoiceAccepted]("bill.invoice_accepted.v1"),
	reg[bill.AcceptanceDelivered]("bill.acceptance_delivered.v1"),
	reg[bill.AcceptanceRefused]("bill.acceptance_refused.v1"),
	reg[bill.NoteRejected]("bill.note_rejected.v1"),
	reg[bill.InvoiceRejected]("bill.invoice_rejected.v1"),
	reg[bill.NoteCancelled]("bill.note_cancelled.v1"),
	reg[bill.InvoiceCancelled]("bill.invoice_cancelled.v1"),
	reg[bill.NoticeDelivered]("bill.notice_delivered.v1"),
	reg[bill.NoticeAbandoned]("bill.notice_abandoned.v1"),
	reg[bill.NoteAcceptedByPeer]("bill.note_accepted_by_peer.v1"),
	reg[bill.InvoiceAcceptedByPeer]("bill.invoice_accepted_by_peer.v1"),
	reg[bill.NoteRejectedByPeer]("bill.note_rejected_by_peer.v1"),
	reg[bill.InvoiceRejectedByPeer]("bill.invoice_rejected_by_peer.v1"),
	reg[bill.NoteCancelledByPeer]("bill.note_cancelled_by_peer.v1"),
	reg[bill.InvoiceCancelledByPeer]("bill.invoice_cancelled_by_peer.v1"),
	reg[bill.Scheduled]("bill.scheduled.v1"),
	reg[bill.Paid]("bill.paid.v1"),
	reg[bill.PaymentReversed]("bill.payment_reversed.v1"),
	reg[bill.Settled]("bill.settled.v1"),
	reg[bill.Unsettled]("bill.unsettled.v1"),
	reg[bill.Flagged]("bill.flagged.v1"),

	reg[cycle.Configured]("cycle.configured.v1"),
	reg[cycle.RunRequested]("cycle.run_requested.v1"),

	reg[order.Opened]("order.opened.v1"),
	reg[order.IntentRecorded]("order.intent_recorded.v1"),
	reg[order.BatchSealed]("order.batch_sealed.v1"),
	reg[order.BatchReturned]("order.batch_returned.v1"),
	reg[order.TransferAdopted]("order.transfer_adopted.v1"),
	reg[order.Completed]("order.completed.v1"),

	reg[payment.SigningRequested]("payment.signing_requested.v1"),
	reg[payment.Signed]("payment.signed.v1"),
	reg[payment.SigningFailed]("payment.signing_failed.v1"),
	reg[payment.DeliveryRequested]("payment.delivery_requested.v1"),
	reg[payment.Delivered]("payment.delivered.v1"),
	reg[payment.Refused]("payment.refused.v1"),
	reg[payment.Claimed]("payment.claimed.v1"),
	reg[payment.Verified]("payment.verified.v1"),
	reg[payment.Disproved]("payment.disproved.v1"),
	reg[payment.Finalised]("payment.finalised.v1"),
	reg[payment.Reversed]("payment.reversed.v1"),

	reg[tx.Planned]("tx.planned.v1"),
	reg[tx.SigningRequested]("tx.signing_requested.v1"),
	reg[tx.Signed]("tx.signed.v1"),
	reg[tx.SigningFailed]("tx.signing_failed.v1"),
	reg[tx.Replaced]("tx.replaced.v1"),
	reg[tx.BroadcastRequested]("tx.broadcast_requested.v1"),
	reg[tx.Broadcast]("tx.broadcast.v1"),
	reg[tx.Included]("tx.included.v1"),
	reg[tx.Finalised]("tx.finalised.v1"),
	reg[tx.Reverted]("tx.reverted.v1"),
	reg[tx.Superseded]("tx.superseded.v1"),
	reg[tx.Orphaned]("tx.orphaned.v1"),

	reg[wallet.Opened]("wallet.opened.v1"),
	reg[wallet.FundsObserved]("wallet.funds_observed.v1"),
	reg[wallet.FundsReserved]("wallet.funds_reserved.v1"),
	reg[wallet.FundsReturned]("wallet.funds_returned.v1"),
	reg[wallet.FundsSpent]("wallet.funds_spent.v1"),
	reg[wallet.NonceReserved]("wallet.nonce_reserved.v1"),
	reg[wallet.AllowanceObserved]("wallet.allowance_observed.v1"),
	reg[wallet.HealthChanged]("wallet.health_changed.v1"),
	reg[wallet.ForeignNonceSeen]("wallet.foreign_nonce_seen.v1"),
	reg[wallet.TransferLearned]("wallet.transfer_learned.v1"),
	reg[wallet.SpendingSuspended]("wallet.spending_suspended.v1"),
	reg[wallet.SpendingResumed]("wallet.spending_resumed.v1"),
	reg[wallet.FundRequested]("wallet.fund_requested.v1"),
	reg[wallet.Funded]("wallet.funded.v1"),
	reg[wallet.FundFailed]("wallet.fund_failed.v1"),
}
