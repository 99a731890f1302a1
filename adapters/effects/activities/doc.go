// Package activities carries out what activities ask of the world: at the
// requestor the calls to the provider and the mirror of each batch, at the
// provider the exe-units. What an exe-unit says and what a provider streams
// comes numbered; the number is the key under which it is recorded, so that
// hearing it again after a crash changes nothing.
package activities
