// Package client serves and receives files purely over the REST interface of a
// node, as golem-js does: it binds an address on the bridge, and answers the
// requests that come over the WebSocket.
package client
