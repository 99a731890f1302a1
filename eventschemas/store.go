package eventschemas

import "github.com/emet-node/emet/domain/ledger"

var storeFacts = []entry{
	reg[ledger.Opened]("$log.opened.v1"),
	reg[ledger.KeyAttested]("$log.key_attested.v1"),
	reg[ledger.Recovered]("$log.recovered.v1"),
	reg[ledger.Beacon]("$log.beacon.v2"),
	reg[ledger.Frozen]("$log.frozen.v1"),
	reg[ledger.Reconciled]("$log.reconciled.v1"),
	reg[ledger.Erased]("$audit.erased.v1"),
	reg[ledger.Exported]("$audit.exported.v1"),
	reg[ledger.Repaired]("$audit.repaired.v1"),
	reg[ledger.PolicyChanged]("$audit.policy_changed.v1"),
}
