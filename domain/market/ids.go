package market

import (
	"crypto/sha3"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/emet-node/emet/domain/identity"
)

// Content is what a subscription id is the hash of. The texts are exactly the
// published ones.
type Content struct {
	Properties, Constraints string
	Owner                   identity.NodeID
	Created, Expires        time.Time
}

// hashTime prints a time the way ids hash it: date, hour, minute, and then the
// nanoseconds of the second in nine digits. The seconds are not in it. Every
// node of the network recomputes hashes with this form.
func hashTime(t time.Time) string {
	t = t.UTC()
	return t.Format("2006-01-02 15:04:") + fmt.Sprintf("%09d", t.Nanosecond())
}

// Hash is the second half of the subscription id: SHA3-256 in 64 lower-case
// hexadecimal digits.
func (c Content) Hash() string {
	h := sha3.New256()
	h.Write([]byte(c.Properties))
	h.Write([]byte(c.Constraints))
	owner := c.Owner.Bytes()
	h.Write(owner[:])
	h.Write([]byte(hashTime(c.Created) + hashTime(c.Expires)))
	return hex.EncodeToString(h.Sum(nil))
}

// SubscriptionID is the id of an offer or demand: prefix (32 hexadecimal
// digits, random) and the hash of its content.
func SubscriptionID(prefix string, c Content) string { return prefix + "-" + c.Hash() }

// CheckSubscription says whether id has the right form and is the hash of c.
func CheckSubscription(id string, c Content) error {
	if _, err := ParseSubscriptionID(id); err != nil {
		return err
	}
	_, hash, _ := strings.Cut(id, "-")
	if want := c.Hash(); hash != want {
		return Errorf(ErrInvalidID, "Subscription id [%s] doesn't match content hash [%s].", id, want)
	}
	return nil
}

// CheckPublishing says whether by may put something of its own on the market:
// kind ("Demand", "Offer") is what the texts of refusals call it, existing the
// id under which it is there already, "" = it is not.
func CheckPublishing(by identity.Caller, side identity.Side, kind, existing, id string, c Content) error {
	if err := by.MayAct(c.Owner, side); err != nil {
		return err
	}
	if existing != "" {
		return Errorf(ErrExists, "%s [%s] exists already.", kind, existing)
	}
	if err := CheckSubscription(id, c); err != nil {
		return err
	}
	return CheckTexts(c.Properties, c.Constraints)
}

// ParseSubscriptionID checks the form "<32 hex>-<64 hex>" and returns the text
// unaltered. It fails with [ErrMalformedID].
func ParseSubscriptionID(s string) (string, error) {
	prefix, hash, ok := strings.Cut(s, "-")
	if !ok || strings.Contains(hash, "-") {
		return "", Errorf(ErrMalformedID, "Subscription id [%s] has invalid format.", s)
	}
	if !isHex(prefix) || !isHex(hash) {
		return "", Errorf(ErrMalformedID, "Subscription id [%s] contains non hexadecimal characters.", s)
	}
	if len(prefix) != 32 || len(hash) != 64 {
		return "", Errorf(ErrMalformedID, "Subscription id [%s] has invalid length. Should be |32|-|64|", s)
	}
	return s, nil
}

// PairHash is the id of a proposal or agreement about an offer and a demand:
// SHA3-256 over both subscription ids and the creation time, 64 lower-case
// hexadecimal digits. Nanoseconds of created count, its seconds do not.
func PairHash(offerID, demandID string, created time.Time) string {
	h := sha3.Sum256([]byte(offerID + demandID + hashTime(created)))
	return hex.EncodeToString(h[:])
}

// ProposalID is the id of a proposal as REST shows it: "R-" or "P-", the side
// whose book it stands in, and the hash that both nodes share.
func ProposalID(side identity.Side, hash string) string { return string(side) + "-" + hash }

// ParseProposalID splits what [ProposalID] made. It fails with [ErrMalformedID].
func ParseProposalID(s string) (identity.Side, string, error) {
	owner, hash, ok := strings.Cut(s, "-")
	if !ok || strings.Contains(hash, "-") {
		return "", "", Errorf(ErrMalformedID, "Id [%s] has invalid format.", s)
	}
	side := identity.Side(owner)
	if side != identity.Requestor && side != identity.Provider {
		return "", "", Errorf(ErrMalformedID, "Id [%s] has invalid owner type.", s)
	}
	if err := checkHash(s, hash); err != nil {
		return "", "", err
	}
	return side, hash, nil
}

// ParseAgreementID checks the bare form of an agreement id, 64 hexadecimal
// digits. It fails with [ErrMalformedID].
func ParseAgreementID(s string) (string, error) { return s, checkHash(s, s) }

func checkHash(id, hash string) error {
	if !isHex(hash) {
		return Errorf(ErrMalformedID, "Id [%s] contains non hexadecimal characters.", id)
	}
	if len(hash) != 64 {
		return Errorf(ErrMalformedID, "Id [%s] hash has invalid length. Should be |64|", id)
	}
	return nil
}

func isHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') && (c < 'A' || c > 'F') {
			return false
		}
	}
	return true
}
