package usage

import (
	"time"

	"github.com/emet-node/emet/domain/identity"
)

// A Command asks for something to become true of an activity's usage.
//
//sumtype:decl
type Command interface{ usageCommand() }

type (
	// Sample records a reading. One that is not newer than the last is silent.
	Sample struct {
		ActivityID string
		At         time.Time
		By         identity.Caller
		Names      []string
		Source     Source
		Split      *Split
		Vector     string
	}

	// Finalise records the last reading.
	Finalise struct {
		ActivityID string
		At         time.Time
		By         identity.Caller
		Names      []string
		Source     Source
		Split      *Split
		Vector     string
	}
)

func (Sample) usageCommand()   {}
func (Finalise) usageCommand() {}
