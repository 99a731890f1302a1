// Package onchain is the vocabulary of payments on an EVM chain: networks and
// their contracts, the values that cross the [Chain] port, the call data that
// moves tokens, and the rule that says what a receipt proves.
//
// Nothing here talks to a chain. Amounts of tokens and of gas coins are
// integers of 10^-18 ("wei"); prices of gas are wei per unit of gas.
package onchain
