// Package scripts holds stories of the command line: what is typed, what
// comes out, and with which exit code. They double as examples.
package scripts
