// Package evm talks to EVM chains over JSON-RPC, and makes the transactions
// that go there. [Client] is the onchain.Chain of real networks and, by
// loopback, of the development chain. [Build] and [Unsigned.Assemble] are pure;
// the key that signs in between is somewhere else.
package evm
