// Package node wires a node together, top to bottom: what is opened first is
// needed by what comes after. It can be read as the architecture. Nothing here
// decides anything.
package node
