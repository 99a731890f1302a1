package verifier

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
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

// examiner looks at one dossier.
type examiner struct {
	*file
	trust  Trust
	keys   []logKey
	words  []delegation
	owner  string
	key    *logKey
	note   note
	leaves []leaf
	facts  []fact
	gaps   bool // events of a stream are left out
	sights []sight
	story
	// What several claims rest on is looked at once.
	letters   func() verdict
	documents func() ([]document, verdict)
	cover     func() (uint64, verdict)
}

// Names are all claims, in the order of the answers.
var Names = []string{
	"container", "keys", "log.key", "log.signed", "log.events", "log.streams", "log.complete", "parties", "agreement.id", "agreement.proposals",
	"agreement.requestor", "agreement.provider", "peer.messages", "work.commands", "notes.monotone", "notes.usage", "notes.price",
	"invoice.amount", "bills.accepted", "payment.signed", "payment.amount", "payment.chain", "cosigned.agreement", "cosigned.bills", "cosigned.payments",
	"peer.conflicts", "time.bracket",
}

// first is how many claims carry all others.
const first = 5

// Verify answers all claims. An error says that a key in t cannot be read.
func Verify(b []byte, t Trust) ([]Claim, error) {
	x := &examiner{trust: t}
	x.letters, x.documents, x.cover = sync.OnceValue(x.readMessages), sync.OnceValues(x.readDocuments), sync.OnceValues(x.readCosigned)
	for _, text := range t.Keys {
		k, err := parseKey(text)
		if err != nil {
			return nil, err
		}
		x.keys = append(x.keys, k)
	}
	answers := map[string]func() verdict{
		"container": func() verdict { return x.container(b) }, "keys": x.attestations, "log.key": x.logKey, "log.signed": x.logSigned,
		"log.events": x.logEvents, "log.streams": x.logStreams, "log.complete": x.complete, "parties": x.parties, "agreement.id": x.agreementID,
		"agreement.proposals": x.lastProposals, "peer.messages": func() verdict { return x.letters() }, "work.commands": x.commands, "notes.monotone": x.monotone,
		"notes.usage": x.usage, "notes.price": x.price, "invoice.amount": x.invoiceAmount, "bills.accepted": x.billsAccepted,
		"payment.signed": x.paymentSigned, "payment.amount": x.paymentAmount, "payment.chain": x.paymentChain,
		"agreement.requestor": func() verdict { return x.statements(x.terms.Requestor, "proposed", "committed") },
		"agreement.provider":  func() verdict { return x.statements(x.terms.Provider, "approved") },
		"cosigned.agreement":  func() verdict { return x.seen("agreement") },
		"cosigned.bills":      func() verdict { return x.seen("bills") },
		"cosigned.payments":   func() verdict { return x.seen("payments") },
		"peer.conflicts":      x.conflicts, "time.bracket": x.bracket,
	}
	out := make([]Claim, 0, len(Names))
	for i, name := range Names {
		v := lacks("it rests on what is not proved")
		if i == 0 || x.file != nil && (i < first || x.founded(out)) {
			v = answers[name]()
		}
		out = append(out, Claim{name, v.is, v.why})
	}
	return out, nil
}

// founded says whether the claims that carry all others are proved.
func (x *examiner) founded(answers []Claim) bool {
	return !slices.ContainsFunc(answers[:first], func(c Claim) bool { return c.Verdict != Proved })
}

func (x *examiner) container(b []byte) verdict {
	f, err := open(b)
	if err != nil {
		return no("%v", err)
	}
	x.file = f
	return yes
}

func (x *examiner) attestations() verdict {
	for i, a := range x.Attestations {
		d, ok := a.vouch()
		if !ok {
			return no("attestation %d is not what it says", i)
		}
		if i > 0 && x.Attestations[i-1].Document >= a.Document {
			return no("attestation %d is out of order", i)
		}
		x.words = append(x.words, d)
	}
	return yes
}

func (x *examiner) logKey() verdict {
	n, err := readNote(x.Checkpoint)
	if err != nil {
		return no("%v", err)
	}
	f := strings.Split(n.origin, "/")
	if len(f) != 3 || f[0] != "emet" || !nodeID.MatchString(f[1]) || len(f[2]) != 32 || !hexText.MatchString(f[2]) {
		return no("the log belongs to no identity")
	}
	x.owner = f[1]
	var named *logKey
	for i := range x.keys {
		if x.keys[i].origin == n.origin && named == nil {
			named = &x.keys[i]
		}
	}
	x.key = named
	last := time.Time{}
	if len(x.Events) > 0 {
		if l, err := readLeaf(x.Events[len(x.Events)-1].Header); err == nil {
			last = l.recorded
		}
	}
	contradicted, late := false, false
	for _, d := range x.words {
		k, ok := d.log()
		if !ok || d.Subject != n.origin || d.Identity != x.owner {
			continue
		}
		switch {
		case named != nil && !bytes.Equal(named.public, k.public):
			contradicted = true
		case !d.covers(last):
			late = true
		case named != nil || slices.Contains(x.trust.Identities, x.owner):
			x.key = &k
			return yes
		}
	}
	switch {
	case contradicted:
		return no("the owner vouches for another key")
	case late:
		return no("nobody vouched for the key at the time")
	case named != nil:
		return yes
	}
	return lacks("nobody who is trusted vouches for the key")
}

func (x *examiner) logSigned() verdict {
	if x.key == nil {
		return lacks("there is no key")
	}
	n, err := readNote(x.Checkpoint)
	if err != nil || !n.signed(*x.key) {
		return no("the checkpoint is not signed")
	}
	x.note = n
	return yes
}

func (x *examiner) logEvents() verdict {
	if x.note.text == "" {
		return lacks("there is no signed checkpoint")
	}
	if len(x.Events) == 0 {
		return no("there is no event")
	}
	for i, e := range x.Events {
		l, err := readLeaf(e.Header)
		switch {
		case err != nil:
			return no("event %d: %v", i, err)
		case !l.in(x.note, x.hashes(e.Inclusion)):
			return no("event %d is not in the log", i)
		case i > 0 && l.position <= x.leaves[i-1].position:
			return no("event %d is out of order", i)
		case (e.MetaSalt != nil || e.Meta != "") && !commits(l.meta, e.MetaSalt, []byte(e.Meta)):
			return no("event %d has other metadata", i)
		}
		data, ok := e.content(l)
		if !ok {
			return no("event %d has other content", i)
		}
		x.leaves = append(x.leaves, l)
		x.facts = append(x.facts, fact{leaf: l, data: data})
	}
	x.story = tell(x.facts, x.Side, x.Agreement)
	return yes
}

// content is the open content of an event, nil when it is withheld.
func (e event) content(l leaf) (data []byte, ok bool) {
	if e.DataSalt == nil {
		return nil, e.Data == "" && e.Bytes == nil && e.Key == nil
	}
	if !l.sealed {
		return []byte(e.Data), e.Bytes == nil && e.Key == nil && commits(l.data, e.DataSalt, []byte(e.Data))
	}
	if e.Data != "" || e.Bytes == nil || !commits(l.data, e.DataSalt, e.Bytes) {
		return nil, false
	}
	if e.Key == nil {
		return nil, true
	}
	data, err := l.unseal(e.Key, e.Bytes)
	return data, err == nil
}

func (x *examiner) logStreams() verdict {
	last := map[string]leaf{}
	for i, l := range x.leaves {
		if i > 0 && !l.recorded.After(x.leaves[i-1].recorded) {
			return no("position %d was recorded before its predecessor", l.position)
		}
		before, begun := last[l.stream]
		last[l.stream] = l
		want := uint64(0)
		if begun {
			want = before.revision + 1
		}
		switch {
		case l.revision < want:
			return no("%s: revision %d is out of order", l.stream, l.revision)
		case l.revision > want:
			x.gaps = x.gaps || l.stream != "$log" // of which only blocks are shown
		case begun && l.previous != before.hash || !begun && l.previous != [32]byte{}:
			return no("%s: revision %d does not continue what is before it", l.stream, l.revision)
		}
	}
	if x.gaps {
		return lacks("events are left out")
	}
	return yes
}

// complete says whether the owner stands by the whole.
func (x *examiner) complete() verdict {
	sum := sha256.Sum256(append([]byte("emet/dossier/1\x00"), x.canonical(nil)...))
	switch {
	case x.Signature == nil:
		return lacks("the owner has not signed it")
	case !ed25519.Verify(x.key.public, sum[:], x.Signature):
		return no("the owner signed something else")
	}
	return yes
}

func (x *examiner) parties() verdict {
	switch {
	case x.agreements == 0:
		return lacks("the agreement is not shown")
	case x.agreements > 1:
		return no("the agreement is there more than once")
	case x.id != x.Agreement:
		return no("the events are about another agreement")
	case x.party() != x.owner:
		return no("the owner of the log is not the party")
	}
	for _, id := range x.trust.Identities {
		if id != x.terms.Requestor && id != x.terms.Provider {
			return no("%s is no party", id)
		}
	}
	return yes
}

// party and other are the two sides, the owner's first.
func (x *examiner) party() string {
	if x.Side == "R" {
		return x.terms.Requestor
	}
	return x.terms.Provider
}

func (x *examiner) other() string {
	if x.Side == "R" {
		return x.terms.Provider
	}
	return x.terms.Requestor
}

// seen says whether the other party stands by having seen the last of a group.
func (x *examiner) seen(group string) verdict {
	if x.agreements != 1 {
		return lacks("the agreement is not shown once")
	}
	cover, v := x.cover()
	if v.is != Proved {
		return v
	}
	if at, ok := x.newest[group]; !ok || at >= cover {
		return lacks("no cosigned checkpoint covers it")
	}
	return yes
}

// readCosigned is how many events the other party stands by having seen.
func (x *examiner) readCosigned() (cover uint64, v verdict) {
	for i, c := range x.Cosigned {
		n, err := readNote(c.Checkpoint)
		if err != nil || !n.signed(*x.key) || n.size <= cover || n.size > x.note.size || !continues(n, x.note, x.hashes(c.Consistency)) {
			return 0, no("cosigned checkpoint %d does not hold", i)
		}
		at, ok := x.cosignedBy(n)
		if !ok {
			return 0, no("cosigned checkpoint %d is not cosigned", i)
		}
		cover = n.size
		x.sights = append(x.sights, sight{n.size, at})
	}
	return cover, yes
}

// sight is a moment at which the other party had seen so many events.
type sight struct {
	size uint64
	at   time.Time
}

func (x *examiner) cosignedBy(n note) (time.Time, bool) {
	for _, d := range x.words {
		if k, ok := d.log(); ok && d.Identity == x.other() {
			if at, ok := n.cosigned(k); ok && d.covers(at) {
				return at, true
			}
		}
	}
	return time.Time{}, false
}
