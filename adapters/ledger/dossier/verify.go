package dossier

import (
	"fmt"
	"sync"
	"time"

	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/delegation"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/domain/payment/payment"
)

// Trust is what a verifier believes beforehand: at least one identity or key.
type Trust struct {
	Identities []identity.NodeID
	Keys       []verify.Key
	// Blocks are hashes of blocks that are known to be in their chain. None =
	// the block is left for the reader to look up.
	Blocks [][32]byte
}

// checker answers the claims about one dossier.
type checker struct {
	Dossier
	size       int // of the file, in bytes
	trust      Trust
	report     Report
	vouched    []vouched
	owner      identity.NodeID
	key        verify.Key
	checkpoint ledger.Checkpoint
	facts      []fact
	deal       deal
	// What several claims rest on is looked at once.
	letters   func() answer
	documents func() ([]payment.Document, answer)
	sightings func() ([]seen, answer)
}

// vouched is an attestation that holds.
type vouched struct {
	delegation.Document
}

func (v vouched) at(t time.Time) bool { return v.ValidAt(t) == nil }

// answer is the outcome of one claim.
type answer struct {
	verdict Verdict
	says    string
}

func proved(format string, args ...any) answer { return answer{Proved, fmt.Sprintf(format, args...)} }

func disproved(format string, args ...any) answer {
	return answer{Disproved, fmt.Sprintf(format, args...)}
}

func missing(format string, args ...any) answer { return answer{Missing, fmt.Sprintf(format, args...)} }

// claims are all claims in order, and how each is answered. docs/formats.md
// says when each is proved.
var claims = []struct {
	name   string
	answer func(c *checker) answer
}{
	{ClaimContainer, (*checker).container},
	{ClaimKeys, (*checker).keys},
	{ClaimLogKey, (*checker).logKey},
	{ClaimLogSigned, (*checker).logSigned},
	{ClaimLogEvents, (*checker).logEvents},
	{ClaimLogStreams, (*checker).streams},
	{ClaimLogComplete, (*checker).complete},
	{ClaimParties, (*checker).parties},
	{ClaimAgreementID, (*checker).agreementID},
	{ClaimProposals, (*checker).proposals},
	{ClaimRequestor, func(c *checker) answer {
		return c.statements("requestor", c.deal.terms.Requestor, stageProposed, stageCommitted)
	}},
	{ClaimProvider, func(c *checker) answer { return c.statements("provider", c.deal.terms.Provider, stageApproved) }},
	{ClaimMessages, func(c *checker) answer { return c.letters() }},
	{ClaimCommands, (*checker).commands},
	{ClaimNotesMonotone, (*checker).monotone},
	{ClaimNotesUsage, (*checker).usage},
	{ClaimNotesPrice, (*checker).price},
	{ClaimInvoice, (*checker).invoice},
	{ClaimAccepted, (*checker).accepted},
	{ClaimPaymentSigned, (*checker).paymentSigned},
	{ClaimPaymentAmount, (*checker).paymentAmount},
	{ClaimPaymentChain, (*checker).paymentChain},
	{ClaimCosignedAgreement, func(c *checker) answer { return c.cosigned(ClaimCosignedAgreement) }},
	{ClaimCosignedBills, func(c *checker) answer { return c.cosigned(ClaimCosignedBills) }},
	{ClaimCosignedPayments, func(c *checker) answer { return c.cosigned(ClaimCosignedPayments) }},
	{ClaimConflicts, (*checker).conflicts},
	{ClaimBracket, (*checker).bracket},
}

// foundations is how many claims, from the first, must be proved before
// anything that the events say counts.
const foundations = 5

// Verify answers what a dossier proves to somebody who believes t.
func Verify(b []byte, t Trust) Report {
	d, _, err := parse(b)
	c := &checker{Dossier: d, size: len(b), trust: t}
	if err != nil {
		c.say(ClaimContainer, disproved("%v", err))
		for _, x := range claims[1:] {
			c.say(x.name, missing("there is no whole dossier"))
		}
		return c.report
	}
	c.letters, c.documents, c.sightings = sync.OnceValue(c.readLetters), sync.OnceValues(c.readDocuments), sync.OnceValues(c.readSightings)
	c.report.Agreement, c.report.Side = d.Agreement, d.Side
	for i, x := range claims {
		if i < foundations || c.founded() {
			c.say(x.name, x.answer(c))
			continue
		}
		c.say(x.name, missing("it rests on what is not proved above"))
	}
	return c.report
}

// container answers for a file that could be read; else nothing is asked.
func (c *checker) container() answer {
	return proved("the file is whole: %d events, %d bytes", len(c.Events), c.size)
}

// Page says whether the page in a container is the one that this build makes
// of its content. It is no claim, since a page proves nothing.
func Page(b []byte) bool {
	d, page, err := parse(b)
	if err != nil {
		return false
	}
	own, err := d.page()
	return err == nil && string(own) == string(page)
}

func (c *checker) say(name string, a answer) {
	c.report.Claims = append(c.report.Claims, Claim{Claim: name, Says: a.says, Verdict: a.verdict})
}

func (c *checker) founded() bool {
	for _, a := range c.report.Claims[:foundations] {
		if a.Verdict != Proved {
			return false
		}
	}
	return true
}
