package eventschemas

import (
	"github.com/emet-node/emet/domain/activity"
	life "github.com/emet-node/emet/domain/activity/activity"
	"github.com/emet-node/emet/domain/activity/batch"
	"github.com/emet-node/emet/domain/activity/usage"
)

// Scripts, outputs and addresses are sealed with the activity's key; states,
// results' codes and usage are not, since money depends on them.
var activityFacts = []entry{
	reg[life.CreationRequested]("activity.creation_requested.v1"),
	reg[life.Created]("activity.created.v1"),
	reg[life.CreationFailed]("activity.creation_failed.v1"),
	reg[life.StateObserved]("activity.state_observed.v1"),
	reg[life.SpawnRequested]("activity.spawn_requested.v1"),
	reg[life.Spawned]("activity.spawned.v1"),
	reg[life.SpawnFailed]("activity.spawn_failed.v1"),
	reg[life.StateChanged]("activity.state_changed.v1"),
	reg[life.Unresponsive]("activity.unresponsive.v1"),
	reg[life.Recovered]("activity.recovered.v1"),
	reg[life.LimitExceeded]("activity.limit_exceeded.v1"),
	reg[life.VolumeMapped]("activity.volume_mapped.v1"),
	reg[life.NetworkAttached]("activity.network_attached.v1"),
	reg[life.Reattached]("activity.reattached.v1"),
	reg[life.DestructionRequested]("activity.destruction_requested.v1"),
	reg[life.Terminated]("activity.terminated.v1"),

	sealed("batch.exec_requested.v2", func(f batch.ExecRequested) string { return activity.Subject(f.ActivityID) }),
	sealed("batch.accepted.v1", func(f batch.Accepted) string { return when(f.Script != "", f.ActivityID) }),
	reg[batch.Refused]("batch.refused.v1"),
	sealed("batch.command_started.v1", func(f batch.CommandStarted) string { return activity.Subject(f.ActivityID) }),
	sealed("batch.command_output.v1", func(f batch.CommandOutput) string { return activity.Subject(f.ActivityID) }),
	sealed("batch.transfer_finished.v1", func(f batch.TransferFinished) string { return activity.Subject(f.ActivityID) }),
	sealed("batch.command_finished.v1", func(f batch.CommandFinished) string { return when(f.Message != "", f.ActivityID) }),
	reg[batch.Closed]("batch.closed.v1"),

	reg[usage.Sampled]("usage.sampled.v1"),
	reg[usage.Finalised]("usage.finalised.v1"),
}

func when(private bool, activityID string) string {
	if private {
		return activity.Subject(activityID)
	}
	return ""
}
