package segment

import (
	"fmt"

	"github.com/emet-node/emet/domain/es"
)

// Damage is a place where acknowledged data is not what was written. It is an
// [es.ErrCorrupt].
type Damage struct {
	File   string
	Offset int64 // in the file, in bytes
	// The events that cannot be read. FirstPosition above LastPosition means that
	// none is known to be among them.
	FirstPosition, LastPosition es.Position
	What                        string
}

func (d *Damage) Error() string {
	lost := ""
	switch {
	case d.FirstPosition == d.LastPosition:
		lost = fmt.Sprintf("; position %d is lost", d.FirstPosition)
	case d.FirstPosition < d.LastPosition:
		lost = fmt.Sprintf("; positions %d to %d are lost", d.FirstPosition, d.LastPosition)
	}
	return fmt.Sprintf("%s, byte %d: %s%s. Nothing was changed: restore the file from a backup or a mirror", d.File, d.Offset, d.What, lost)
}

// Is makes errors.Is(err, es.ErrCorrupt) true.
func (d *Damage) Is(target error) bool { return target == es.ErrCorrupt }
