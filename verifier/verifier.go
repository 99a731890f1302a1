package verifier

import (
	"fmt"
	"slices"
	"sync"
)

// Trust is what is believed beforehand: at least one identity or key.
type Trust struct {
	Identities []string   // node ids, lower case
	Keys       []string   // verifier keys of logs
	Blocks     [][32]byte // hashes of blocks that are in their chain
}

// Verdicts.
const (
	Proved    = "proved"
	Disproved = "disproved"
	Missing   = "missing"
)

// Claim is one answer; Why is set when it is not proved.
type Claim struct {
	Claim   string `json:"claim"`
	Verdict string `json:"verdict"`
	Why     string `json:"why,omitempty"`
}

// verdict is an answer before it has a name.
type verdict struct{ is, why string }

var yes = verdict{is: Proved}

func no(format string, args ...any) verdict { return verdict{Disproved, fmt.Sprintf(format, args...)} }

func lacks(format string, args ...any) verdict {
	return verdict{Missing, fmt.Sprintf(format, args...)}
}

// examiner looks at one dossier. What one claim finds others go on from.
type examiner struct {
	bytes []byte
	trust Trust
	keys  []logKey // those that are trusted
	*file          // once it was opened

	delegations []delegation // those that hold
	owner       string
	key         *logKey // of the owner's log
	note        note    // under which the events are
	leaves      []leaf
	facts       []fact
	gaps        bool // events of a stream are left out
	story
	sights []sight

	// What several claims rest on is looked at once.
	messages  func() verdict
	documents func() ([]document, verdict)
	cover     func() (uint64, verdict)
}

// claims are all claims in the order of the answers, and who answers them.
var claims = []struct {
	name   string
	answer func(x *examiner) verdict
}{
	{"container", (*examiner).container},
	{"keys", (*examiner).attestations},
	{"log.key", (*examiner).logKey},
	{"log.signed", (*examiner).logSigned},
	{"log.events", (*examiner).logEvents},
	{"log.streams", (*examiner).logStreams},
	{"log.complete", (*examiner).complete},
	{"parties", (*examiner).parties},
	{"agreement.id", (*examiner).agreementID},
	{"agreement.proposals", (*examiner).lastProposals},
	{"agreement.requestor", func(x *examiner) verdict { return x.statements(x.terms.Requestor, "proposed", "committed") }},
	{"agreement.provider", func(x *examiner) verdict { return x.statements(x.terms.Provider, "approved") }},
	{"peer.messages", func(x *examiner) verdict { return x.messages() }},
	{"work.commands", (*examiner).commands},
	{"notes.monotone", (*examiner).monotone},
	{"notes.usage", (*examiner).usage},
	{"notes.price", (*examiner).price},
	{"invoice.amount", (*examiner).invoiceAmount},
	{"bills.accepted", (*examiner).billsAccepted},
	{"payment.signed", (*examiner).paymentSigned},
	{"payment.amount", (*examiner).paymentAmount},
	{"payment.chain", (*examiner).paymentChain},
	{"cosigned.agreement", func(x *examiner) verdict { return x.seen("agreement") }},
	{"cosigned.bills", func(x *examiner) verdict { return x.seen("bills") }},
	{"cosigned.payments", func(x *examiner) verdict { return x.seen("payments") }},
	{"peer.conflicts", (*examiner).conflicts},
	{"time.bracket", (*examiner).bracket},
}

// first is how many claims carry all others.
const first = 5

// Verify answers all claims in the order of docs/formats.md; those that rest
// on what is not proved are missing. An error says that a key in t cannot be
// read.
func Verify(b []byte, t Trust) ([]Claim, error) {
	x := &examiner{bytes: b, trust: t}
	x.messages, x.documents, x.cover = sync.OnceValue(x.readMessages), sync.OnceValues(x.readDocuments), sync.OnceValues(x.readCosigned)
	for _, text := range t.Keys {
		k, err := parseKey(text)
		if err != nil {
			return nil, err
		}
		x.keys = append(x.keys, k)
	}
	out := make([]Claim, 0, len(claims))
	for i, c := range claims {
		v := lacks("it rests on what is not proved")
		if i == 0 || x.file != nil && (i < first || founded(out)) {
			v = c.answer(x)
		}
		out = append(out, Claim{c.name, v.is, v.why})
	}
	return out, nil
}

// founded says whether the claims that carry all others are proved.
func founded(answers []Claim) bool {
	return !slices.ContainsFunc(answers[:first], func(c Claim) bool { return c.Verdict != Proved })
}

func (x *examiner) container() verdict {
	f, err := open(x.bytes)
	if err != nil {
		return no("%v", err)
	}
	x.file = f
	return yes
}
