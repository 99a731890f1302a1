package peer

// FeatureCosign is what a node says in its Hello when it cosigns checkpoints.
const FeatureCosign = "checkpoint-cosign"

// FeatureAsked is what a node says in its Hello when it answers which checkpoint
// of the asking node it cosigned last.
const FeatureAsked = "checkpoint-asked"

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
	// AskCheckpoint asks which checkpoint of a log of the sender was cosigned
	// last: who has lost some of his log learns it so. The answer is CheckpointKnown.
	AskCheckpoint struct {
		Origin string `json:"origin"`
	}
	// CheckpointKnown is the checkpoint of the asking node that was cosigned
	// last: what it asks for must continue that one. "" = there is none.
	CheckpointKnown struct {
		Note string `json:"note"`
	}
)

func (CosignCheckpoint) Kind() string   { return "evidence.cosign" }
func (AskCheckpoint) Kind() string      { return "evidence.ask" }
func (CheckpointCosigned) Kind() string { return "evidence.cosigned" }
func (CheckpointKnown) Kind() string    { return "evidence.known" }
