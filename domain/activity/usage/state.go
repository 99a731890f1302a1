package usage

import (
	"encoding/json"
	"fmt"
	"time"
)

// State is the newest reading.
type State struct {
	ActivityID string
	At         time.Time // zero before the first
	Names      []string
	Source     Source
	Split      *Split
	Vector     string // JSON array, "" before the first
	Samples    int64
	Final      bool
}

func evolve(s State, e Event) State {
	switch e := e.(type) {
	case Sampled:
		s = State{ActivityID: e.ActivityID, At: e.At, Names: e.Names, Source: e.Source, Split: e.Split, Vector: e.Vector, Samples: s.Samples + 1}
	case Finalised:
		s = State{ActivityID: e.ActivityID, At: e.At, Names: e.Names, Source: e.Source, Split: e.Split, Vector: e.Vector, Samples: s.Samples + 1, Final: true}
	}
	return s
}

// ParseVector reads a usage vector and returns its numbers as they were written.
func ParseVector(vector string) ([]json.Number, error) {
	var out []json.Number
	if err := json.Unmarshal([]byte(vector), &out); err != nil {
		return nil, fmt.Errorf("usage vector %.80q: want a JSON array of numbers: %w", vector, err)
	}
	for _, n := range out {
		if n == "" {
			return nil, fmt.Errorf("usage vector %.80q: null is not a number", vector)
		}
	}
	return out, nil
}
