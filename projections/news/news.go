package news

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/emet-node/emet/domain/es"
)

// Item is a fact of the log as others are told of it.
type Item struct {
	Position    uint64       `json:"position"` // in the log, from 0; greater than that of every item before
	ID          string       `json:"id"`       // of the event: the same whenever it is told
	Stream      string       `json:"stream"`
	Revision    int64        `json:"revision"` // in the stream, from 0
	Type        string       `json:"type"`
	Recorded    time.Time    `json:"recorded"`             // UTC, whole microseconds
	Correlation string       `json:"correlation,omitzero"` // the story that it belongs to
	Causation   string       `json:"causation,omitzero"`   // id of the event or request that led here
	Cause       *es.Position `json:"cause,omitzero"`       // position of that event, if it is in this log
	Identity    string       `json:"identity,omitzero"`    // local identity on whose behalf
	// Sealed says that the data is private. It is not told, whether its key is
	// still there or not.
	Sealed bool            `json:"sealed,omitzero"`
	Data   json.RawMessage `json:"data"` // null when it is sealed, or is no JSON
	Meta   json.RawMessage `json:"meta"`
}

var (
	null  = json.RawMessage("null")
	empty = json.RawMessage("{}")
)

// Of is the item of an event. It opens nothing that is sealed. An event that
// somebody else put into the log, in a form of their own, is told as far as it
// can be.
func Of(e es.Event) Item {
	i := Item{
		Position: uint64(e.Position), ID: e.ID.String(), Stream: string(e.Stream), Revision: int64(e.Revision),
		Type: e.Type, Recorded: e.Recorded.UTC(), Sealed: e.Subject != "", Data: null, Meta: empty,
	}
	if !i.Sealed && json.Valid(e.Data) {
		i.Data = e.Data
	}
	var m es.Meta
	if json.Unmarshal(e.Meta, &m) != nil {
		return i
	}
	i.Meta, i.Correlation, i.Cause, i.Identity = e.Meta, m.Correlation, m.Cause, m.Identity
	if !m.CausationID.IsZero() {
		i.Causation = m.CausationID.String()
	}
	return i
}

// JSON is the item in one line. The same event always gives the same bytes.
func (i Item) JSON() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(i); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
