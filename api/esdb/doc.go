// Package esdb serves a log to clients of EventStoreDB and KurrentDB: the
// public gRPC services Streams, PersistentSubscriptions, ServerFeatures and
// Gossip (event_store.client, version 1). Official clients work with it as
// they are.
//
// # What a client sees
//
// An event keeps its id, type, stream and revision. Its commit and prepare
// position are both the position in the log plus one, so that 0 is before
// everything. Created is the time it was recorded, in ticks of 100 ns. The
// metadata is the event's own JSON, with $correlationId and $causationId where
// the usual tools look for them. Content is application/json, and
// application/octet-stream where it is sealed: the door has no keys and shows
// sealed content as it lies in the log.
//
// # Who may
//
// The door reads. An app-key of an operator may append too, to streams and with
// types that are not the node's own (Options.Reserved): small JSON events whose metadata
// then says who appended them. All other appends, and every deletion and tombstone, are
// refused with access-denied. ServerFeatures and Gossip answer anybody, as clients ask them
// before they say who they are; everything else wants an app-key of an auditor or operator
// as the password of the connection string, and ends within a second when that
// key is revoked. Two of the official clients send no password without TLS: when
// there is none, the process at the other end must belong to the user that the
// node runs as, who can read the log's files anyway.
package esdb
