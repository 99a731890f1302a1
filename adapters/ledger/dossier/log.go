package dossier

import (
	"crypto/ed25519"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emet-node/emet/adapters/ledger/verify"
	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/identity/delegation"
	"github.com/emet-node/emet/domain/ledger"
)

// keys checks every attestation.
func (c *checker) keys() answer {
	last := ""
	for i, a := range c.Attestations {
		d, err := delegation.Parse([]byte(a.Document))
		switch {
		case err != nil:
			return disproved("attestation %d: %v", i, err)
		case d.Role != delegation.Log && d.Role != delegation.Host:
			return disproved("attestation %d is of role %q", i, d.Role)
		case i > 0 && a.Document <= last:
			return disproved("attestation %d is out of order", i)
		}
		who, err := verify.Recover(d.Digest(verify.Keccak), a.Signature)
		if err != nil || who != d.Identity {
			return disproved("attestation %d is not signed by %s", i, d.Identity)
		}
		last = a.Document
		c.vouched = append(c.vouched, vouched{d})
	}
	return proved("%d keys are vouched for by the identities that own them", len(c.vouched))
}

// logKey finds the key that counts for the log: one that was named, or one that
// its owner, who was named, vouches for.
func (c *checker) logKey() answer {
	origin, _, _, err := verify.ParseCheckpoint([]byte(c.Checkpoint))
	if err != nil {
		return disproved("%v", err)
	}
	c.report.Log = origin
	owner, ok := ownerOf(origin)
	if !ok {
		return disproved("%q is no log of an identity", origin)
	}
	c.owner = owner
	named := c.trust.key(origin)
	if named != nil {
		c.key = *named
	}
	return c.vouchedKey(origin, named)
}

// vouchedKey asks the attestations of the owner for the key of its log.
func (c *checker) vouchedKey(origin string, named *verify.Key) answer {
	var late, other bool
	for _, v := range c.vouched {
		key, err := verify.LogKey(v.Document)
		if err != nil || v.Subject != origin || v.Identity != c.owner {
			continue
		}
		switch {
		case named != nil && !named.Public.Equal(key.Public):
			other = true
		case !v.at(c.lastRecorded()):
			late = true
		case named != nil || slices.Contains(c.trust.Identities, c.owner):
			c.key = key
			return proved("%s vouches for the key of its log", c.owner)
		}
	}
	switch {
	case other:
		return disproved("the owner vouches for another key than the one named")
	case late:
		return disproved("no attestation was valid when the last event was recorded")
	case named != nil:
		return proved("the log's key was named")
	}
	return missing("nobody who was named vouches for the log of %s", c.owner)
}

func (t Trust) key(origin string) *verify.Key {
	for i := range t.Keys {
		if t.Keys[i].Name == origin {
			return &t.Keys[i]
		}
	}
	return nil
}

// lastRecorded is when the last event says it was recorded; zero if that
// cannot be read, which another claim tells.
func (c *checker) lastRecorded() time.Time {
	if len(c.Events) == 0 {
		return time.Time{}
	}
	return headerOf(c.Events[len(c.Events)-1]).Recorded
}

// headerOf reads the header of an event without asking which tree it is in;
// what cannot be read is zero.
func headerOf(e Event) verify.Leaf {
	l, _ := verify.Header(e.Header, nil, ledger.Checkpoint{}) //nolint:errcheck // it is in no tree of nothing
	return l
}

// Owner is who says to keep the log of a dossier, "" when nobody does.
func Owner(d Dossier) identity.NodeID {
	origin, _, _, _ := verify.ParseCheckpoint([]byte(d.Checkpoint)) //nolint:errcheck // nobody owns what cannot be read
	id, _ := ownerOf(origin)
	return id
}

// ownerOf is in whose name an origin line is.
func ownerOf(origin string) (identity.NodeID, bool) {
	parts := strings.Split(origin, "/")
	if len(parts) != 3 || parts[0] != "emet" || len(parts[2]) != 32 || strings.Trim(parts[2], "0123456789abcdef") != "" {
		return "", false
	}
	id, err := identity.ParseNodeID(parts[1])
	return id, err == nil && string(id) == parts[1]
}

func (c *checker) logSigned() answer {
	if c.key.Name == "" {
		return missing("there is no key to check it with")
	}
	under, err := verify.Checkpoint([]byte(c.Checkpoint), c.key)
	if err != nil {
		return disproved("%v", err)
	}
	c.checkpoint = under
	return proved("the log of %d events with the root %s is signed", c.checkpoint.Size, c.checkpoint.Root)
}

// logEvents checks every event by itself and reads what it says.
func (c *checker) logEvents() answer {
	if c.checkpoint.Note == nil {
		return missing("there is no signed log to find them in")
	}
	if len(c.Events) == 0 {
		return disproved("there is no event")
	}
	for i, e := range c.Events {
		l, err := verify.Header(e.Header, c.proof(e.Inclusion), c.checkpoint)
		if err != nil {
			return disproved("event %d of the dossier: %v", i, err)
		}
		if i > 0 && l.Position <= c.facts[i-1].Position {
			return disproved("event %d of the dossier is out of order", i)
		}
		f, err := c.shown(e, l)
		if err != nil {
			return disproved("position %d: %v", l.Position, err)
		}
		c.facts = append(c.facts, f)
	}
	c.deal = dealOf(c.facts, c.Side, c.Agreement)
	if n := len(c.report.Withheld); n > 0 {
		return proved("%d events are in it, with the content that they commit to; %d contents are withheld", len(c.facts), n)
	}
	return proved("%d events are in it, with the content that they commit to", len(c.facts))
}

// shown reads an event as far as its content is shown.
func (c *checker) shown(e Event, l verify.Leaf) (fact, error) {
	if err := c.shownMeta(e, l); err != nil {
		return fact{Leaf: l}, err
	}
	data, err := c.shownData(e, l)
	return fact{Leaf: l, data: data}, err
}

// withhold notes content that is not shown.
func (c *checker) withhold(l verify.Leaf, what string) {
	c.report.Withheld = append(c.report.Withheld, Withholds{
		Position: uint64(l.Position), Stream: string(l.Stream), Type: l.Type, What: what,
	})
}

func (c *checker) shownMeta(e Event, l verify.Leaf) error {
	switch {
	case e.MetaSalt != nil:
		return l.Meta(e.MetaSalt, []byte(e.Meta))
	case e.Meta != "":
		return fmt.Errorf("%w: metadata without a salt", ErrMalformed)
	}
	c.withhold(l, "meta")
	return nil
}

// shownData is the open content of an event, nil when it is withheld or its
// seal is not opened.
func (c *checker) shownData(e Event, l verify.Leaf) ([]byte, error) {
	content := []byte(e.Data)
	if e.Bytes != nil {
		content = e.Bytes
	}
	switch {
	case e.Data != "" && e.Bytes != nil, e.Bytes != nil && !l.Sealed, e.Bytes == nil && l.Sealed && e.DataSalt != nil:
		return nil, fmt.Errorf("%w: content of the wrong kind", ErrMalformed)
	case e.DataSalt == nil && (len(content) > 0 || e.Key != nil):
		return nil, fmt.Errorf("%w: content without a salt", ErrMalformed)
	case e.DataSalt == nil:
		c.withhold(l, "data")
		return nil, nil
	}
	if err := l.Data(e.DataSalt, content); err != nil {
		return nil, err
	}
	switch {
	case !l.Sealed && e.Key != nil:
		return nil, fmt.Errorf("%w: a key for content that is not sealed", ErrMalformed)
	case !l.Sealed:
		return content, nil
	case e.Key == nil:
		c.withhold(l, "key")
		return nil, nil
	}
	return openSealed(e.Key, l, content)
}

// streams checks that nothing is left out between the events of a stream.
func (c *checker) streams() answer {
	type head struct {
		revision es.Revision
		leaf     es.Hash
	}
	heads := make(map[es.Stream]head)
	gap := ""
	for i, f := range c.facts {
		if i > 0 && !f.Recorded.After(c.facts[i-1].Recorded) {
			return disproved("position %d was recorded no later than the event before it", f.Position)
		}
		h, begun := heads[f.Stream]
		switch {
		case begun && f.Revision <= h.revision, f.Revision < 0:
			return disproved("%s: revision %d comes after %d", f.Stream, f.Revision, h.revision)
		case !begun && f.Revision == 0 && f.PrevInStream != es.Hash{}, begun && f.Revision == h.revision+1 && f.PrevInStream != h.leaf:
			return disproved("%s: revision %d does not continue the one before", f.Stream, f.Revision)
		case f.Stream == ledger.LogStream: // of which only the blocks are shown
		case !begun && f.Revision != 0, begun && f.Revision != h.revision+1:
			gap = fmt.Sprintf("%s: something is left out before revision %d", f.Stream, f.Revision)
		}
		heads[f.Stream] = head{f.Revision, f.Hash}
	}
	if gap != "" {
		return missing("%s", gap)
	}
	return proved("nothing is left out between the events of %d streams", len(heads))
}

// complete checks that the owner stands by the dossier as a whole.
func (c *checker) complete() answer {
	if c.Signature == nil {
		return missing("the owner has not signed that this is all")
	}
	text, err := c.signedText()
	if err != nil || !ed25519.Verify(c.key.Public, text, c.Signature) {
		return disproved("it is not what the owner of the log signed")
	}
	return proved("the owner signed that this is all that its log of %d events holds about the deal", c.checkpoint.Size)
}
