// Package bill is all that one side has of an agreement's bills: the debit notes
// and the invoice, what was accepted of them, and what of that is paid. The
// documents are one stream, because a debit note says what is owed so far and
// the invoice what is owed in the end: what one of them covers is not owed
// again by another. Debts are counted from zero upwards for each activity and
// for what the invoice adds, and settled in ranges of that count.
package bill
