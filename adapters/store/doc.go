// Package store holds what all engines of the event store share: the limits of
// an append, the verdict on expected revisions and repeated ids, the clock that
// never repeats itself, and the subscription that follows any log.
//
// The engines are sub-packages: memory for tests and simulations, segment as
// the engine of record. All of them pass storetest.
package store
