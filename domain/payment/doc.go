// Package payment holds what the rooms of money have in common: platforms,
// addresses, documents, and the ranges in which debts are counted. The
// aggregates are its sub-packages: bill (what is owed), allocation (budget),
// wallet (funds and nonces), order (one settlement run), tx (one nonce),
// payment (the signed proof) and cycle (when to settle).
package payment
