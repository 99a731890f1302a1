// Package bus carries news of the log outward, to webhooks. Truth is pulled:
// each webhook has a position up to which it has been told, every delivery
// begins with what the log holds there, and the position moves when the
// receiver has taken it. Watermill carries a message from there to the
// receiver, with its retries and its poison queue; whatever it loses is read
// from the log again.
//
// Each webhook is told everything that fits at least once, in order, one at a
// time, under the id of the event. What it refuses, or what could not be told
// for long, is set aside, where the operator sees it and can have it told
// again; then the order is the operator's.
package bus
