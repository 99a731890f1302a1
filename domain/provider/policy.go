package provider

import (
	"slices"
	"time"

	"github.com/emet-node/emet/domain/identity"
)

// Policy is what an operator decides about negotiations. The zero Policy is
// the usual one.
type Policy struct {
	RequiredFields []string // JSON pointers into the demand; nil = the chosen payment platform

	MaxAgreements int // 0 = 1

	MinExpiration          time.Duration // 0 = 5 min
	MaxExpiration          time.Duration // 0 = 100 years
	MaxExpirationUnlimited time.Duration // without an accept timeout, 0 = 30 min

	AcceptTimeout  time.Duration // 0 = 4 min
	NoteInterval   time.Duration // 0 = 2 min
	PaymentTimeout time.Duration // 0 = 2 min
	// PaymentTimeoutRequired is how long an agreement may last without one; 0 = 10 h.
	PaymentTimeoutRequired time.Duration

	Blacklist, AllowOnly NodeRule
	Outbound             OutboundRule
	// SkipManifest switches the check of payload manifests off.
	SkipManifest bool
}

// NodeRule names requestors by node id or by the fingerprint of a certificate.
type NodeRule struct {
	Enabled      bool
	Identities   []identity.NodeID
	Certificates []string
}

// Mode of an outbound rule.
type Mode string

// The modes.
const (
	All       Mode = "all"
	None      Mode = "none"
	Whitelist Mode = "whitelist"
)

// OutboundRule says whose payloads may reach the internet. The zero rule is
// the usual one: enabled, everyone within the whitelist.
type OutboundRule struct {
	AuditedPayload map[string]Mode // by id of the certificate that signed the manifest
	Disabled       bool
	Domains        []Domain
	Everyone       Mode            // "" = whitelist
	Partner        map[string]Mode // by fingerprint of the requestor's certificate
}

// Domain is one entry of the whitelist.
type Domain struct {
	Pattern string
	Regex   bool // unanchored, case-insensitive
}

// Credentials are what was verified about a requestor before the policy is
// asked: checking signatures needs keys, and keys are not here.
type Credentials struct {
	// Signers are the certificates that signed the manifest, leaf first.
	Signers []string
	// Chain are the fingerprints of the requestor's node descriptor; empty
	// when there is none. BrokenDescriptor says that there is one and it is bad.
	Chain            []string
	BrokenDescriptor bool
	// DescriptorCovers says that its permissions cover what the manifest asks.
	DescriptorCovers bool
}

func or[T comparable](v, usual T) T {
	var zero T
	if v == zero {
		return usual
	}
	return v
}

func (p Policy) acceptTimeout() time.Duration  { return or(p.AcceptTimeout, 4*time.Minute) }
func (p Policy) noteInterval() time.Duration   { return or(p.NoteInterval, 2*time.Minute) }
func (p Policy) paymentTimeout() time.Duration { return or(p.PaymentTimeout, 2*time.Minute) }
func (p Policy) maxAgreements() int            { return or(p.MaxAgreements, 1) }

func (r NodeRule) names(node identity.NodeID) bool { return slices.Contains(r.Identities, node) }

func (r NodeRule) certified(chain []string) bool {
	return slices.ContainsFunc(chain, func(c string) bool { return slices.Contains(r.Certificates, c) })
}
