// Package delegation is the one document by which an identity says that
// another key speaks for it: the host key of a node on the network, the key
// that signs its log's checkpoints, the key of one activity. docs/formats.md
// gives it byte by byte.
package delegation

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
)

// Role is what the key may do in the identity's name.
type Role string

// The roles.
const (
	Host     Role = "host"     // hold sessions with other nodes; Subject is the libp2p PeerID
	Log      Role = "log"      // sign checkpoints; Subject is the log's origin line
	Activity Role = "activity" // sign what an exe-unit says; Subject is the activity id
)

// Limits of a document.
const (
	MaxBytes   = 4096
	maxKey     = 128 // bytes
	maxSubject = 256 // bytes
	// MaxSkew is how wrong another node's clock may be.
	MaxSkew = 5 * time.Minute
	// MaxHostTime is how long a host key may be delegated at once: what was
	// stolen is of no use after it.
	MaxHostTime = 30 * 24 * time.Hour
)

// Document is what is signed. Times are whole seconds since 1970. Chain is the
// id of the chain whose deals the key is used for, 0 for all of them. The
// fields are in the order of the canonical JSON.
type Document struct {
	Chain     uint64          `json:"chain"`
	Identity  identity.NodeID `json:"identity"`
	NotAfter  int64           `json:"notAfter"`
	NotBefore int64           `json:"notBefore"`
	PublicKey string          `json:"publicKey"` // lower-case hex
	Role      Role            `json:"role"`
	Subject   string          `json:"subject"`
}

// Refusals.
var (
	ErrMalformed = errors.New("delegation is malformed")
	ErrNotValid  = errors.New("delegation is not valid at this time")
)

// Canonical is the JSON that travels and is kept (RFC 8785).
func (d Document) Canonical() ([]byte, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	return es.CanonicalJSON(d)
}

// Parse reads a document. It refuses anything but the canonical form, so that
// one document has one spelling.
func Parse(b []byte) (Document, error) {
	var d Document
	if len(b) > MaxBytes {
		return d, fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(b), MaxBytes)
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&d); err != nil {
		return d, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	again, err := d.Canonical()
	if err != nil {
		return d, err
	}
	if !bytes.Equal(again, b) {
		return d, fmt.Errorf("%w: it is not in canonical form", ErrMalformed)
	}
	return d, nil
}

func (d Document) check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
	}
	if id, err := identity.ParseNodeID(string(d.Identity)); err != nil || id != d.Identity {
		return bad("identity %q", d.Identity)
	}
	if key, err := hex.DecodeString(d.PublicKey); err != nil || len(key) == 0 || len(key) > maxKey || hex.EncodeToString(key) != d.PublicKey {
		return bad("public key: want 1 to %d bytes in lower-case hexadecimal", maxKey)
	}
	switch {
	case d.Role != Host && d.Role != Log && d.Role != Activity:
		return bad("role %q", d.Role)
	case len(d.Subject) == 0 || len(d.Subject) > maxSubject:
		return bad("subject has %d bytes, want 1 to %d", len(d.Subject), maxSubject)
	case d.NotBefore < 0 || d.NotAfter <= d.NotBefore || d.NotAfter >= 1<<53 || d.Chain >= 1<<53:
		return bad("notBefore %d, notAfter %d, chain %d", d.NotBefore, d.NotAfter, d.Chain)
	case d.Role == Host && d.NotAfter-d.NotBefore > int64(MaxHostTime/time.Second):
		return bad("a host key is delegated for at most %s", MaxHostTime)
	}
	return nil
}

// ValidAt says whether the document counts at a moment. Clocks differ, so the
// beginning may lie up to [MaxSkew] in the future.
func (d Document) ValidAt(at time.Time) error {
	if at.Add(MaxSkew).Unix() < d.NotBefore || at.Unix() > d.NotAfter {
		return fmt.Errorf("%w: from %s to %s, now %s", ErrNotValid, clock(d.NotBefore), clock(d.NotAfter), clock(at.Unix()))
	}
	return nil
}

func clock(unix int64) string { return time.Unix(unix, 0).UTC().Format(time.RFC3339) }
