// Package dossier is what one party of an agreement can show to others: the
// events of the deal, the proof that its log holds them, the other party's
// messages as they were signed, and the transfers on the chain. [Build] makes
// a dossier of a log, [Verify] answers what it proves, from its bytes alone,
// [Compare] tells where two parties' dossiers part. docs/formats.md gives the
// format byte by byte; the package verifier at the root of the module is a
// second reader of it that shares no code with this one.
package dossier
