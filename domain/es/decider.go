package es

// A Decider is the rules of one kind of stream: what a command means in a
// state, and what a fact makes of a state. Both are pure. The zero S is the
// state of a stream that does not exist.
//
// Decide returns the facts that the command makes true. No facts and no error
// means that there is nothing (more) to do: saying something twice makes it
// true once. An error is a refusal and leaves no trace.
type Decider[C, E, S any] struct {
	Decide func(S, C) ([]E, error)
	Evolve func(S, E) S
}

// Fold applies facts to a state in order.
func (d Decider[C, E, S]) Fold(s S, facts ...E) S {
	for _, f := range facts {
		s = d.Evolve(s, f)
	}
	return s
}

// Intent is implemented by facts that ask for an act in the world. IsIntent
// tells whether this one does (a termination asks for a notice only when it
// was ours). Exactly one fact whose key is [FinalKey] of the intent answers it.
type Intent interface{ IsIntent() bool }

// BlobNamer is implemented by facts of which something lies beside the log.
type BlobNamer interface {
	// Blobs are its addresses: the SHA-256 of the bytes as stored, in hex.
	Blobs() []string
}

// Order is a command for an aggregate, as a saga or an effect gives it.
type Order struct {
	Category string
	ID       string
	Command  any
	// Correlation and Identity override what the cause would give, when set.
	Correlation, Identity string
}
