// Package activity holds what activities, batches and usage have in common:
// their ids, the subject under which their private content is sealed, and the
// resources a process used.
//
// An activity has one id on both nodes, chosen by the requestor's daemon and
// sent with the request to create it. A provider that makes its own ids, or
// for which the chosen one is taken, answers with another; the requestor keeps
// that as the alias it uses towards this provider, while its streams and its
// clients go on using the id it chose. So the intent to create an activity and
// everything that follows lie in one stream, and a retried request cannot make
// a second activity.
package activity

import (
	"errors"
	"fmt"

	"github.com/emet-node/emet/domain/identity"
)

// ErrID says that a text is no id of an activity or a batch.
var ErrID = errors.New("malformed id")

// CheckID says whether s can name an activity or a batch: 32 lower-case
// hexadecimal digits.
func CheckID(s string) error {
	if len(s) != 32 {
		return fmt.Errorf("%w: %.80q: want 32 lower-case hexadecimal digits", ErrID, s)
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return fmt.Errorf("%w: %.80q: want 32 lower-case hexadecimal digits", ErrID, s)
		}
	}
	return nil
}

// StreamID is the part of a stream's name after its category: the side, then
// the ids.
func StreamID(side identity.Side, ids ...string) string {
	out := string(side)
	for _, id := range ids {
		out += "-" + id
	}
	return out
}

// Subject names the key that scripts, outputs and addresses of an activity are
// sealed with.
func Subject(activityID string) string { return "activity/" + activityID }

// Rusage is what a process and its descendants used.
type Rusage struct {
	CPUMicros   int64 `json:"cpuUs,omitzero"`
	MaxRSSBytes int64 `json:"maxRssBytes,omitzero"`
	ReadBytes   int64 `json:"readBytes,omitzero"`
	WriteBytes  int64 `json:"writeBytes,omitzero"`
}
