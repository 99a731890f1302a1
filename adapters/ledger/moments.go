package ledger

// moments are the types of events that are signed at once, since they are what
// people will want to prove: who agreed to what, what was used, asked for and
// paid. The names are those of eventschemas; a test holds them against it.
var moments = []string{
	"agreement.approved.v1",
	"agreement.terminated.v1",
	"activity.terminated.v1",
	"bill.note_issued.v1",
	"bill.note_received.v1",
	"bill.note_accepted.v1",
	"bill.note_accepted_by_peer.v1",
	"bill.invoice_issued.v1",
	"bill.invoice_received.v1",
	"bill.invoice_accepted.v1",
	"bill.invoice_accepted_by_peer.v1",
	"payment.signed.v1",
	"payment.verified.v1",
}

// unlocked is when an identity can vouch for the log's key.
const unlocked = "identity.unlocked.v1"
