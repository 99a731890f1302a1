// Package control is how the operator's commands reach a running node: HTTP
// over a Unix socket that only the user who runs the node can open. There are
// no passwords; the kernel tells who is at the other end.
//
// The socket is found by one rule, see [Path]. A request that may not be
// answered is answered with a status and {"error": …, "code": …}; [Client]
// turns the code into the error it came from.
package control
