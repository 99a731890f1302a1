package activity

import (
	"github.com/emet-node/emet/domain/activity"
	"github.com/emet-node/emet/domain/identity"
)

// A Command asks for something to become true of one activity.
//
//sumtype:decl
type Command interface{ activityCommand() }

// Commands of the requestor's side.
type (
	// RequestCreation is a client's wish for an activity. ActivityID is made
	// by the daemon and is the id that the stream is named by. AgreementState
	// is as in [Create].
	RequestCreation struct {
		ActivityID      string
		AgreementID     string
		AgreementState  string
		By              identity.Caller
		Provider        identity.NodeID
		Requestor       identity.NodeID
		RequestorPubKey string
		TimeoutMS       int64
	}

	// ConfirmCreation is the provider's yes. ProviderID is the id it answered.
	ConfirmCreation struct {
		By         identity.Caller
		ProviderID string
	}

	// FailCreation says that the provider said no, or nothing in time.
	FailCreation struct {
		By      identity.Caller
		Code    string
		Message string
	}

	// ObserveState tells what the provider answered to "how is it?".
	ObserveState struct {
		By           identity.Caller
		ErrorMessage string
		Pair         Pair
		Reason       string
	}
)

// Commands of the provider's side.
type (
	// Create is the requestor's request. AgreementState is the state of the
	// agreement as REST spells it, read with its stream. Alive names another
	// living activity of the agreement when it allows one at a time.
	Create struct {
		ActivityID      string
		AgreementID     string
		AgreementState  string
		Alive           string
		By              identity.Caller
		Provider        identity.NodeID
		Requestor       identity.NodeID
		RequestorPubKey string
	}

	// RequestSpawn asks for an exe-unit.
	RequestSpawn struct {
		By      identity.Caller
		Runtime string
	}

	// ConfirmSpawn says that the exe-unit runs.
	ConfirmSpawn struct {
		By             identity.Caller
		Cgroup         string
		Enforced       []string
		PID            int64
		RuntimeHash    string
		RuntimeVersion string
	}

	// FailSpawn says that it could not be started.
	FailSpawn struct {
		By      identity.Caller
		Message string
	}

	// ReportState comes from the exe-unit, or over REST from an agent. A pair
	// that says Terminated ends the activity.
	ReportState struct {
		By           identity.Caller
		ErrorMessage string
		Pair         Pair
		Reason       string
	}

	// MarkUnresponsive says for how long nothing was heard.
	MarkUnresponsive struct {
		By       identity.Caller
		SilentMS int64
	}

	// MarkRecovered says that it reports again.
	MarkRecovered struct{ By identity.Caller }

	// ExceedLimit says which counter went over what was granted.
	ExceedLimit struct {
		Allowed  string
		By       identity.Caller
		Counter  string
		Measured string
	}

	// MapVolume and AttachNetwork tell what deploy set up.
	MapVolume struct {
		By         identity.Caller
		Name, Path string
	}
	AttachNetwork struct {
		By            identity.Caller
		IP, NetworkID string
	}

	// Reattach says that the exe-unit was found alive after a restart.
	Reattach struct {
		By  identity.Caller
		PID int64
		Seq int64
	}
)

// Commands of both sides.
type (
	// RequestDestruction asks for the end. At the requestor its client or its
	// own sagas may; at the provider also the requestor.
	RequestDestruction struct {
		By        identity.Caller
		Cause     Cause
		Reason    string
		TimeoutMS int64
	}

	// ConfirmDestruction answers [DestructionRequested]: the exe-unit is gone,
	// or the provider says so, or the provider was given up on.
	ConfirmDestruction struct {
		By           identity.Caller
		ErrorMessage string
		Exit         *Exit
		Reason       string
		Rusage       *activity.Rusage
	}

	// End says that the exe-unit is gone although nobody asked for it. While a
	// destruction is open it is silent: the answer to that tells the end.
	End struct {
		By           identity.Caller
		ErrorMessage string
		Exit         *Exit
		Reason       string
		Rusage       *activity.Rusage
	}
)

func (RequestCreation) activityCommand()    {}
func (ConfirmCreation) activityCommand()    {}
func (FailCreation) activityCommand()       {}
func (ObserveState) activityCommand()       {}
func (Create) activityCommand()             {}
func (RequestSpawn) activityCommand()       {}
func (ConfirmSpawn) activityCommand()       {}
func (FailSpawn) activityCommand()          {}
func (ReportState) activityCommand()        {}
func (MarkUnresponsive) activityCommand()   {}
func (MarkRecovered) activityCommand()      {}
func (ExceedLimit) activityCommand()        {}
func (MapVolume) activityCommand()          {}
func (AttachNetwork) activityCommand()      {}
func (Reattach) activityCommand()           {}
func (RequestDestruction) activityCommand() {}
func (ConfirmDestruction) activityCommand() {}
func (End) activityCommand()                {}
