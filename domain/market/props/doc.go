// Package props is the language in which offers and demands describe
// themselves: flat properties, constraints over the other side's properties,
// and what it means that two of them match.
//
// A constraint over properties is true, false or undefined; only texts whose
// constraints are true in both directions match. Anything may come from a
// stranger: every parser here is bounded in size and depth, every evaluation
// in steps.
package props

// Bounds. A text beyond them counts as one that cannot be read.
const (
	MaxBytes    = 64 << 10 // of a constraint or property text
	MaxDepth    = 64       // of nested constraints
	MaxNodes    = 4096     // of one constraint
	MaxJSON     = 32       // depth of JSON values, and of lists
	MaxSteps    = 100_000  // of one evaluation; beyond it the result is undefined
	MaxPattern  = 256      // characters of a value with '*'
	MaxRegexOps = 2048     // instructions of a compiled pattern
)
