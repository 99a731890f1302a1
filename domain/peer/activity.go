package peer

import "encoding/json"

// Requests about an activity, from the agreement's requestor to its provider.
type (
	// CreateActivity answers ActivityCreated when the exe-unit is initialised.
	CreateActivity struct {
		AgreementID     string `json:"agreementId"`
		RequestID       string `json:"requestId"`                // same on a retry: one activity each
		RequestorPubKey string `json:"requestorPubKey,omitzero"` // hex
		TimeoutMS       int64  `json:"timeoutMs"`
	}
	ActivityCreated struct {
		ActivityID string `json:"activityId"`
	}
	// DestroyActivity answers Ack when the exe-unit is gone.
	DestroyActivity struct {
		ActivityID string `json:"activityId"`
		TimeoutMS  int64  `json:"timeoutMs"`
	}
	GetActivityState struct {
		ActivityID string `json:"activityId"`
	}
	// ActivityState is the pair of states, as REST spells them.
	ActivityState struct {
		ErrorMessage string `json:"errorMessage,omitzero"`
		Pending      string `json:"pending,omitzero"`
		Reason       string `json:"reason,omitzero"`
		State        string `json:"state"`
	}
	GetActivityUsage struct {
		ActivityID string `json:"activityId"`
	}
	// ActivityUsage is the usage vector as its JSON text, "" before the first sample.
	ActivityUsage struct {
		AtUnix int64  `json:"atUnix"`
		Vector string `json:"vector,omitzero"`
	}
	// Exec starts a batch. It answers Ack when the exe-unit took the script.
	// The same BatchID with the same script is the same batch.
	Exec struct {
		ActivityID string `json:"activityId"`
		BatchID    string `json:"batchId"`
		Script     string `json:"script"` // JSON array of commands, verbatim
	}
	// FollowBatch streams BatchEvent from index After+1 on (After -1 = all)
	// until the batch is closed.
	FollowBatch struct {
		ActivityID string `json:"activityId"`
		After      int64  `json:"after"`
		BatchID    string `json:"batchId"`
	}
	// BatchEvent is one thing that happened in a batch. Seq counts from 0
	// without gaps. Fact is the JSON of one of the batch facts that both sides
	// keep (Type is its type name), so that each side's log tells the same.
	// Progress has Seq -1 and is not kept.
	BatchEvent struct {
		Fact json.RawMessage `json:"fact"`
		Seq  int64           `json:"seq"`
		Type string          `json:"type"`
	}
)

// Requests of a provider's exe-unit about a file that the requestor publishes
// (a gftp URL names the node and the file).
type (
	FileMetadata struct {
		FileID string `json:"fileId"`
	}
	FileMetadataIs struct {
		Size int64 `json:"size"`
	}
	FileChunk struct {
		FileID string `json:"fileId"`
		Offset int64  `json:"offset"`
		Size   int64  `json:"size"`
	}
	FileChunkIs struct {
		Content []byte `json:"content"`
		Offset  int64  `json:"offset"`
	}
	FileUpload struct {
		Content []byte `json:"content"`
		FileID  string `json:"fileId"`
		Offset  int64  `json:"offset"`
	}
	// FileUploadFinished carries the SHA3-256 of all chunks in order, hex.
	FileUploadFinished struct {
		FileID string `json:"fileId"`
		Hash   string `json:"hash"`
	}
)

func (CreateActivity) Kind() string     { return "activity.create" }
func (ActivityCreated) Kind() string    { return "activity.created" }
func (DestroyActivity) Kind() string    { return "activity.destroy" }
func (GetActivityState) Kind() string   { return "activity.get_state" }
func (ActivityState) Kind() string      { return "activity.state" }
func (GetActivityUsage) Kind() string   { return "activity.get_usage" }
func (ActivityUsage) Kind() string      { return "activity.usage" }
func (Exec) Kind() string               { return "activity.exec" }
func (FollowBatch) Kind() string        { return "activity.follow" }
func (BatchEvent) Kind() string         { return "activity.batch_event" }
func (FileMetadata) Kind() string       { return "file.get_metadata" }
func (FileMetadataIs) Kind() string     { return "file.metadata" }
func (FileChunk) Kind() string          { return "file.get_chunk" }
func (FileChunkIs) Kind() string        { return "file.chunk" }
func (FileUpload) Kind() string         { return "file.upload" }
func (FileUploadFinished) Kind() string { return "file.upload_finished" }
