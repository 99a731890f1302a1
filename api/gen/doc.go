// Package gen holds the script that turns the documents in api/openapi into
// Go: for each of them a package with its types, an interface with one method
// per operation, and the table of its routes. The server is built from those
// tables, so that a route which is not in a document cannot be served, and one
// that is cannot be forgotten.
package gen

//go:generate sh generate.sh
