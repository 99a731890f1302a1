package verifier

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"slices"
	"strings"
	"time"
)

// attestations checks every delegation of the dossier.
func (x *examiner) attestations() verdict {
	for i, a := range x.Attestations {
		d, ok := a.vouch()
		if !ok {
			return no("attestation %d is not what it says", i)
		}
		if i > 0 && x.Attestations[i-1].Document >= a.Document {
			return no("attestation %d is out of order", i)
		}
		x.delegations = append(x.delegations, d)
	}
	return yes
}

// logKey finds the key that counts for the log: one that is trusted, or one
// that its trusted owner vouches for.
func (x *examiner) logKey() verdict {
	n, err := readNote(x.Checkpoint)
	if err != nil {
		return no("%v", err)
	}
	owner, ok := ownerOf(n.origin)
	if !ok {
		return no("the log belongs to no identity")
	}
	x.owner = owner
	if i := slices.IndexFunc(x.keys, func(k logKey) bool { return k.origin == n.origin }); i >= 0 {
		x.key = &x.keys[i]
	}
	return x.vouchedKey(n.origin)
}

// ownerOf reads an origin: emet/<node id>/<log id>.
func ownerOf(origin string) (id string, ok bool) {
	f := strings.Split(origin, "/")
	if len(f) != 3 || f[0] != "emet" || len(f[2]) != 32 || !hexText.MatchString(f[2]) {
		return "", false
	}
	return f[1], nodeID.MatchString(f[1])
}

// vouchedKey asks the owner's delegations for the key of its log.
func (x *examiner) vouchedKey(origin string) verdict {
	named, last := x.key, x.lastRecorded()
	contradicted, late := false, false
	for _, d := range x.delegations {
		k, ok := d.log()
		if !ok || d.Subject != origin || d.Identity != x.owner {
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

// lastRecorded is when the last event was written down, as it says itself;
// zero when it cannot be read.
func (x *examiner) lastRecorded() time.Time {
	if len(x.Events) == 0 {
		return time.Time{}
	}
	l, err := readLeaf(x.Events[len(x.Events)-1].Header)
	if err != nil {
		return time.Time{}
	}
	return l.recorded
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

// logEvents finds every event in the log and reads what is shown of it.
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

// logStreams follows the events of each stream from one to the next.
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
