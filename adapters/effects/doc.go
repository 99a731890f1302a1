// Package effects is where the log meets the world. It lets sagas hear facts
// and carries out what they order ([Sagas]); it works through the intents that
// have no outcome yet ([Runner]); and it answers other nodes ([Inbound]).
//
// Truth is pulled: a restart finds every open intent again in the log. What
// queues and timers hold in memory may be lost at any moment without harm.
// Every act outside is intent, act, outcome, with one key, so that doing it
// twice is harmless.
package effects
