// Package markets carries out what negotiations and agreements ask of the
// world, and answers what other nodes say about them.
//
// Counter, confirm and approve need the other side: they are tried for a
// moment and then fail, and the old state holds. Rejections, cancellations and
// terminations are final here at once; telling the other side is tried until
// it knows, for up to thirty days.
package markets
