// Package hostile attacks running nodes as strangers would: other nodes on the
// network, pages in a browser, programs in a sandbox, endpoints of a chain.
// Whatever they do, a node writes nothing down for them, keeps its secrets and
// its money, and goes on serving honest deals.
package hostile
