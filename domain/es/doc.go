// Package es is the kernel: what a fact, a stream and a position are, the port
// every event store implements, and the one command path that all aggregates
// and sagas share.
//
// Everything that happened is a fact in an append-only log. Rules are two pure
// functions, Decide and Evolve ([Decider]). A command is carried out by
// [Aggregate.Do] or, when several streams must change together, by
// [Log.Atomically]; both append at the revision they decided on and decide
// anew when another writer got in between.
//
// The package knows the standard library only. It never reads a clock and
// never rolls dice: times, ids and keys come in with the command.
package es
