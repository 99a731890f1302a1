package activity

import (
	"fmt"

	"github.com/emet-node/emet/domain/es"
	"github.com/emet-node/emet/domain/identity"
)

// decideUnit is about the exe-unit: all of it happens at the provider.
func decideUnit(s State, c Command) ([]Event, error) {
	by, fact := unit(s, c)
	if err := s.may(by, identity.Provider); err != nil {
		return nil, err
	}
	return fact()
}

func unit(s State, c Command) (identity.Caller, func() ([]Event, error)) {
	switch c := c.(type) {
	case RequestSpawn:
		return c.By, func() ([]Event, error) { return requestSpawn(s, c) }
	case ConfirmSpawn:
		return c.By, func() ([]Event, error) { return confirmSpawn(s, c) }
	case FailSpawn:
		return c.By, func() ([]Event, error) {
			return when(s.SpawnOpen, SpawnFailed{ActivityID: s.ID, Message: c.Message})
		}
	case ReportState:
		return c.By, func() ([]Event, error) { return report(s, c) }
	case MarkUnresponsive:
		silent := !s.Ended && s.Pair.Alive() && s.Pair.Current != PhaseUnresponsive
		return c.By, func() ([]Event, error) { return when(silent, Unresponsive{ActivityID: s.ID, SilentMS: c.SilentMS}) }
	case MarkRecovered:
		back := !s.Ended && s.Pair.Current == PhaseUnresponsive && s.before != "" // what was reported so is for who reports to take back
		return c.By, func() ([]Event, error) { return when(back, Recovered{ActivityID: s.ID}) }
	case ExceedLimit:
		over := LimitExceeded{ActivityID: s.ID, Allowed: c.Allowed, Counter: c.Counter, Measured: c.Measured}
		return c.By, func() ([]Event, error) { return when(!s.Ended, over) }
	case MapVolume:
		return c.By, func() ([]Event, error) {
			return when(!s.Ended, VolumeMapped{ActivityID: s.ID, Name: c.Name, Path: c.Path})
		}
	case AttachNetwork:
		return c.By, func() ([]Event, error) {
			return when(!s.Ended, NetworkAttached{ActivityID: s.ID, IP: c.IP, NetworkID: c.NetworkID})
		}
	case Reattach:
		again := s.found && s.PID == c.PID // a daemon that dies again and again does not fill the log
		return c.By, func() ([]Event, error) {
			return when(!s.Ended && !again, Reattached{ActivityID: s.ID, PID: c.PID, Seq: c.Seq})
		}
	default: // not about an exe-unit
		return identity.Caller{}, func() ([]Event, error) { return nil, fmt.Errorf("%T: %w", c, es.ErrWrongCommand) }
	}
}

func when(so bool, e Event) ([]Event, error) {
	if !so {
		return nil, nil
	}
	return []Event{e}, nil
}

func requestSpawn(s State, c RequestSpawn) ([]Event, error) {
	fresh := !s.Ended && !s.SpawnOpen && !s.spawned && s.Failure == ""
	return when(fresh, SpawnRequested{ActivityID: s.ID, AgreementID: s.AgreementID, Runtime: c.Runtime})
}

// confirmSpawn of an activity that ended meanwhile is a failure: whoever sees
// it kills the process.
func confirmSpawn(s State, c ConfirmSpawn) ([]Event, error) {
	if s.Ended {
		return when(s.SpawnOpen, SpawnFailed{ActivityID: s.ID, Message: "the activity ended while its exe-unit was being started"})
	}
	return when(s.SpawnOpen, Spawned{
		ActivityID: s.ID, Cgroup: c.Cgroup, Enforced: c.Enforced, PID: c.PID,
		RuntimeHash: c.RuntimeHash, RuntimeVersion: c.RuntimeVersion,
	})
}

func report(s State, c ReportState) ([]Event, error) {
	if err := check(c.Pair); err != nil || s.Ended {
		return nil, err
	}
	if c.Pair.Current == PhaseTerminated {
		return ended(s, Terminated{ActivityID: s.ID, Reason: c.Reason, ErrorMessage: c.ErrorMessage}), nil
	}
	return when(!s.says(c.Pair, c.Reason, c.ErrorMessage), StateChanged{
		ActivityID: s.ID, State: c.Pair.Current, Pending: c.Pair.Pending, Reason: c.Reason, ErrorMessage: c.ErrorMessage,
	})
}
