// Package ledger makes a log's Merkle tree usable by others: inclusion and
// consistency proofs, tiles in the layout of c2sp.org/tlog-tiles, signed
// checkpoints (c2sp.org/tlog-checkpoint) and the proof of a single event. It
// works on every [es.Store] whose Caps say MerkleProofs.
//
// # Files
//
// Below the store's directory lie
//
//	tile/<level>/<index>          256 hashes of 32 bytes
//	tile/<level>/<index>.p/<n>    the first n of a tile that is not full yet
//	checkpoint                    the newest signed checkpoint
//
// Tiles are derived from the log. They are written without sync, checked
// whenever they are read, each against the hash that its parent has for it,
// and made anew when they are missing or damaged. In memory are the right edge
// of the tree and the tiles used last.
//
// The checkpoint is not derived. It is durable before anybody is shown it,
// and no checkpoint is signed that does not continue it.
//
// # Nothing feeds itself
//
// Checkpoints and tiles are no events, so a log that nobody writes to stays as
// it is. The one event that is written here is $log.key_attested, once for each
// key.
package ledger
