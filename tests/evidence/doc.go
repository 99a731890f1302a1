// Package evidence tests what dossiers prove: generated histories of honest
// deals raise no alarm, changed ones always do, and both verifiers say the same.
package evidence
