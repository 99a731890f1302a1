// Package news is what the node tells others about its log: the form of one
// fact, who may see it, which facts somebody wants, and the signature by which
// a receiver knows that it was this node that told.
//
// News is never where the truth is. Whoever tells reads the log from the
// position that the listener has reached, so nothing on the way has to be kept,
// and whoever misses something asks again.
package news
