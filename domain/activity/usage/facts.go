// Package usage is what an activity consumed, as its exe-unit counted it.
package usage

import (
	"time"

	"github.com/emet-node/emet/domain/activity"
	"github.com/emet-node/emet/domain/identity"
)

// Category of the streams.
const Category = "usage"

// StreamID is the id of the stream that one side keeps about an activity's usage.
func StreamID(side identity.Side, activityID string) string {
	return activity.StreamID(side, activityID)
}

// An Event is a fact about the usage of one activity. Vectors are JSON arrays
// of numbers as text, in the order of the agreement's usage vector; at is when
// the exe-unit measured.
//
//sumtype:decl
type Event interface{ usageEvent() }

type (
	// Sampled is one reading of all counters.
	Sampled struct {
		ActivityID string    `json:"activityId"`
		At         time.Time `json:"at"`
		Names      []string  `json:"names,omitzero"` // of the counters, in vector order
		Source     Source    `json:"source"`
		Split      *Split    `json:"split,omitzero"`
		Vector     string    `json:"vector"`
	}

	// Finalised is the last reading: the activity is over.
	Finalised struct {
		ActivityID string    `json:"activityId"`
		At         time.Time `json:"at"`
		Names      []string  `json:"names,omitzero"`
		Source     Source    `json:"source"`
		Split      *Split    `json:"split,omitzero"`
		Vector     string    `json:"vector"`
	}
)

// Source says who counted.
type Source string

// The sources.
const (
	FromCgroup  Source = "cgroup"  // the kernel, for all descendants
	FromProcess Source = "process" // the kernel, per process
	FromRuntime Source = "runtime" // the runtime's own counters
	FromPeer    Source = "peer"    // the provider told us
)

// Split says what the duration was spent on, in milliseconds.
type Split struct {
	DownloadMS int64 `json:"downloadMs,omitzero"` // fetching the image
	RunMS      int64 `json:"runMs,omitzero"`      // commands of the requestor
	TotalMS    int64 `json:"totalMs"`
}

func (Sampled) usageEvent()   {}
func (Finalised) usageEvent() {}
