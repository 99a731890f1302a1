// Package activity is the life of one activity: from the wish to create it to
// the end of its exe-unit. Each side of a deal keeps its own stream. The
// requestor's tells what was asked and what was seen, the provider's what was
// done.
package activity

import (
	"github.com/emet-node/emet/domain/activity"
	"github.com/emet-node/emet/domain/identity"
)

// Category of the streams.
const Category = "activity"

// StreamID is the id of the stream that one side keeps about an activity.
func StreamID(side identity.Side, activityID string) string {
	return activity.StreamID(side, activityID)
}

// An Event is a fact about one activity.
//
//sumtype:decl
type Event interface{ activityEvent() }

// Facts of the requestor's side.
type (
	// CreationRequested says that a client wants an activity and the provider
	// is to be asked. [Created] or [CreationFailed] answers.
	CreationRequested struct {
		ActivityID      string          `json:"activityId"`
		AgreementID     string          `json:"agreementId"`
		Provider        identity.NodeID `json:"provider"`
		Requestor       identity.NodeID `json:"requestor"`
		RequestorPubKey string          `json:"requestorPubKey,omitzero"` // compressed secp256k1 key, hex
		TimeoutMS       int64           `json:"timeoutMs"`
	}

	// CreationFailed says that there is no activity, and why. Code is the
	// provider's refusal ("invalid-state", "busy", …), "unreachable", or
	// "abandoned" when the activity was given up before the answer came.
	CreationFailed struct {
		ActivityID string `json:"activityId"`
		Code       string `json:"code"`
		Message    string `json:"message"`
	}

	// StateObserved is the pair of states that the provider reported.
	StateObserved struct {
		ActivityID   string `json:"activityId"`
		ErrorMessage string `json:"errorMessage,omitzero"`
		Pending      Phase  `json:"pending,omitzero"`
		Reason       string `json:"reason,omitzero"`
		State        Phase  `json:"state"`
	}
)

// Facts of the provider's side.
type (
	// SpawnRequested asks for an exe-unit. [Spawned] or [SpawnFailed] answers.
	SpawnRequested struct {
		ActivityID  string `json:"activityId"`
		AgreementID string `json:"agreementId"`
		Runtime     string `json:"runtime"` // as the offer names it
	}

	// Spawned says which process serves the activity. Enforced lists the limits
	// that the host really imposes on it ("memory", "pids", "cpu", …).
	Spawned struct {
		ActivityID     string   `json:"activityId"`
		Cgroup         string   `json:"cgroup,omitzero"`
		Enforced       []string `json:"enforced,omitzero"`
		PID            int64    `json:"pid"`
		RuntimeHash    string   `json:"runtimeHash,omitzero"` // SHA-256 of the runtime's binary, hex
		RuntimeVersion string   `json:"runtimeVersion,omitzero"`
	}

	// SpawnFailed says that no process serves the activity, and why.
	SpawnFailed struct {
		ActivityID string `json:"activityId"`
		Message    string `json:"message"`
	}

	// StateChanged is the pair of states that the exe-unit (or an agent that
	// drives it over REST) reported.
	StateChanged struct {
		ActivityID   string `json:"activityId"`
		ErrorMessage string `json:"errorMessage,omitzero"`
		Pending      Phase  `json:"pending,omitzero"`
		Reason       string `json:"reason,omitzero"`
		State        Phase  `json:"state"`
	}

	// Unresponsive says that nothing was heard from the exe-unit for too long.
	Unresponsive struct {
		ActivityID string `json:"activityId"`
		SilentMS   int64  `json:"silentMs"`
	}

	// Recovered says that an unresponsive exe-unit reports again.
	Recovered struct {
		ActivityID string `json:"activityId"`
	}

	// LimitExceeded says that the exe-unit used more than the agreement grants.
	// Allowed and Measured are decimal texts in the unit of the counter.
	LimitExceeded struct {
		ActivityID string `json:"activityId"`
		Allowed    string `json:"allowed"`
		Counter    string `json:"counter"`
		Measured   string `json:"measured"`
	}

	// VolumeMapped says which directory of the guest can be transferred to.
	VolumeMapped struct {
		ActivityID string `json:"activityId"`
		Name       string `json:"name"` // of the volume in the work directory
		Path       string `json:"path"` // in the guest
	}

	// NetworkAttached says that the exe-unit joined a virtual network.
	NetworkAttached struct {
		ActivityID string `json:"activityId"`
		IP         string `json:"ip"`
		NetworkID  string `json:"networkId"`
	}

	// Reattached says that the daemon, after a restart, found the exe-unit
	// alive. Seq is the last journal entry that had been taken over before.
	Reattached struct {
		ActivityID string `json:"activityId"`
		PID        int64  `json:"pid"`
		Seq        int64  `json:"seq"`
	}
)

// Facts of both sides.
type (
	// Created says that the activity exists. Alias is the id that the provider
	// knows it by, when that is another one.
	Created struct {
		ActivityID      string          `json:"activityId"`
		AgreementID     string          `json:"agreementId"`
		Alias           string          `json:"alias,omitzero"`
		Provider        identity.NodeID `json:"provider"`
		Requestor       identity.NodeID `json:"requestor"`
		RequestorPubKey string          `json:"requestorPubKey,omitzero"`
		Side            identity.Side   `json:"side"`
	}

	// DestructionRequested asks for the end of the activity: at the requestor,
	// that the provider be told; at the provider, that the exe-unit be
	// stopped. [Terminated] answers.
	DestructionRequested struct {
		ActivityID string `json:"activityId"`
		By         Cause  `json:"by"`
		Reason     string `json:"reason,omitzero"`
		TimeoutMS  int64  `json:"timeoutMs,omitzero"`
	}

	// Terminated is the end. Exit and Usage are known where the process was ours.
	Terminated struct {
		ActivityID   string           `json:"activityId"`
		ErrorMessage string           `json:"errorMessage,omitzero"`
		Exit         *Exit            `json:"exit,omitzero"`
		Reason       string           `json:"reason,omitzero"`
		Rusage       *activity.Rusage `json:"rusage,omitzero"`
	}
)

// Exit is how a process ended.
type Exit struct {
	Code   int64  `json:"code"`
	OOM    bool   `json:"oom,omitzero"`    // killed by the memory limit
	Signal string `json:"signal,omitzero"` // name of the signal, when one ended it
}

// Phase is a state, spelled as REST spells it.
type Phase string

// The phases.
const (
	New               Phase = "New"
	Initialized       Phase = "Initialized"
	Deployed          Phase = "Deployed"
	Ready             Phase = "Ready"
	PhaseTerminated   Phase = "Terminated"
	PhaseUnresponsive Phase = "Unresponsive"
)

// Cause says who or what ended an activity.
type Cause string

// The causes.
const (
	ByRequestor Cause = "requestor" // a client, or the requestor over the network
	ByProvider  Cause = "provider"  // the provider's operator or agent
	ByAgreement Cause = "agreement" // its agreement ended
	ByIdleness  Cause = "idle"      // the exe-unit was silent for too long
	ByLimit     Cause = "limit"     // it used more than granted
	ByShutdown  Cause = "shutdown"  // the node stops
)

// IsIntent implements es.Intent.
func (CreationRequested) IsIntent() bool { return true }

// IsIntent implements es.Intent.
func (SpawnRequested) IsIntent() bool { return true }

// IsIntent implements es.Intent.
func (DestructionRequested) IsIntent() bool { return true }

func (CreationRequested) activityEvent()    {}
func (Created) activityEvent()              {}
func (CreationFailed) activityEvent()       {}
func (StateObserved) activityEvent()        {}
func (SpawnRequested) activityEvent()       {}
func (Spawned) activityEvent()              {}
func (SpawnFailed) activityEvent()          {}
func (StateChanged) activityEvent()         {}
func (Unresponsive) activityEvent()         {}
func (Recovered) activityEvent()            {}
func (LimitExceeded) activityEvent()        {}
func (VolumeMapped) activityEvent()         {}
func (NetworkAttached) activityEvent()      {}
func (Reattached) activityEvent()           {}
func (DestructionRequested) activityEvent() {}
func (Terminated) activityEvent()           {}
