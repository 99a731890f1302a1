package verifier

import (
	"bytes"
	"encoding/json"
	"time"
)

// conflict is a pair of checkpoints of the other party that cannot both be true.
type conflict struct {
	First   string `json:"first"`
	Kind    string `json:"kind"`
	Message []byte `json:"message"`
	Second  string `json:"second"`
}

// before is the order of conflicts.
func (c conflict) before(d conflict) bool {
	return c.First < d.First || c.First == d.First && c.Second < d.Second
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
		if i > 0 && !x.Conflicts[i-1].before(c) {
			return no("conflict %d is out of order", i)
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

// conflict says whether one pair contradicts itself.
func (x *examiner) conflict(c conflict) verdict {
	first, second, v := x.bothSigned(c)
	if v.is != Proved {
		return v
	}
	seen, ok := first.cosigned(*x.key)
	if !ok || first.broken {
		return no("the owner did not cosign the first one")
	}
	var offered *offer
	if c.Message != nil {
		if offered, v = x.offered(c); v.is != Proved {
			return v
		}
	}
	switch {
	case c.Kind == "forked" && first.size == second.size && !bytes.Equal(first.root, second.root):
		return yes
	case c.Kind == "forked" && second.size > first.size:
		return offered.forks(first, second)
	case c.Kind == "rolled-back" && second.size > 0 && second.size < first.size:
		return offered.rollsBack(seen)
	}
	return no("the two do not contradict each other so")
}

// bothSigned reads the two checkpoints, which one key of the other party signed
// under the origin of the first one.
func (x *examiner) bothSigned(c conflict) (first, second note, v verdict) {
	first, err := readNote(c.First)
	if err != nil {
		return first, second, no("%v", err)
	}
	second, err = readNote(c.Second)
	known := false
	for _, d := range x.delegations {
		if k, ok := d.log(); ok && d.Identity == x.other() && d.Subject == first.origin {
			if err == nil && first.signed(k) && second.signed(k) {
				return first, second, yes
			}
			known = true
		}
	}
	if !known {
		return first, second, lacks("nobody vouches for the other party's log")
	}
	return first, second, no("the other party did not sign both")
}

// offer is the message in which the second checkpoint came: the sender says
// that it continues a log of From events.
type offer struct {
	Consistency [][]byte `json:"consistency"`
	From        int64    `json:"from"`
	Note        string   `json:"note"`
	sent        time.Time
}

func (x *examiner) offered(c conflict) (*offer, verdict) {
	m, v := x.delivered(c.Message, "evidence.cosign")
	if v.is != Proved {
		return nil, v
	}
	o := &offer{sent: m.sent}
	if json.Unmarshal(m.body, o) != nil || o.Note != c.Second {
		return nil, no("the message is about something else")
	}
	return o, yes
}

// forks says whether the offer of a longer log is a false proof.
func (o *offer) forks(first, second note) verdict {
	switch {
	case o == nil:
		return lacks("the message is not shown")
	case o.From < 0 || uint64(o.From) != first.size:
		return no("the message is about another beginning")
	case continues(first, second, o.Consistency):
		return no("the longer one continues the shorter one")
	}
	return yes
}

// rollsBack says whether a shorter log was offered after a longer one was seen.
func (o *offer) rollsBack(seen time.Time) verdict {
	switch {
	case o == nil:
		return lacks("the message is not shown")
	case !o.sent.After(seen):
		return lacks("the shorter one may be the older one")
	}
	return yes
}
