package verify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
	"github.com/emet-node/emet/domain/ledger"
	"github.com/emet-node/emet/domain/peer"
)

// Format names the form of [File].
const Format = "emet/event-proof/1"

// MaxBytes is how large a file may be.
const MaxBytes = 48 << 20

// File is one event with everything that is needed to check it, as it is
// handed to others.
type File struct {
	Attestation *Attestation `json:"attestation,omitzero"`
	Checkpoint  string       `json:"checkpoint"`
	Event       Content      `json:"event"`
	Format      string       `json:"format"`
	Inclusion   [][]byte     `json:"inclusion"`
}

// Attestation is the delegation by which an identity vouches for the key of
// the log.
type Attestation struct {
	Document  string `json:"document"`
	Signature []byte `json:"signature"`
}

// Content is a [ledger.Entry] in writing.
type Content struct {
	Data     []byte `json:"data"`
	DataSalt []byte `json:"dataSalt"`
	Header   []byte `json:"header"`
	Meta     []byte `json:"meta"`
	MetaSalt []byte `json:"metaSalt"`
}

// Encode writes a file.
func (f File) Encode() ([]byte, error) {
	f.Format = Format
	b, err := es.CanonicalJSON(f)
	return append(b, '\n'), err
}

// Parse reads a file. It refuses all but the one spelling that [File.Encode]
// gives it.
func Parse(b []byte) (File, error) {
	var f File
	if len(b) > MaxBytes {
		return f, fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(b), MaxBytes)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return f, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if f.Format != Format {
		return f, fmt.Errorf("%w: format %q, want %q", ErrMalformed, f.Format, Format)
	}
	again, err := f.Encode()
	if err != nil || !bytes.Equal(again, b) {
		return f, fmt.Errorf("%w: it is not in canonical form", ErrMalformed)
	}
	return f, nil
}

// Trust is what a verifier believes beforehand. Key or Identity must be set;
// when both are, both must hold.
type Trust struct {
	// Key is the key of the log, the zero Key = the one that Identity vouches for.
	Key Key
	// Identity is who must have vouched for the key, "" = nobody.
	Identity identity.NodeID
}

// Verdict is what a checked file proves.
type Verdict struct {
	Fact       Fact
	Checkpoint ledger.Checkpoint
	Key        Key
	// Identity vouched for the key, "" = the file does not say. NotBefore and
	// NotAfter are between which times it did.
	Identity            identity.NodeID
	NotBefore, NotAfter time.Time
}

// Check checks a file. Every error is one of the refusals of this package.
func Check(b []byte, t Trust) (Verdict, error) {
	f, err := Parse(b)
	if err != nil {
		return Verdict{}, err
	}
	var v Verdict
	if err := v.attested(f.Attestation, t); err != nil {
		return Verdict{}, err
	}
	if v.Checkpoint, err = Checkpoint([]byte(f.Checkpoint), v.Key); err != nil {
		return Verdict{}, err
	}
	e := ledger.Entry{Data: f.Event.Data, DataSalt: f.Event.DataSalt, Header: f.Event.Header, Meta: f.Event.Meta, MetaSalt: f.Event.MetaSalt}
	inclusion := make([]es.Hash, len(f.Inclusion))
	for i, h := range f.Inclusion {
		if len(h) != len(inclusion[i]) {
			return Verdict{}, fmt.Errorf("%w: a hash of %d bytes", ErrMalformed, len(h))
		}
		inclusion[i] = es.Hash(h)
	}
	if v.Fact, err = Event(e, inclusion, v.Checkpoint); err != nil {
		return Verdict{}, err
	}
	return v, nil
}

// attested finds the key of the log and who stands behind it. A wrong
// attestation is refused even if the key alone would do.
func (v *Verdict) attested(a *Attestation, t Trust) error {
	v.Key = t.Key
	switch {
	case t.Key.Name == "" && t.Identity == "":
		return ErrNoTrust
	case a == nil && t.Identity == "":
		return nil
	case a == nil:
		return fmt.Errorf("%w: the file has no attestation by %s", ErrAttested, t.Identity)
	}
	d, key, err := Vouched(peer.Delegation{Document: a.Document, Signature: a.Signature})
	switch {
	case err != nil:
		return err
	case t.Identity != "" && d.Identity != t.Identity:
		return fmt.Errorf("%w: signed by %s, want %s", ErrAttested, d.Identity, t.Identity)
	case t.Key.Name != "" && (t.Key.Name != key.Name || !t.Key.Public.Equal(key.Public)):
		return fmt.Errorf("%w: the attestation is for another key", ErrAttested)
	}
	v.Key, v.Identity = key, d.Identity
	v.NotBefore, v.NotAfter = time.Unix(d.NotBefore, 0).UTC(), time.Unix(d.NotAfter, 0).UTC()
	return nil
}
