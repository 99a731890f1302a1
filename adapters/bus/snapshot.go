package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/emet-node/emet/domain/es"
)

// snapshotFormat names the form of a [Snapshot].
const snapshotFormat = "emet/news/1"

// Snapshot is a [State] as a backup keeps it: positions, no facts, no addresses
// and no secrets.
type Snapshot struct {
	Aside  []SnapshotAside `json:"aside"`
	Format string          `json:"format"`
	Hooks  []SnapshotHook  `json:"hooks"`
}

// SnapshotHook is how far a webhook was told.
type SnapshotHook struct {
	Delivered int64  `json:"delivered"`
	ID        string `json:"id"`
	Next      int64  `json:"next"` // the first position that it was not told, -1 = its own beginning
}

// SnapshotAside is a fact that was set aside.
type SnapshotAside struct {
	At       time.Time   `json:"at"`
	Event    string      `json:"event"`
	Hook     string      `json:"hook"`
	Position es.Position `json:"position"`
	Reason   string      `json:"reason"`
	Stream   string      `json:"stream"`
	Type     string      `json:"type"`
}

// Snapshot returns the state in canonical JSON. Take it before the log that it
// speaks of is copied: what was told is then in the copy.
func (s *State) Snapshot(ctx context.Context) ([]byte, error) {
	out := Snapshot{Format: snapshotFormat, Aside: []SnapshotAside{}, Hooks: []SnapshotHook{}}
	rows, err := s.db.QueryContext(ctx, `SELECT id, next, delivered FROM hook ORDER BY id`)
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		var h SnapshotHook
		if err = rows.Scan(&h.ID, &h.Next, &h.Delivered); err != nil {
			break
		}
		out.Hooks = append(out.Hooks, h)
	}
	if err = errors.Join(err, rows.Err(), rows.Close()); err != nil {
		return nil, err
	}
	asides, err := s.Aside(ctx, "")
	if err != nil {
		return nil, err
	}
	for _, a := range asides {
		out.Aside = append(out.Aside, SnapshotAside{At: a.At, Event: a.Event, Hook: a.Hook, Position: a.Position, Reason: a.Reason, Stream: a.Stream, Type: a.Type})
	}
	return es.CanonicalJSON(out)
}

// ErrSnapshot says that something is no [Snapshot].
var ErrSnapshot = errors.New("it does not say how far others were told")

// Restore takes over what a snapshot says, as far as the log goes that is there
// now: nobody was told what that does not have.
func (s *State) Restore(ctx context.Context, b []byte, head es.Position) error {
	var in Snapshot
	if err := json.Unmarshal(b, &in); err != nil || in.Format != snapshotFormat {
		return errors.Join(fmt.Errorf("%w: format %q, this build knows %q", ErrSnapshot, in.Format, snapshotFormat), err)
	}
	for _, h := range in.Hooks {
		next := min(h.Next, int64(head))
		if err := s.put(ctx, h.ID, `INSERT OR REPLACE INTO hook (id, next, delivered) VALUES (?1, ?2, ?3)`, next, h.Delivered); err != nil {
			return err
		}
	}
	for _, a := range in.Aside {
		if a.Position >= head {
			continue
		}
		if err := s.SetAside(ctx, Aside{Hook: a.Hook, Position: a.Position, Event: a.Event, Type: a.Type, Stream: a.Stream, Reason: a.Reason, At: a.At}); err != nil {
			return err
		}
	}
	return nil
}
