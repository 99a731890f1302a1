// Package identity is about who a node is: its Golem node id, the keys that
// speak for it, and the app-keys that clients present.
package identity

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// NodeID is the Ethereum address of an identity: "0x" and 40 lower-case
// hexadecimal digits.
type NodeID string

// ParseNodeID reads an address in any case.
func ParseNodeID(s string) (NodeID, error) {
	rest, ok := strings.CutPrefix(strings.ToLower(s), "0x")
	if b, err := hex.DecodeString(rest); !ok || err != nil || len(b) != 20 {
		return "", fmt.Errorf("node id %q: want 0x and 40 hexadecimal digits", s)
	}
	return NodeID("0x" + rest), nil
}

// NodeIDFrom makes the id of 20 raw bytes.
func NodeIDFrom(b [20]byte) NodeID { return NodeID("0x" + hex.EncodeToString(b[:])) }

// Bytes are the 20 raw bytes. It panics on a value that ParseNodeID would
// refuse, since such a value cannot come from outside.
func (n NodeID) Bytes() [20]byte {
	b, err := hex.DecodeString(strings.TrimPrefix(string(n), "0x"))
	if err != nil || len(b) != 20 {
		panic("identity: malformed node id " + string(n))
	}
	return [20]byte(b)
}

func (n NodeID) String() string { return string(n) }
