package verifier

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

// conflict is a pair of checkpoints of the other party.
type conflict struct {
	First   string `json:"first"`
	Kind    string `json:"kind"`
	Message []byte `json:"message"`
	Second  string `json:"second"`
}

func (c conflict) fields(o *object) {
	o.text("first", c.First)
	o.text("kind", c.Kind)
	o.bytes("message", c.Message)
	o.text("second", c.Second)
}

const maxConflicts = 16

// conflicts says whether every pair contradicts itself.
func (x *examiner) conflicts() verdict {
	if x.agreements != 1 {
		return notShown
	}
	if len(x.Conflicts) > maxConflicts {
		return no("there are too many conflicts")
	}
	worst := yes
	for i, c := range x.Conflicts {
		if i > 0 {
			p := x.Conflicts[i-1]
			if p.First > c.First || p.First == c.First && p.Second >= c.Second {
				return no("conflict %d is out of order", i)
			}
		}
		switch v := x.conflict(c); v.is {
		case Disproved:
			return v
		case Missing:
			worst = v
		}
	}
	return worst
}

func (x *examiner) conflict(c conflict) verdict {
	first, err := readNote(c.First)
	if err != nil {
		return no("%v", err)
	}
	second, err := readNote(c.Second)
	keys, both := 0, false
	for _, d := range x.words {
		if k, ok := d.log(); ok && d.Identity == x.other() && d.Subject == first.origin {
			keys++
			both = both || err == nil && first.signed(k) && second.signed(k)
		}
	}
	switch {
	case keys == 0:
		return lacks("nobody vouches for the other party's log")
	case !both:
		return no("the other party did not sign both")
	}
	at, ok := first.cosigned(*x.key)
	if !ok || first.broken {
		return no("the owner did not cosign the first one")
	}
	var m message
	var said struct {
		Consistency [][]byte `json:"consistency"`
		From        int64    `json:"from"`
		Note        string   `json:"note"`
	}
	if c.Message != nil {
		var v verdict
		if m, v = x.delivered(c.Message, "evidence.cosign"); v.is != Proved {
			return v
		}
		if json.Unmarshal(m.body, &said) != nil || said.Note != c.Second {
			return no("the message is about something else")
		}
	}
	forked, shorter := c.Kind == "forked", c.Kind == "rolled-back" && second.size > 0 && second.size < first.size
	switch {
	case forked && first.size == second.size && !bytes.Equal(first.root, second.root):
		return yes
	case forked && second.size > first.size, shorter:
		if c.Message == nil {
			return lacks("the message is not shown")
		}
	default:
		return no("the two do not contradict each other so")
	}
	switch {
	case shorter && !m.sent.After(at):
		return lacks("the shorter one may be the older one")
	case shorter:
		return yes
	case said.From < 0 || uint64(said.From) != first.size:
		return no("the message is about another beginning")
	case continues(first, second, said.Consistency):
		return no("the longer one continues the shorter one")
	}
	return yes
}

// delivered opens a message of one of some kinds from the other party to the owner.
func (x *examiner) delivered(b []byte, kinds string) (message, verdict) {
	m, ok := readMessage(b)
	if !ok || m.from != x.other() || m.to != x.owner || !slices.Contains(strings.Fields(kinds), m.kind) {
		return m, no("it is no such message of the other party")
	}
	hosts := 0
	for _, d := range x.words {
		if k, ok := d.ed25519(); ok && d.Role == "host" && d.Identity == m.from && d.covers(m.sent) {
			hosts++
			if ed25519.Verify(k, m.digest[:], m.sig) {
				return m, yes
			}
		}
	}
	if hosts == 0 {
		return m, lacks("nobody vouches for a host of the other party")
	}
	return m, no("the message was not signed")
}

// moment is a block that the log names.
type moment struct {
	position uint64
	made     time.Time
}

// readMoment checks that a block's header is the one that is named.
func readMoment(f fact) (m moment, ok bool) {
	var said struct {
		Block   int64  `json:"block"`
		ChainID int64  `json:"chainId"`
		Hash    string `json:"hash"`
		Header  []byte `json:"header"`
		LogID   string `json:"logId"`
	}
	if json.Unmarshal(f.data, &said) != nil || said.Hash != "0x"+hex.EncodeToString(keccak(said.Header)) {
		return m, false
	}
	h, err := decode(said.Header)
	if err != nil || len(h.list) < 15 {
		return m, false
	}
	number, ok1 := h.list[8].number()
	made, ok2 := h.list[11].number()
	if !ok1 || !ok2 || number >= 1<<63 || int64(number) != said.Block || made >= 1<<53 { //nolint:gosec // checked before
		return m, false
	}
	return moment{f.position, time.Unix(int64(made), 0)}, true //nolint:gosec // below 2^53
}

// number reads a whole number without leading zeros.
func (i item) number() (n uint64, ok bool) {
	if i.is || len(i.text) > 8 || len(i.text) > 0 && i.text[0] == 0 {
		return 0, false
	}
	for _, b := range i.text {
		n = n<<8 | uint64(b)
	}
	return n, true
}

// bracket says whether every step of the deal lies between a block and a
// cosignature.
func (x *examiner) bracket() verdict {
	if x.agreements != 1 {
		return notShown
	}
	if _, v := x.cover(); v.is != Proved {
		return v
	}
	var blocks []moment
	for _, f := range x.facts {
		if f.stream == "$log" && f.kind == "$log.beacon.v2" && f.data != nil {
			m, ok := readMoment(f)
			if !ok {
				return no("position %d names a block that is another", f.position)
			}
			blocks = append(blocks, m)
		}
	}
	if _, ok := x.newest["agreement"]; !ok {
		return lacks("there is no approval")
	}
	worst := yes
	for _, group := range []string{"agreement", "bills", "payments"} {
		at, ok := x.newest[group]
		if !ok {
			continue
		}
		var since, until *time.Time
		for i := range blocks {
			if blocks[i].position < at {
				since = &blocks[i].made
			}
		}
		for i := range x.sights {
			if until == nil && at < x.sights[i].size {
				until = &x.sights[i].at
			}
		}
		switch {
		case since == nil || until == nil:
			worst = lacks("the %s lie between no two moments", group)
		case since.After(until.Add(5 * time.Minute)):
			return no("the %s were cosigned before a block that the log names before them", group)
		}
	}
	return worst
}
