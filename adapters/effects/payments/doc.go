// Package payments carries out what bills, wallets, transactions and payments
// ask of the world: documents and proofs go to the other node, transactions are
// signed, sent and watched, claims are checked against the chain.
//
// A transaction is signed once and its bytes are kept before they are sent;
// whatever happens, those bytes are sent again and no others. That the chain
// cannot be asked decides nothing.
package payments
