package peer

// FeatureCosign is what a node says in its Hello when it cosigns checkpoints.
const FeatureCosign = "checkpoint-cosign"

type (
	// CosignCheckpoint asks a party of a deal to stand by having seen the
	// sender's log. Consistency proves that it continues the one of From events,
	// which is what the sender believes to be cosigned last; 0 = nothing. The
	// answer is CheckpointCosigned, or CheckpointKnown when another one was.
	CosignCheckpoint struct {
		Attestation Delegation `json:"attestation"` // for the key of the log
		Consistency [][]byte   `json:"consistency,omitzero"`
		From        int64      `json:"from"` // events
		Note        string     `json:"note"`
	}
	// CheckpointCosigned is the line to be added to the note, and the word for
	// the key that it is signed with.
	CheckpointCosigned struct {
		Attestation Delegation `json:"attestation"`
		Line        string     `json:"line"`
	}
	// CheckpointKnown is the checkpoint of the asking node that was cosigned
	// last: what it asks for must continue that one.
	CheckpointKnown struct {
		Note string `json:"note"`
	}
)

func (CosignCheckpoint) Kind() string   { return "evidence.cosign" }
func (CheckpointCosigned) Kind() string { return "evidence.cosigned" }
func (CheckpointKnown) Kind() string    { return "evidence.known" }
