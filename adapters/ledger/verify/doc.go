// Package verify checks one event of somebody else's log, from a file alone:
// that its content is what its header commits to, that the header is the leaf
// at its position in a tree, and that the owner of the log signed the root of
// that tree. It trusts nothing but the key or the identity that its caller
// names. The format is in docs/formats.md; this package shares no code with
// what writes it.
package verify
