// Package fake is a chain in memory for simulations and property tests. It
// knows only what Golem does on a chain: gas coin, token transfers, allowances,
// packed payments, the faucet. In return it can be made to fork, to lose
// transactions, to refuse, to fall silent and to lie, at exact moments.
//
// It keeps its own time: a block per second from a fixed start, so that a
// simulation gives the same chain each time. It is not for real use.
package fake
