package verifier

import "time"

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

// readCosigned checks all cosigned checkpoints and is how many events the other party stands by having seen.
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

// cosignedBy is when a key of the other party cosigned a checkpoint.
func (x *examiner) cosignedBy(n note) (time.Time, bool) {
	for _, d := range x.delegations {
		if k, ok := d.log(); ok && d.Identity == x.other() {
			if at, ok := n.cosigned(k); ok && d.covers(at) {
				return at, true
			}
		}
	}
	return time.Time{}, false
}
