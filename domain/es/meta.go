package es

import (
	"encoding/json"
	"fmt"
	"maps"
	"time"
)

// Actor says on whose impulse a fact was written.
type Actor string

// The actors.
const (
	ActorREST     Actor = "rest"
	ActorOperator Actor = "operator"
	ActorPeer     Actor = "peer"
	ActorSaga     Actor = "saga"
	ActorEffect   Actor = "effect"
	ActorExeUnit  Actor = "exeunit"
	ActorChain    Actor = "chain"
	ActorImport   Actor = "import"
)

// Grade says how a fact is known.
type Grade string

// The grades, from what we did ourselves to what a chain has finalised.
const (
	GradeSelf          Grade = "self"
	GradeSigned        Grade = "signed"
	GradeSession       Grade = "session"
	GradeClaimed       Grade = "claimed"
	GradeChainIncluded Grade = "chain-included"
	GradeChainFinal    Grade = "chain-final"
)

// Meta is what is known about a fact beside its content. Absent means unknown.
type Meta struct {
	Correlation string // the story: agreement id, else negotiation, activity, allocation or job id
	CausationID ID     // event or request that led here
	Cause       *Position
	Key         string // idempotency key of the command
	Actor       Actor
	Identity    string // local node id on whose behalf
	AppKey      string // key id, never the secret
	Session     string // appSessionId
	Peer        string // remote node id, proved by the session
	Via         string // "libp2p", "relay", "local"
	SentAt      time.Time
	Seq         uint64
	Grade       Grade
	Effect      *EffectMeta
	Policy      *PolicyMeta
	Node        string // build version
	Trace       string // W3C traceparent

	// Extra holds keys this build does not know; they are kept.
	Extra map[string]json.RawMessage
}

// EffectMeta describes the attempt that an outcome reports.
type EffectMeta struct {
	Attempt        int    `json:"attempt"`
	DurationMicros int64  `json:"durationUs,omitzero"`
	Endpoint       string `json:"endpoint,omitzero"`
}

// PolicyMeta names the policy that a decision followed.
type PolicyMeta struct {
	Code    string `json:"code,omitzero"`   // build hash of the component
	Inputs  string `json:"inputs,omitzero"` // SHA-256 of the canonical inputs, hex
	Name    string `json:"name"`
	Version string `json:"version"`
}

// FinalKey is the idempotency key of the outcome that closes an intent.
func FinalKey(intent ID) string { return intent.String() + "/final" }

// Caused returns the Meta of something that r led to: same story, same
// identity, r as its cause.
func Caused(r Recorded, actor Actor, key string) Meta {
	p := r.Position
	return Meta{
		Correlation: r.Info.Correlation, CausationID: r.ID, Cause: &p, Key: key,
		Actor: actor, Identity: r.Info.Identity, Session: r.Info.Session, Grade: GradeSelf,
	}
}

// MarshalJSON writes the canonical form (RFC 8785).
func (m Meta) MarshalJSON() ([]byte, error) {
	out := make(map[string]any, 12+len(m.Extra))
	for k, v := range m.Extra {
		out[k] = v
	}
	text := func(k, v string) {
		if v != "" {
			out[k] = v
		}
	}
	text("$correlationId", m.Correlation)
	if !m.CausationID.IsZero() {
		out["$causationId"] = m.CausationID.String()
	}
	if m.Cause != nil {
		out["cause"] = uint64(*m.Cause)
	}
	text("key", m.Key)
	text("actor", string(m.Actor))
	text("identity", m.Identity)
	text("appKey", m.AppKey)
	text("session", m.Session)
	text("peer", m.Peer)
	text("via", m.Via)
	if !m.SentAt.IsZero() {
		out["sentAt"] = m.SentAt.UTC().Format(time.RFC3339Nano)
	}
	if m.Seq != 0 {
		out["seq"] = m.Seq
	}
	text("grade", string(m.Grade))
	if m.Effect != nil {
		out["effect"] = m.Effect
	}
	if m.Policy != nil {
		out["policy"] = m.Policy
	}
	text("node", m.Node)
	text("trace", m.Trace)
	return CanonicalJSON(out)
}

type metaJSON struct {
	Correlation string      `json:"$correlationId"`
	CausationID string      `json:"$causationId"`
	Cause       *Position   `json:"cause"`
	Key         string      `json:"key"`
	Actor       Actor       `json:"actor"`
	Identity    string      `json:"identity"`
	AppKey      string      `json:"appKey"`
	Session     string      `json:"session"`
	Peer        string      `json:"peer"`
	Via         string      `json:"via"`
	SentAt      time.Time   `json:"sentAt"`
	Seq         uint64      `json:"seq"`
	Grade       Grade       `json:"grade"`
	Effect      *EffectMeta `json:"effect"`
	Policy      *PolicyMeta `json:"policy"`
	Node        string      `json:"node"`
	Trace       string      `json:"trace"`
}

var knownMeta = []string{
	"$correlationId", "$causationId", "cause", "key", "actor", "identity", "appKey", "session",
	"peer", "via", "sentAt", "seq", "grade", "effect", "policy", "node", "trace",
}

// UnmarshalJSON reads what MarshalJSON wrote and keeps keys it does not know.
func (m *Meta) UnmarshalJSON(b []byte) error {
	var j metaJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return fmt.Errorf("event metadata: %w", err)
	}
	*m = Meta{
		Correlation: j.Correlation, Cause: j.Cause, Key: j.Key, Actor: j.Actor, Identity: j.Identity,
		AppKey: j.AppKey, Session: j.Session, Peer: j.Peer, Via: j.Via, SentAt: j.SentAt, Seq: j.Seq,
		Grade: j.Grade, Effect: j.Effect, Policy: j.Policy, Node: j.Node, Trace: j.Trace,
	}
	if j.CausationID != "" {
		id, err := ParseID(j.CausationID)
		if err != nil {
			return fmt.Errorf("event metadata: %w", err)
		}
		m.CausationID = id
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return fmt.Errorf("event metadata: %w", err)
	}
	maps.DeleteFunc(all, func(k string, _ json.RawMessage) bool {
		for _, known := range knownMeta {
			if k == known {
				return true
			}
		}
		return false
	})
	if len(all) > 0 {
		m.Extra = all
	}
	return nil
}
