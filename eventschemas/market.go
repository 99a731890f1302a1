package eventschemas

import (
	"github.com/emet-node/emet/domain/market/agreement"
	"github.com/emet-node/emet/domain/market/demand"
	"github.com/emet-node/emet/domain/market/inbox"
	"github.com/emet-node/emet/domain/market/negotiation"
	"github.com/emet-node/emet/domain/market/offer"
)

var marketFacts = []entry{
	reg[agreement.Created]("agreement.created.v1"),
	reg[agreement.ConfirmationRequested]("agreement.confirmation_requested.v1"),
	reg[agreement.Confirmed]("agreement.confirmed.v1"),
	reg[agreement.ConfirmationFailed]("agreement.confirmation_failed.v1"),
	reg[agreement.ApprovalReceived]("agreement.approval_received.v1"),
	reg[agreement.CommitRequested]("agreement.commit_requested.v1"),
	reg[agreement.CommitFailed]("agreement.commit_failed.v1"),
	reg[agreement.Received]("agreement.received.v1"),
	reg[agreement.ApprovalRequested]("agreement.approval_requested.v1"),
	reg[agreement.ApprovalDelivered]("agreement.approval_delivered.v1"),
	reg[agreement.ApprovalFailed]("agreement.approval_failed.v1"),
	reg[agreement.Approved]("agreement.approved.v1"),
	reg[agreement.Rejected]("agreement.rejected.v1"),
	reg[agreement.Cancelled]("agreement.cancelled.v1"),
	reg[agreement.Terminated]("agreement.terminated.v1"),
	reg[agreement.NoticeDelivered]("agreement.notice_delivered.v1"),
	reg[agreement.NoticeAbandoned]("agreement.notice_abandoned.v1"),
	reg[agreement.Expired]("agreement.expired.v1"),

	reg[demand.Published]("demand.published.v1"),
	reg[demand.Withdrawn]("demand.withdrawn.v1"),
	reg[demand.Expired]("demand.expired.v1"),

	reg[inbox.Delivered]("inbox.delivered.v1"),

	reg[negotiation.Opened]("negotiation.opened.v1"),
	reg[negotiation.CounterRequested]("negotiation.counter_requested.v1"),
	reg[negotiation.CounterDelivered]("negotiation.counter_delivered.v1"),
	reg[negotiation.CounterFailed]("negotiation.counter_failed.v1"),
	reg[negotiation.CounterReceived]("negotiation.counter_received.v1"),
	reg[negotiation.RejectionRequested]("negotiation.rejection_requested.v1"),
	reg[negotiation.RejectionDelivered]("negotiation.rejection_delivered.v1"),
	reg[negotiation.RejectionAbandoned]("negotiation.rejection_abandoned.v1"),
	reg[negotiation.RejectionReceived]("negotiation.rejection_received.v1"),
	reg[negotiation.Decided]("negotiation.decided.v1"),
	reg[negotiation.Promoted]("negotiation.promoted.v1"),
	reg[negotiation.Closed]("negotiation.closed.v1"),

	reg[offer.Published]("offer.published.v1"),
	reg[offer.Withdrawn]("offer.withdrawn.v1"),
	reg[offer.Expired]("offer.expired.v1"),
}
