// Package rest serves the REST interface of a node: the documents in
// api/openapi, as the published clients need them. A handler parses, asks an
// aggregate or a view, waits where the client waits, and answers. What may
// happen is decided in the domain; this package knows HTTP only.
package rest
