// Package money holds exact amounts. [Amount] is a whole number of 1e-18 of a
// token (a "wei"), the unit of chains, bills and ledgers. [Decimal] is an exact
// decimal number of any precision, for prices and usage. Nothing here is ever a
// float, and nothing is ever rounded without being asked to.
package money
