package verifier

import (
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// delegation is an identity's word for a key.
type delegation struct {
	Chain     uint64 `json:"chain"`
	Identity  string `json:"identity"`
	NotAfter  int64  `json:"notAfter"`
	NotBefore int64  `json:"notBefore"`
	PublicKey string `json:"publicKey"`
	Role      string `json:"role"`
	Subject   string `json:"subject"`
}

var (
	nodeID  = regexp.MustCompile(`^0x[0-9a-f]{40}$`)
	keyText = regexp.MustCompile(`^([0-9a-f]{2}){1,128}$`)
	hexText = regexp.MustCompile(`^[0-9a-f]+$`)
)

const grace = 5 * 60 // seconds

// vouch checks an attestation and returns what it says.
func (a attestation) vouch() (d delegation, ok bool) {
	dec := json.NewDecoder(strings.NewReader(a.Document))
	dec.DisallowUnknownFields()
	if len(a.Document) > 4096 || dec.Decode(&d) != nil || d.canonical() != a.Document {
		return d, false
	}
	switch {
	case !nodeID.MatchString(d.Identity), !keyText.MatchString(d.PublicKey), d.Subject == "", len(d.Subject) > 256,
		d.Role != "log" && d.Role != "host", d.NotBefore < 0, d.NotAfter <= d.NotBefore, d.NotAfter >= 1<<53, d.Chain >= 1<<53,
		d.Role == "host" && d.NotAfter-d.NotBefore > 30*24*3600:
		return d, false
	}
	who, err := signer(d.digest(), a.Signature)
	return d, err == nil && who == d.Identity
}

func (d delegation) canonical() string {
	w := new(writer)
	w.object(func(o *object) {
		o.number("chain", d.Chain)
		o.text("identity", d.Identity)
		o.field("notAfter", true, func() { w.WriteString(strconv.FormatInt(d.NotAfter, 10)) })
		o.field("notBefore", true, func() { w.WriteString(strconv.FormatInt(d.NotBefore, 10)) })
		o.text("publicKey", d.PublicKey)
		o.text("role", d.Role)
		o.text("subject", d.Subject)
	})
	return w.String()
}

func (d delegation) digest() [32]byte {
	k := func(s string) []byte { return keccak([]byte(s)) }
	word := func(n uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 24), n) }
	raw := func(s string) []byte { b, _ := hex.DecodeString(s); return b }
	domain := keccak(k("EIP712Domain(string name,string version)"), k("emet"), k("1"))
	message := keccak(
		k("Delegation(address identity,string role,bytes publicKey,string subject,uint64 notBefore,uint64 notAfter,uint256 chain)"),
		make([]byte, 12), raw(d.Identity[2:]), k(d.Role), keccak(raw(d.PublicKey)), k(d.Subject),
		word(uint64(d.NotBefore)), word(uint64(d.NotAfter)), word(d.Chain)) //nolint:gosec // not negative
	return [32]byte(keccak([]byte{0x19, 1}, domain, message))
}

// covers says whether the word counts at a moment.
func (d delegation) covers(t time.Time) bool {
	return t.Unix()+grace >= d.NotBefore && t.Unix() <= d.NotAfter
}

// ed25519 is the key in the protobuf form of libp2p.
func (d delegation) ed25519() (ed25519.PublicKey, bool) {
	digits, ok := strings.CutPrefix(d.PublicKey, "08011220")
	b, err := hex.DecodeString(digits)
	return b, ok && err == nil && len(b) == ed25519.PublicKeySize
}

// log is the key of the identity's log, if the delegation is for one.
func (d delegation) log() (logKey, bool) {
	public, ok := d.ed25519()
	name := strings.HasPrefix(d.Subject, "emet/"+d.Identity+"/") && !strings.ContainsAny(d.Subject, "+ \t\r\n\v\f\u0085\u00a0")
	return logKey{d.Subject, public}, ok && d.Role == "log" && name
}
