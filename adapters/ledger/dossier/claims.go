package dossier

// Verdict answers a claim.
type Verdict string

// The verdicts.
const (
	Proved    Verdict = "proved"
	Disproved Verdict = "disproved"
	Missing   Verdict = "missing" // nothing speaks against it, something that it needs is not there
)

// The claims, in the order in which they are answered.
const (
	ClaimContainer         = "container"
	ClaimKeys              = "keys"
	ClaimLogKey            = "log.key"
	ClaimLogSigned         = "log.signed"
	ClaimLogEvents         = "log.events"
	ClaimLogStreams        = "log.streams"
	ClaimLogComplete       = "log.complete"
	ClaimParties           = "parties"
	ClaimAgreementID       = "agreement.id"
	ClaimProposals         = "agreement.proposals"
	ClaimRequestor         = "agreement.requestor"
	ClaimProvider          = "agreement.provider"
	ClaimMessages          = "peer.messages"
	ClaimCommands          = "work.commands"
	ClaimNotesMonotone     = "notes.monotone"
	ClaimNotesUsage        = "notes.usage"
	ClaimNotesPrice        = "notes.price"
	ClaimInvoice           = "invoice.amount"
	ClaimAccepted          = "bills.accepted"
	ClaimPaymentSigned     = "payment.signed"
	ClaimPaymentAmount     = "payment.amount"
	ClaimPaymentChain      = "payment.chain"
	ClaimCosignedAgreement = "cosigned.agreement"
	ClaimCosignedBills     = "cosigned.bills"
	ClaimCosignedPayments  = "cosigned.payments"
	ClaimConflicts         = "peer.conflicts"
	ClaimBracket           = "time.bracket"
)

// Claim is one answer. Says is for people.
type Claim struct {
	Claim   string  `json:"claim"`
	Says    string  `json:"says"`
	Verdict Verdict `json:"verdict"`
}

// Report is what a dossier proves.
type Report struct {
	Agreement string      `json:"agreement,omitzero"`
	Claims    []Claim     `json:"claims"`
	Log       string      `json:"log,omitzero"` // origin of the log
	Side      string      `json:"side,omitzero"`
	Withheld  []Withholds `json:"withheld,omitzero"`
}

// Withholds names content that a dossier does not show.
type Withholds struct {
	Position uint64 `json:"position"`
	Stream   string `json:"stream"`
	Type     string `json:"type"`
	What     string `json:"what"` // "data", "meta", "key"
}

// Verdict is the worst of the answers: a claim disproved, else one missing.
func (r Report) Verdict() Verdict {
	worst := Proved
	for _, c := range r.Claims {
		switch c.Verdict {
		case Disproved:
			return Disproved
		case Missing:
			worst = Missing
		case Proved:
		}
	}
	return worst
}

// Of returns the answer to a claim.
func (r Report) Of(name string) Verdict {
	for _, c := range r.Claims {
		if c.Claim == name {
			return c.Verdict
		}
	}
	return Missing
}
