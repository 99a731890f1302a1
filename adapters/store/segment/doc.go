// Package segment is the engine of record: an append-only log in pre-written
// files, with one writer goroutine, group commit and an RFC 6962 tree over the
// headers of all events.
//
// # Files
//
// A store directory holds LOCK, STORE (JSON: format, log id, created) and
// seg/<first position, 20 digits>.elog. Derived are seg/….idx, the index of
// each segment but the last (docs/formats.md), and ballast, space for the day when the
// disk is full. Integers are little endian. A segment begins with a header of
// 4096 bytes:
//
//	magic "EMETLOG1" · version u16 · header length u16 · flags u32 · log id 16 ·
//	first position u64 · salt 16 · chain before 32 · root before 32 ·
//	created unix ns u64 · CRC-32C u32 · zeros
//
// Frames follow, one per append, each on a multiple of 8 and padded with zeros:
//
//	 0  body length u32; 0 ends the data of the segment
//	 4  CRC-32C over salt ‖ file offset u64 ‖ body length u32 ‖ body
//	 8  first position u64 · events u32 · flags u16 · reserved u16
//	24  watermark u64: all positions below were durable before this was written
//	32  chain: SHA-256(chain before ‖ leaf hashes)
//	64  events
//
// A frame without events tells the watermark only. An event is
//
//	uvarint length · header · uvarint length · salt 16 · data · uvarint length · salt 16 · meta
//
// and its header, which is the leaf of the tree,
//
//	version u8 · position u64 · stream · revision u64 · id 16 · type · recorded unix ns u64 ·
//	content type u8 · flags u8 · previous leaf hash in the stream 32 ·
//	data commitment 32 · meta commitment 32 · subject
//
// where names are a u16 length and bytes, a commitment is SHA-256(2 ‖ salt ‖
// bytes) and a leaf hash SHA-256(0 ‖ header). So a payload can be disclosed or
// erased alone, and no bit of a segment is outside of a check.
//
// # Durability
//
// Space is written with zeros before it is used, so that an append is one write
// and one fdatasync. Where the file system can, the write goes past the page cache:
// whole pages, straight from the batch; what was written last is kept in memory for
// those who follow the log. When many append at once the writer gathers the next batch
// while another goroutine takes this one to the disk; batches never overtake each
// other, and after one that failed nothing is written. Acknowledged means synced. After an error of either the
// store is read-only for good ([es.ErrDegraded]): the kernel may have dropped
// what it could not write. The next start copies everything that is not known
// to be durable to a fresh file before it is served. Damage to acknowledged
// data is never repaired by dropping it: it is a [*Damage] for whoever reads it.
//
// # Start
//
// [Open] reads the last segment, every frame of it. Of the segments before it reads the
// first pages of their indexes, which must lead from one segment header to the
// next; a segment whose index is missing or does not fit is read whole, and the index
// made anew. The rest is checked when it is read, page by page and frame by frame,
// and all of it once a day by a slow reading in the background.
//
// A disk that is full is no broken disk: the next segment is prepared while there is
// room in this one, and [Options.Opens] says what is refused when that fails.
package segment
