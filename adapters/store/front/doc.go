// Package front makes an event store of a table: any place that can write rows
// in order, all or none, and read them again. It decides on appends in memory,
// lets those that wait go in one write, gives positions, times and leaves, and
// serves subscriptions. The engines sqlite and kurrent are tables behind it.
package front
