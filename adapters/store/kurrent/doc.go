// Package kurrent keeps an event store in EventStoreDB or KurrentDB, through
// the official client.
//
// # One stream
//
// All events of a log go to one stream of the server, emet-<log id>. The
// position of an event is its revision there, so positions are dense, an append
// to several of our streams is one append there, and every write expects the
// revision of the last: whoever else writes makes the next write fail, and the
// store stops for good. Our stream, revision, time, subject and salts travel in
// the event's metadata under $emet, in front of the event's own metadata, which
// stays readable for the server's tools ($correlationId, $causationId). Where
// everything is, is kept in memory and read anew at the start.
//
// # Unknown outcomes
//
// A write that was not answered is looked up: all of it is there, or it is
// written again with the same ids, for which the server is idempotent. If that
// cannot be settled within the patience of a write, its callers get
// [es.ErrCommitUnknown], and the next append settles it first.
//
// # Links
//
// For people who look around in the server's own interface a projection writes
// links ($>) into streams named as ours are. Nothing reads them here, and they
// can be removed and are made again.
package kurrent
