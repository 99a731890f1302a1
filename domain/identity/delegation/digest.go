package delegation

import (
	"encoding/binary"
	"encoding/hex"
)

// The EIP-712 types. A wallet that is given [Document.TypedData] shows the
// fields under these names.
const (
	domainType   = "EIP712Domain(string name,string version)"
	documentType = "Delegation(address identity,string role,bytes publicKey,string subject,uint64 notBefore,uint64 notAfter,uint256 chain)"
	domainName   = "emet"
	domainVer    = "1"
)

// Keccak is Keccak-256 over the parts in order (the one of Ethereum, not SHA3).
type Keccak func(parts ...[]byte) []byte

// Digest is what the identity signs: the EIP-712 hash of the document. The
// document must be one that [Document.Canonical] accepts.
func (d Document) Digest(keccak Keccak) [32]byte {
	text := func(s string) []byte { return keccak([]byte(s)) }
	domain := keccak(text(domainType), text(domainName), text(domainVer))
	key, _ := hex.DecodeString(d.PublicKey) // hexadecimal, as check saw to
	who := d.Identity.Bytes()
	message := keccak(
		text(documentType),
		append(make([]byte, 12), who[:]...),
		text(string(d.Role)),
		keccak(key),
		text(d.Subject),
		word(uint64(d.NotBefore)), //nolint:gosec // not negative, as check saw to
		word(uint64(d.NotAfter)),  //nolint:gosec // as above
		word(d.Chain),
	)
	return [32]byte(keccak([]byte{0x19, 0x01}, domain, message))
}

func word(n uint64) []byte { return binary.BigEndian.AppendUint64(make([]byte, 24, 32), n) }

// TypedData is the argument of eth_signTypedData_v4 for this document, for
// wallets that keep the key elsewhere.
func (d Document) TypedData() map[string]any {
	field := func(name, typ string) map[string]string { return map[string]string{"name": name, "type": typ} }
	return map[string]any{
		"domain": map[string]any{"name": domainName, "version": domainVer},
		"message": map[string]any{
			"identity": string(d.Identity), "role": string(d.Role), "publicKey": "0x" + d.PublicKey, "subject": d.Subject,
			"notBefore": d.NotBefore, "notAfter": d.NotAfter, "chain": d.Chain,
		},
		"primaryType": "Delegation",
		"types": map[string]any{
			"EIP712Domain": []any{field("name", "string"), field("version", "string")},
			"Delegation": []any{
				field("identity", "address"), field("role", "string"), field("publicKey", "bytes"), field("subject", "string"),
				field("notBefore", "uint64"), field("notAfter", "uint64"), field("chain", "uint256"),
			},
		},
	}
}
