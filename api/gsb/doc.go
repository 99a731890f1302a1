// Package gsb is the bridge on which a client answers requests of the service
// bus: it claims an address over REST, opens a WebSocket, and gets each request
// as one binary frame that it answers with another. golem-js serves and
// receives files this way.
//
// An address belongs to the app-key and identity that claimed it. Requests that
// come before the socket is open, or between two sockets, are kept for a while.
package gsb
