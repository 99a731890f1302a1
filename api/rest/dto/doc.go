// Package dto holds the scalar types of the REST documents: how times, amounts
// and byte strings are written in JSON, and how leniently they are read.
package dto
