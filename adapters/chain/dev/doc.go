// Package dev runs EVM chains for development, in this process: go-ethereum
// with the chain ids of the real networks, Golem's contracts at the addresses
// of the real networks, and a block for every transaction. Nothing on them is
// worth anything, and everybody may have as much as they like.
//
// [Start] opens one port on which each network has a path: a node that is
// pointed at http://127.0.0.1:<port>/hoodi believes to be on hoodi.
package dev
