// Package verifier is a second reader of dossiers, written from docs/formats.md
// and sharing no code with the node: the standard library, the hash functions
// of golang.org/x/crypto and the proofs of transparency-dev/merkle are all that
// it knows, and tests/arrows keeps it so. Who does not trust one program need
// not: both must give the same answers.
package verifier
